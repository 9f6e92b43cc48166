"""Disks: how much room there is below a folder."""

from __future__ import annotations

import os


def free_bytes(folder: str) -> int:
    """Return how many bytes this process may still write below a folder, which need not exist yet."""
    while True:
        try:
            found = os.statvfs(folder or ".")
        except FileNotFoundError:
            folder = os.path.dirname(folder)
        else:
            return found.f_bavail * found.f_frsize
