"""Answer at once while a store hangs: after one time-out, a single call at a time asks the store again.

pybreaker, the library for this, holds its lock during each call, so that threads would use a store one after another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import islice
from typing import Any, Final

from backends.ports import StoreError, StoreUnavailable

_HUNG_SECONDS: Final = 0.25
"""A failure that took longer was a wait in vain. A store that refuses a connection fails at once in any case."""
_PAUSE_SECONDS: Final = 0.5
_READS: Final = (
    "get",
    "get_many",
    "scan",
    "read",
    "last_sequence",
    "stream",
    "list",
    "list_table",
    "stream_table",
    "free_bytes",
)
_WRITES: Final = ("commit", "erase", "put", "delete", "put_table", "count_in_window")
_CHECK: Final = "check"
_GIVE_ITERATORS: Final = ("stream", "list", "list_table", "stream_table")


class Circuit:
    """Lets calls through, and after one that waited in vain only one at a time, until the store answers."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._is_open = False
        self._next_at = 0.0
        self._inside = threading.local()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Ask the store within this. Raises `StoreUnavailable` instead while another call finds out whether it answers."""
        if getattr(self._inside, "any", False):
            yield  # a method of the store that another one calls
            return
        if is_probe := self._is_open:
            with self._gate:
                if time.monotonic() < self._next_at:
                    raise StoreUnavailable("the store did not answer a moment ago; another call is asking it again")
                self._next_at = float("inf")
        self._inside.any = True
        try:
            with self.watched():
                yield
        finally:
            self._inside.any = False
            if is_probe and self._next_at == float("inf"):
                self._next_at = 0.0

    def close(self) -> None:
        """Let all calls through: the store has answered."""
        self._is_open = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Ask the store within this, whatever the last call met, and note whether it answers."""
        began = time.monotonic()
        try:
            yield
        except StoreError as fault:
            now = time.monotonic()
            # Its subclasses are answers, and so are the other errors of a port.
            self._is_open = type(fault) is StoreUnavailable and now - began > _HUNG_SECONDS
            self._next_at = now + _PAUSE_SECONDS
            raise
        self.close()


class FailsFast:
    """Puts a circuit around the calls of a store, as the base of a backend that can hang.

    What takes long by its nature has no circuit. A check asks in any case, and closes the circuits if the store is well.
    """

    def circuit_of(self, is_write: bool, place: str) -> Circuit:
        """Find the circuit of a call. place: the space or the key that the call is about.

        One for all: a server that hangs for a reader hangs for a writer.
        """
        return self._circuit("any")

    def _circuit(self, name: object) -> Circuit:
        circuits: dict[object, Circuit] = self.__dict__.setdefault("_circuits", {})
        return circuits.get(name) or circuits.setdefault(name, Circuit())

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for names, is_write in ((_READS, False), (_WRITES, True)):
            for name in names:
                if (method := vars(cls).get(name)) is not None:
                    setattr(cls, name, _guarded(method, is_write, name in _GIVE_ITERATORS))
        if (check := vars(cls).get(_CHECK)) is not None:
            setattr(cls, _CHECK, _closing(check))


def _guarded(method: Callable[..., Any], is_write: bool, gives_iterator: bool) -> Callable[..., Any]:
    @wraps(method)
    def ask(self: FailsFast, *args: Any, **options: Any) -> Any:
        circuit = self.circuit_of(is_write, args[0] if args and isinstance(args[0], str) else "")
        with circuit.call():
            answer = method(self, *args, **options)
            if not gives_iterator:
                return answer
            first = list(islice(answer, 1))  # most of these methods ask nothing before
        return _watched(circuit, first, answer)

    return ask


def _closing(check: Callable[..., str]) -> Callable[..., str]:
    @wraps(check)
    def ask(self: FailsFast) -> str:
        told = check(self)
        for circuit in list(self.__dict__.get("_circuits", {}).values()):
            circuit.close()
        return told

    return ask


def _watched(circuit: Circuit, first: list[Any], rest: Iterator[Any]) -> Iterator[Any]:
    """Go on with an answer that has begun, though other calls may have met a store that hangs."""
    yield from first
    nothing = object()
    while True:
        with circuit.watched():
            one = next(rest, nothing)
        if one is nothing:
            return
        yield one
