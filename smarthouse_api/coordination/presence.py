"""Presence: that a process of some kind runs, which every other process can see. A dead one is seen until its lease expires.

A process may say more of itself; see `ProcessNote`.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import msgspec

from smarthouse_api.coordination.leases import Lease, LeaseLost, Leases
from smarthouse_api.version import own_version

log = logging.getLogger(__name__)


class ProcessNote(msgspec.Struct, frozen=True):
    """Says which process is announced: its kind (`api`, `exports` or `worker`), host, number and version, and what it does now.

    since: when it began, in seconds since 1970. keeps_house: whether it does the housekeeping. doing: the chore under way.
    """

    kind: str
    host: str
    pid: int
    version: str
    since: float
    keeps_house: bool
    doing: str | None = None


_BEGAN_AT = time.time()
_encode, _note = msgspec.json.Encoder().encode, msgspec.json.Decoder(ProcessNote).decode


def note_of_this(kind: str, *, keeps_house: bool, doing: str | None) -> ProcessNote:
    """Describe this process."""
    return ProcessNote(kind, socket.gethostname(), os.getpid(), own_version(), _BEGAN_AT, keeps_house, doing)


class Presence:
    """Announces that this process does what `name` says, and finds all processes that do. says: describes this process."""

    def __init__(self, leases: Leases, name: str, says: Callable[[], ProcessNote] | None = None) -> None:
        self._leases, self._name, self._says = leases, name, says
        self._lease: Lease | None = None
        self._said: ProcessNote | None = None

    def renew(self) -> None:
        """Announce this process, also if its lease has expired, and say what has changed. Raises `StoreUnavailable`."""
        try:
            if self._lease is not None:
                self._lease.check()
                self._say(self._lease)
                return
        except LeaseLost:
            log.info("this process's lease %r had expired; it is announced again", self._name)
        self._said = None
        self._lease = self._leases.share(self._name)
        with suppress(LeaseLost):  # this process stood still for so long; the next time it is announced anew
            self._say(self._lease)

    def end(self) -> None:
        """Announce that this process does it no more."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def count(self) -> int:
        """Count the processes that are announced."""
        return len(self._leases.shared(self._name))

    def notes(self) -> Iterator[ProcessNote]:
        """Return what the announced processes say of themselves; one of an earlier version says nothing."""
        for note in self._leases.notes(self._name).values():
            with suppress(msgspec.DecodeError):
                yield _note(note)

    def _say(self, lease: Lease) -> None:
        if self._says is not None and (note := self._says()) != self._said:
            lease.tell(_encode(note))
            self._said = note
