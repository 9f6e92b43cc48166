"""Addresses of clients: what is counted as one."""

from __future__ import annotations

import ipaddress


def network_of(address: str) -> str:
    """Return what one client holds of addresses: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(parsed) if parsed.version == 4 else str(ipaddress.ip_network((parsed, 64), strict=False))
