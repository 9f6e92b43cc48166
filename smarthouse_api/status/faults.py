"""Faults: the warnings and errors that all processes logged, kept together so that an operator finds them in one place.

In the state store, space `faults`: a document for each kind of fault, which is one line of the program. Its text is the newest.
What is logged holds no secret, so neither does this.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import threading
from contextlib import suppress
from typing import Final

import msgspec

from backends.ports import ABSENT, Change, Conflict, StateStore

_SPACE: Final = "faults"
_KEPT_SECONDS: Final = 30 * 86400.0
_MOST_KEPT: Final = 100
_MOST_WAITING: Final = 50
_MOST_CHARACTERS: Final = 500
_OURS: Final = ("smarthouse_api.", "blueprints.")


class Fault(msgspec.Struct, frozen=True):
    """Tells of one kind of fault: when it came first and last (seconds since 1970), how often, where, and its newest words."""

    first: float
    last: float
    count: int
    level: str
    component: str
    what: str
    host: str


_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Fault).decode


class Faults(logging.Handler):
    """Collects what this process logs as a warning or an error, and keeps it in the state when asked to `save`.

    A log record is never worth an outage: while the store fails, some kinds of faults are remembered, and the rest is dropped.
    """

    def __init__(self, state: StateStore) -> None:
        super().__init__(logging.WARNING)
        self._state, self._host = state, socket.gethostname()
        self._waiting = dict[str, Fault]()
        self._turn = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(_OURS):
            return
        kind = hashlib.sha256(f"{record.name}\n{record.msg}".encode()).hexdigest()[:32]
        what = record.getMessage()[:_MOST_CHARACTERS]
        if record.exc_info and record.exc_info[0] is not None:
            what = f"{what} ({record.exc_info[0].__name__})"
        one = Fault(record.created, record.created, 1, record.levelname.lower(), record.name, what, self._host)
        with self._turn:
            if kind in self._waiting or len(self._waiting) < _MOST_WAITING:
                self._waiting[kind] = _together(self._waiting.get(kind), one)

    def save(self) -> None:
        """Keep in the state what was collected. Raises `StoreError`; what was not kept then waits for the next call."""
        with self._turn:
            kinds = list(self._waiting)
        for kind in kinds:
            with self._turn:
                one = self._waiting[kind]
            self._keep(kind, one)
            with self._turn:
                if self._waiting[kind] == one:
                    del self._waiting[kind]
        if kinds:
            self._drop_oldest()

    def newest(self) -> list[Fault]:
        """List what all processes have kept, the newest first."""
        return sorted((fault for _, fault in self._kept()), key=lambda fault: fault.last, reverse=True)

    def _keep(self, kind: str, one: Fault) -> None:
        while True:
            found = self._state.get(_SPACE, kind)
            value = _encode(_together(None if found is None else _decode(found.value), one))
            with suppress(Conflict):
                expect = ABSENT if found is None else found.version
                self._state.put(_SPACE, kind, value, expect=expect, ttl_seconds=_KEPT_SECONDS)
                return

    def _drop_oldest(self) -> None:
        kept = sorted(self._kept(), key=lambda one: one[1].last)
        if dropped := kept[:-_MOST_KEPT]:
            self._state.commit(_SPACE, Change(deletes=tuple(kind for kind, _ in dropped)))

    def _kept(self) -> list[tuple[str, Fault]]:
        return [(kind, _decode(document.value)) for kind, document in self._state.scan_all(_SPACE)]


def _together(before: Fault | None, one: Fault) -> Fault:
    if before is None:
        return one
    return msgspec.structs.replace(one, first=before.first, count=before.count + one.count)
