"""Speaks HTTP to a SmartHouse service: one method for each request, one kind of error for each fault."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Final

import aiohttp
from yarl import URL

_TIMEOUT: Final = aiohttp.ClientTimeout(total=120, sock_connect=15, sock_read=60)
_MOST_READ: Final = 4 << 20
_LONGEST_WAIT: Final = 3600.0
_OWN_PATHS: Final = ("/api/ingest/data", "/api/ingest", "/api")
_NEEDED_PATHS: Final = ("/data", "/consent", "/receipts/")
_QUOTA: Final = "The home's quota is reached"
_QUOTA_OF_OLD: Final = "bytes of uploads of one home"
"""A 413 of a quota has this title. Services of version 0.3 and before only have these words in its detail."""


class Fault(StrEnum):
    """Says what is wrong. Each has a text in the translations."""

    ADDRESS = "address"
    UNENCRYPTED = "unencrypted"
    UNRESOLVABLE = "unresolvable"
    REFUSED = "refused"
    TLS = "tls"
    NO_TLS = "no_tls"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    NOT_SMARTHOUSE = "not_smarthouse"
    TOO_OLD = "too_old"
    KEY_NEEDED = "key_needed"
    KEY_WRONG = "key_wrong"
    CONSENT = "consent"
    TERMS = "terms"
    OBJECTED = "objected"
    TOO_LARGE = "too_large"
    QUOTA = "quota"
    REJECTED = "rejected"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"
    LEFT_OUT = "left_out"


class ServiceError(Exception):
    """Tells why the service did not do what it was asked. retry_after: seconds that it asks to wait."""

    def __init__(self, fault: Fault, detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{fault}: {detail}" if detail else str(fault))
        self.fault, self.detail, self.retry_after = fault, detail, retry_after


@dataclass(frozen=True)
class Receipt:
    """Says what the service made of an upload. duplicate: it had these bytes already, or repeats an answer of before."""

    records: int
    ignored: int
    statistics: int
    duplicate: bool


def normalised(given: str) -> str:
    """Return a service's address without the path of its API. Raises `ServiceError` for anything else than an address."""
    try:
        url = URL(given.strip())
        is_sound = url.scheme in ("http", "https") and bool(url.host) and url.port is not None
    except ValueError:
        is_sound = False
    if not is_sound or url.user or url.password or url.query_string or url.fragment:
        raise ServiceError(Fault.ADDRESS)
    if url.scheme == "http" and not _is_near(url.host or ""):
        raise ServiceError(Fault.UNENCRYPTED)
    path = url.path.rstrip("/")
    path = next((path.removesuffix(own) for own in _OWN_PATHS if path.endswith(own)), path)
    return str(url.origin()).rstrip("/") + path


def identity(url: str) -> str:
    """Return what tells a service from another: its host, port and path. Two entries may not have the same."""
    parts = URL(url)
    return f"{(parts.host or '').lower()}:{parts.port}{parts.path.rstrip('/')}"


def _is_near(host: str) -> bool:
    """Tell whether a host is in the home's own network, where an address without encryption may do."""
    with suppress(ValueError):
        address = ip_address(host)
        return address.is_private or address.is_loopback or address.is_link_local
    return "." not in host or host.endswith((".local", ".lan", ".home", ".internal", ".home.arpa", ".localhost"))


