"""Leases over the state store: one holder of a name, or several readers whom a writer may wait for and break off.

A lease is a document that expires by the store's own clock and contains its holder's random name. A holder that has lost the
lease finds another name, or none, and must stop.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from backends.ports import ABSENT, Change, Conflict, Document, StateStore, StoreUnavailable
from smarthouse_api.errors import Unavailable

SPACE = "leases"
_HOLDER_BYTES = 16
_GIVING_BACK_SECONDS = 0.1


class LeaseLost(Unavailable):
    """Says that the lease expired or was broken off; another process may hold it by now."""


class Lease:
    """Holds a lease, which a thread of its own keeps alive until it is released: at the end of a `with`, or by `release`."""

    def __init__(self, state: StateStore, key: str, seconds: float) -> None:
        self._state, self._key, self._seconds = state, key, seconds
        self._holder, self._note = uuid.uuid4().bytes, b""
        try:
            self._version = state.put(SPACE, key, self._holder, expect=ABSENT, ttl_seconds=seconds)
        except StoreUnavailable:
            self._give_back_later()  # it may be held all the same: only the answer was lost
            raise
        self._beating = threading.Lock()
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name=f"lease {key.split('/')[0]}", daemon=True)
        self._heart.start()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def note(self) -> bytes:
        """What was told last."""
        return self._note

    @property
    def token(self) -> tuple[str, bytes]:
        """What another process needs to check the lease, see `Leases.of_another`."""
        return self._key, self._holder

    def check(self) -> None:
        """Check that the lease is held now. Raises `LeaseLost`."""
        with self._beating:
            held = self._state.get(SPACE, self._key)
            if held is None or not self._is_ours(held):
                raise _lost()

    def tell(self, note: bytes) -> None:
        """Add a note, by which `Leases.break_shared` may spare the lease. Raises `LeaseLost`."""
        with self._beating:
            self._note = note
            if not self._renew():
                raise _lost()

    def release(self) -> None:
        """Let go of the lease. Never fails: it expires in any case.

        A store that does not answer is asked again for as long, so that nobody waits once it does.
        """
        self._ended.set()
        if self._heart is not threading.current_thread():  # which may collect a reader that nobody holds any more
            self._heart.join()
        try:
            self._state.commit(SPACE, Change(expect={self._key: self._version}, deletes=(self._key,)))
        except (Conflict, StoreUnavailable):
            self._give_back_later()

    def _give_back_later(self) -> None:
        """Go on trying to let go of the lease, so that nobody waits until it expires once the store answers again."""
        threading.Thread(target=self._give_back, name="giving back a lease", daemon=True).start()

    def _give_back(self) -> None:
        deadline = time.monotonic() + self._seconds
        while time.monotonic() < deadline:
            try:
                held = self._state.get(SPACE, self._key)
                if held is not None and self._is_ours(held):
                    self._state.commit(SPACE, Change(expect={self._key: held.version}, deletes=(self._key,)))
            except (Conflict, StoreUnavailable):
                time.sleep(_GIVING_BACK_SECONDS)
            else:
                return

    def _beat(self) -> None:
        while not self._ended.wait(self._seconds / 4):
            with self._beating, suppress(StoreUnavailable):
                if not self._renew():
                    return

    def _renew(self) -> bool:
        """Write the lease anew; False if it is lost."""
        while True:
            value = self._holder + self._note
            try:
                self._version = self._state.put(SPACE, self._key, value, expect=self._version, ttl_seconds=self._seconds)
            except Conflict:
                held = self._state.get(SPACE, self._key)
                if held is None or not self._is_ours(held):
                    return False
                self._version = held.version  # from a beat whose answer was lost
            else:
                return True

    def _is_ours(self, held: Document) -> bool:
        return held.value.startswith(self._holder)


class LeaseOfAnother(Lease):
    """Checks a lease that another process holds, and keeps alive. token: of the lease."""

    def __init__(self, state: StateStore, token: tuple[str, bytes]) -> None:
        self._state, self._beating, self._note = state, threading.Lock(), b""
        self._key, self._holder = token

    def tell(self, note: bytes) -> None:
        """Refuse to change the note, which only the holder may. Raises `LeaseLost`."""
        raise _lost()

    def release(self) -> None:
        """Leave it to the holder."""


def _lost() -> LeaseLost:
    return LeaseLost("The work was broken off, because another process needed the lake; repeat the request")


class Leases:
    """Gives out leases in one state store. seconds: after this time, another process takes over from a holder that died."""

    def __init__(self, state: StateStore, seconds: float) -> None:
        self._state, self._seconds = state, seconds

    def try_hold(self, name: str) -> Lease | None:
        """Take the lease of `name`; None while another holds it."""
        try:
            return Lease(self._state, f"one/{name}", self._seconds)
        except Conflict:
            return None

    @contextmanager
    def hold(self, name: str, wait_seconds: float) -> Iterator[Lease]:
        """Hold `name`; wait for another holder at most `wait_seconds`. Raises `TimeoutError`."""
        if (lease := self.wait_for(name, wait_seconds)) is None:
            raise TimeoutError(f"{name} is held by another for over {wait_seconds:g} s")
        with lease:
            yield lease

    def wait_for(self, name: str, wait_seconds: float) -> Lease | None:
        """Take the lease of `name`, to be released. Waits for another holder at most `wait_seconds`, then gives None."""
        deadline = time.monotonic() + wait_seconds
        while (lease := self.try_hold(name)) is None:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)
        return lease

    def of_another(self, token: tuple[str, bytes]) -> Lease:
        """Return a lease that another process holds, to be checked here. token: of that lease."""
        return LeaseOfAnother(self._state, token)

    def is_held(self, name: str) -> bool:
        """Tell whether `try_hold` would fail now."""
        return self._state.get(SPACE, f"one/{name}") is not None

    def claim(self, name: str, seconds: float) -> bool:
        """Claim `name` for so many seconds; False if another caller's claim still holds. A claim may be prolonged."""
        try:
            self._state.put(SPACE, f"claimed/{name}", b"", expect=ABSENT, ttl_seconds=seconds)
        except Conflict:
            return False
        return True

    def prolong(self, name: str, seconds: float) -> None:
        """Let a claim expire so many seconds from now."""
        self._state.put(SPACE, f"claimed/{name}", b"", ttl_seconds=seconds)

    def share(self, name: str) -> Lease:
        """Take a reader's lease of `name`; any number may be held at once."""
        return Lease(self._state, f"shared/{name}/{uuid.uuid4().hex}", self._seconds)

    def shared(self, name: str) -> set[str]:
        """List the present readers of `name`."""
        return {key for key, _ in self._state.scan_all(SPACE, f"shared/{name}/")}

    def notes(self, name: str) -> dict[str, bytes]:
        """Return the present readers of `name` with the note of each; an empty one until it has told any."""
        return {key: held.value[_HOLDER_BYTES:] for key, held in self._state.scan_all(SPACE, f"shared/{name}/")}

    def break_shared(self, name: str, wait_seconds: float, spared: Callable[[bytes], bool] = lambda _: False) -> int:
        """Wait at most `wait_seconds` for the present readers of `name`, then break off the rest; how many that were.

        Readers that come later are neither waited for nor broken off. spared: tells from a reader's note whether it may stay.
        """
        deadline = time.monotonic() + wait_seconds
        readers = {key for key, note in self.notes(name).items() if not spared(note)}
        while readers and time.monotonic() < deadline:
            time.sleep(0.01)
            readers &= {key for key, note in self.notes(name).items() if not spared(note)}
        for key in readers:
            self._state.commit(SPACE, Change(deletes=(key,)))
        return len(readers)
