"""Ask a MinIO server how much room it has: in the background, since that takes long where one of several servers is away.

Only credentials with `admin:ServerInfo` may ask. Other servers that speak S3 do not tell.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any, Final

from backends.minio_connections import MinioClients
from backends.minio_faults import ERRORS

_FRESH_SECONDS: Final = 15.0
_OLDEST_SECONDS: Final = 300.0
_REFUSED_SECONDS: Final = 300.0
_FIRST_WAIT_SECONDS: Final = 2.0


class TellsRoom:
    """Is the base of a store in MinIO: its port's `free_bytes`, which asks nobody and so passes every circuit."""

    _room: MinioRoom

    def free_bytes(self) -> int | None:
        """Return what the server tells to credentials with `admin:ServerInfo`, as of some seconds ago; None without them."""
        return self._room.free_bytes()


class MinioRoom:
    """Tells how many bytes can still be put, as of some seconds ago. A process asks by itself, in one thread at a time."""

    def __init__(self, clients: MinioClients) -> None:
        self._clients, self._turn = clients, threading.Lock()
        self._asking: tuple[int, threading.Thread] | None = None
        self._told: int | None = None
        self._has_waited = False
        self._told_at = self._asks_at = float("-inf")

    def free_bytes(self) -> int | None:
        """Return what the server has told; None if it tells nobody, or not these credentials, or has not told for minutes."""
        thread = self._asked()
        if thread is not None and not self._has_waited:
            self._has_waited = True
            thread.join(_FIRST_WAIT_SECONDS)
        return self._told if time.monotonic() - self._told_at < _OLDEST_SECONDS else None

    def _asked(self) -> threading.Thread | None:
        """Have the server asked if it is time; who asks it, if somebody does."""
        with self._turn:
            pid = os.getpid()
            if self._asking is not None and self._asking[0] == pid and self._asking[1].is_alive():
                return self._asking[1]
            if time.monotonic() < self._asks_at:
                return None
            self._asks_at = time.monotonic() + _FRESH_SECONDS
            thread = threading.Thread(target=self._ask, name="minio-room", daemon=True)
            self._asking = pid, thread
            thread.start()
            return thread

    def _ask(self) -> None:
        try:
            answer = self._clients.session().server_info()
            told = None if answer is None else free_in(answer)
        except ERRORS:  # it may answer the next time; what it told before holds for minutes
            return
        self._told, self._told_at = told, time.monotonic()
        if told is None:
            self._asks_at = time.monotonic() + _REFUSED_SECONDS


def free_in(answer: bytes) -> int | None:
    """Read from the answer to `info` how many bytes can still be put; None if it does not say.

    A part of what the drives of a set have free is for parity.
    """
    told: Any = json.loads(answer)
    try:
        drives = [drive for server in told["servers"] for drive in server.get("drives") or ()]
        free, backend = sum(int(drive.get("availspace") or 0) for drive in drives), told.get("backend") or {}
        width, parity = max(backend.get("totalDrivesPerSet") or [0]), int(backend.get("standardSCParity") or 0)
    except (KeyError, TypeError, AttributeError, ValueError):
        return None
    if not any("availspace" in drive for drive in drives):
        return None
    return free * (width - parity) // width if 0 <= parity < width else free