class Client:
    """Asks one service in the name of one home. The UUID goes to the given address and to no other: no redirect is followed."""

    def __init__(self, session: aiohttp.ClientSession, url: str, home: str, api_key: str | None = None) -> None:
        self._session, self._url, self._home, self._api_key = session, url, home, api_key

    async def check(self) -> None:
        """Find out whether a SmartHouse service answers that can do what this integration needs. Raises `ServiceError`."""
        status, _, body = await self._ask("GET", "/api/ingest/openapi.json", is_home=False)
        document = _object(body) if status == 200 else None
        if document is None or "SmartHouse" not in str(document.get("info", {}).get("title", "")):
            if status in (429, 500, 502, 503, 504):
                raise ServiceError(Fault.UNAVAILABLE)
            raise ServiceError(Fault.NOT_SMARTHOUSE)
        paths = " ".join(document.get("paths", {}))
        if not all(path in paths for path in _NEEDED_PATHS):
            raise ServiceError(Fault.TOO_OLD)

    async def held(self) -> dict[str, Any]:
        """Ask how much the service holds about the home. Raises `ServiceError`, also for a key that is wrong or missing."""
        return await self._json("GET", "/api/ingest/data?summary=true")

    async def consent(self, terms: str, tier: str) -> None:
        """Agree to a version of the terms. Raises `ServiceError`."""
        await self._json("PUT", "/api/ingest/consent", data=json.dumps({"terms": terms, "tier": tier}).encode())

    async def upload(self, body: bytes, key: str) -> Receipt:
        """Send a body; once this returns, the service keeps it. Raises `ServiceError`, also if it recognised nothing in it."""
        headers = {"Idempotency-Key": key, "Content-Type": "application/octet-stream"}
        told, answered = await self._answer("POST", "/api/ingest/data", data=body, headers=headers)
        records, ignored, statistics = (told.get(name, 0) for name in ("records", "ignored", "statistics"))
        if "records" not in told or not all(isinstance(number, int) for number in (records, ignored, statistics)):
            raise ServiceError(Fault.NOT_SMARTHOUSE)
        if not records and not statistics and not told.get("duplicate"):
            raise ServiceError(Fault.REJECTED, self._detail(told))
        is_repeat = bool(told.get("duplicate")) or "Idempotency-Replayed" in answered
        return Receipt(records, ignored, statistics, is_repeat)

    async def forget(self, *, stop: bool) -> str:
        """Erase the home, and with `stop` object to later uploads. Returns the id of the receipt. Raises `ServiceError`."""
        told = await self._json("DELETE", "/api/ingest/data" + ("?stop=true" if stop else ""))
        if not isinstance(told.get("receipt"), str):
            raise ServiceError(Fault.NOT_SMARTHOUSE)
        return str(told["receipt"])

    async def _json(
        self, method: str, path: str, *, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        return (await self._answer(method, path, data=data, headers=headers))[0]

    async def _answer(
        self, method: str, path: str, *, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        status, answered, body = await self._ask(method, path, data=data, headers=headers or {})
        told = _object(body)
        if status != 200:
            raise self._refusal(status, answered, told or {})
        if told is None:
            raise ServiceError(Fault.NOT_SMARTHOUSE)
        return told, answered

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        is_home: bool = True,
    ) -> tuple[int, Mapping[str, str], bytes]:
        sent = {**(headers or {}), "Accept": "application/json"}
        if is_home:
            sent["Home-UUID"] = self._home
            if self._api_key:
                sent["Authorization"] = f"Bearer {self._api_key}"
        try:
            async with self._session.request(
                method, self._url + path, data=data, headers=sent, allow_redirects=False, timeout=_TIMEOUT
            ) as response:
                return response.status, response.headers, await _read(response)
        except aiohttp.ClientConnectorCertificateError as fault:
            raise ServiceError(Fault.TLS) from fault
        except aiohttp.ClientSSLError as fault:
            raise ServiceError(Fault.NO_TLS) from fault
        except aiohttp.ClientConnectorDNSError as fault:
            raise ServiceError(Fault.UNRESOLVABLE) from fault
        except TimeoutError as fault:
            raise ServiceError(Fault.TIMEOUT) from fault
        except aiohttp.ClientConnectorError as fault:
            raise ServiceError(Fault.REFUSED) from fault
        except (aiohttp.InvalidURL, ValueError) as fault:
            raise ServiceError(Fault.ADDRESS) from fault
        except (aiohttp.ClientError, OSError) as fault:
            raise ServiceError(Fault.BROKEN) from fault

    def _refusal(self, status: int, headers: Mapping[str, str], told: Mapping[str, Any]) -> ServiceError:
        detail, wait = self._detail(told), _asked_for(headers)
        match status:
            case 400 if detail.startswith("terms:"):
                return ServiceError(Fault.TERMS, detail)
            case 401 if told:
                return ServiceError(Fault.KEY_WRONG if self._api_key else Fault.KEY_NEEDED, detail)
            case 403 if told.get("title") == "Consent is required":
                return ServiceError(Fault.CONSENT, detail)
            case 403 if told:
                return ServiceError(Fault.KEY_WRONG, detail)
            case 410:
                return ServiceError(Fault.OBJECTED, detail)
            case 413 if told.get("title") == _QUOTA or _QUOTA_OF_OLD in detail:
                return ServiceError(Fault.QUOTA, detail)
            case 413:
                return ServiceError(Fault.TOO_LARGE, detail)
            case 429:
                return ServiceError(Fault.BUSY, detail, wait)
            case 408 | 425:
                return ServiceError(Fault.UNAVAILABLE, detail, wait)
            case _ if status >= 500:
                return ServiceError(Fault.UNAVAILABLE, detail, wait)
            case 400 | 409 | 415 | 422:
                return ServiceError(Fault.REJECTED, detail)
        return ServiceError(Fault.NOT_SMARTHOUSE)

    def _detail(self, told: Mapping[str, Any]) -> str:
        """Return the service's words, unless a proxy repeats a secret in them."""
        detail = told.get("detail")
        words = " ".join(detail.split()) if isinstance(detail, str) else ""
        secrets = (self._home, self._home.replace("-", ""), self._api_key or self._home)
        return words[:300] if not any(secret.lower() in words.lower() for secret in secrets) else ""


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read an answer, but not without end."""
    parts, size = [], 0
    async for part in response.content.iter_chunked(1 << 16):
        parts.append(part)
        if (size := size + len(part)) > _MOST_READ:
            raise ServiceError(Fault.NOT_SMARTHOUSE)
    return b"".join(parts)


def _object(body: bytes) -> dict[str, Any] | None:
    with suppress(ValueError, RecursionError):
        found = json.loads(body)
        if isinstance(found, dict):
            return found
    return None


def _asked_for(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks for, an hour at most."""
    given = headers.get("Retry-After", "")
    if given.isdecimal():
        return min(float(given), _LONGEST_WAIT)
    with suppress(ValueError, TypeError):
        at = parsedate_to_datetime(given)
        return min(max((at - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_WAIT)
    return None
