"""The archives that are kept: their documents and files, how many there may be, and for how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Final

from backends.ports import Change, Conflict, ObjectStore, Put, StateStore
from config.groups import ArchiveSettings
from smarthouse_api.archives.model import KEPT, PREFIX, Holder, Kept, encode, name_of, read_kept
from smarthouse_api.coordination.leased_answers import LeasedAnswer, Slots
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.errors import Gone, Unavailable
from smarthouse_api.states.homes import SPACE
from smarthouse_api.states.jobs.kept_files import Blocks

_SENT_FOR_EACH_MADE: Final = 4
_TIDY_SECONDS: Final = 60.0
_LEAST_WAIT_SECONDS: Final = 2.0
"""Who makes an archive looks four times a second whether the home is there. Who tidies takes less."""

_LOOK_SECONDS: Final = 0.05
_SENT: Final = "archives"
_CROWDED: Final = "The service keeps as many archives as it can, and all of them are being sent; repeat the request later"
_LATE: Final = "The home is hidden, but its archive is still being made; repeat the request"


class OpenArchive(LeasedAnswer):
    """Sends an archive, or a part of it. Until it is closed, a forget waits for it for a while, and then ends it.

    is_the_only_one: a client that has a part of an archive of this home has it of this one.
    """

    def __init__(self, blocks: Blocks, kept: Kept, lease: Lease, ending: ExitStack) -> None:
        super().__init__(lease, ending)
        self._blocks, self.etag, self.size_bytes = blocks, kept.version, kept.size_bytes
        self.at, self.is_the_only_one = kept.at, not kept.replaces

    def body(self, first: int = 0, last: int | None = None) -> Iterator[bytes]:
        """Return the bytes from `first` to `last`. Raises `LeaseLost`, `Gone`, and `Unavailable` for what is not whole."""
        end = self.size_bytes if last is None else last + 1
        yield from self._while_leased(self._blocks.read(first, end), _LOOK_SECONDS)


class Shelf:
    """Keeps archives, one of each home."""

    def __init__(self, state: StateStore, objects: ObjectStore, leases: Leases, settings: ArchiveSettings) -> None:
        self._state, self._objects, self._leases, self._settings = state, objects, leases, settings
        self._slots = Slots(
            _SENT_FOR_EACH_MADE * settings.at_once, "This worker sends as many archives as it can at once; ask again"
        )

    def making(self, name: str) -> str:
        """Name the lease of the process that makes the archive of this name."""
        return f"archive/{name}"

    def asking(self, tag: str) -> str:
        """Name the lease of the process that has the archive of a home made. tag: of its UUID."""
        return f"archive-asked/{name_of(tag)}"

    def find(self, name: str) -> Kept | None:
        """Find an archive that is kept."""
        found = self._state.get(SPACE, f"{KEPT}{name}")
        kept = None if found is None else read_kept(found.value)
        return None if kept is None or kept.expires_at <= self._state.now() else kept

    def open(self, kept: Kept) -> OpenArchive:
        """Open an archive. Raises `Gone` if it is kept no more, or is damaged; then it is removed."""
        with ExitStack() as ending:
            ending.enter_context(self._slots)
            lease = self._leases.share(_readers(kept.name))
            ending.callback(lease.release)
            if self.find(kept.name) != kept:  # under the lease, which a forget breaks before the file goes
                raise Gone("The archive is not kept any more")
            blocks = Blocks(self._objects, kept, partial(self._drop, kept))
            blocks.begin()
            return OpenArchive(blocks, kept, lease, ending.pop_all())

    def keep(self, kept: Kept, holder: Holder) -> bool:
        """Keep an archive whose file is stored, in the place of an earlier one; False if its home was forgotten meanwhile.

        Raises `Unavailable`, and removes the file, if all others are being sent.
        """
        if not self._make_room(kept):
            self._objects.delete([kept.file, kept.sums])
            raise Unavailable(_CROWDED)
        put = Put(f"{KEPT}{kept.name}", encode(kept), self._settings.hours * 3600)
        try:
            self._state.commit(SPACE, Change(holder.proof, (put,)))
        except Conflict:
            self._objects.delete([kept.file, kept.sums])
            return False
        self._remove_others(kept.name, kept)
        return True

    def _make_room(self, new: Kept) -> bool:
        """Remove other archives until they are few enough with the new one; False if they cannot be.

        Of those that are not being sent, the oldest goes of the client that has the most, which may be the new one's.
        """
        others = sorted((one for one in self._all() if one.name != new.name), key=lambda one: one.at)
        size = new.size_bytes + sum(one.size_bytes for one in others)
        sent = {key.split("/")[2] for key in self._leases.shared(_SENT)}
        while others and (len(others) >= self._settings.most or size > self._settings.bytes):
            weigh = _one if len(others) >= self._settings.most else _bytes
            shares = Counter[str]()
            for one in (new, *others):
                shares[_owner(one)] += weigh(one)
            unsent = (one for one in others if one.name not in sent)
            if (gone := max(unsent, key=lambda one: shares[_owner(one)], default=None)) is None:
                return False
            size -= gone.size_bytes
            others.remove(gone)
            self._drop(gone)
        return True

    def _drop(self, kept: Kept) -> None:
        found = self._state.get(SPACE, f"{KEPT}{kept.name}")
        if found is not None and read_kept(found.value) == kept:
            with suppress(Conflict):  # there is a newer one
                self._state.commit(SPACE, Change({f"{KEPT}{kept.name}": found.version}, deletes=(f"{KEPT}{kept.name}",)))
                self._objects.delete([kept.file, kept.sums])

    def forget(self, names: Collection[str], wait_seconds: float) -> None:
        """Remove the archives of homes that are hidden, and wait for who makes one. Repeatable.

        Who sends one has so many seconds to finish, and is then broken off. Raises `Unavailable` if the making takes longer.
        """
        for name in names:
            self._leases.break_shared(_readers(name), wait_seconds)
            if (lease := self._leases.wait_for(self.making(name), max(wait_seconds, _LEAST_WAIT_SECONDS))) is None:
                raise Unavailable(_LATE)
            with lease:
                self._state.commit(SPACE, Change(deletes=(f"{KEPT}{name}",)))
                self._remove_others(name, None)

    def are_sent(self) -> bool:
        """Tell whether somebody downloads the archive of a home."""
        return bool(self._leases.shared(_SENT))

    def tidy(self, is_right: Callable[[Kept], bool]) -> None:
        """Remove once a minute, in one of all processes, what has expired, is not right, or was left by processes that died."""
        if not self._leases.claim("archives", _TIDY_SECONDS):
            return
        for kept in self._all():
            if not is_right(kept):
                self._drop(kept)
        names = {info.key.split("/")[1] for info in self._objects.list(PREFIX)}
        for name in names:
            if (lease := self._leases.try_hold(self.making(name))) is not None:
                with lease:
                    self._remove_others(name, self.find(name))

    def _all(self) -> Iterator[Kept]:
        for _, document in self._state.scan_all(SPACE, KEPT):
            yield read_kept(document.value)

    def _remove_others(self, name: str, kept: Kept | None) -> None:
        left = () if kept is None else (kept.file, kept.sums)
        if found := [info.key for info in self._objects.list(f"{PREFIX}{name}/") if info.key not in left]:
            self._objects.delete(found)


def _owner(kept: Kept) -> str:
    """Tell whose share an archive counts for. An earlier version did not note a client."""
    return kept.owner or kept.name


def _one(_: Kept) -> int:
    return 1


def _bytes(kept: Kept) -> int:
    return kept.size_bytes


def _readers(name: str) -> str:
    return f"{_SENT}/{name}"
