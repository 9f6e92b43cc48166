"""A home forgotten: hidden at once, its bytes purged from every store.

What a backup brings back must be forgotten again. So each forgotten home leaves a note, the object `forgotten/<digest>`, empty:
the digest of its internal key, which is random, says nothing of the home to whoever has not the data itself.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable
from contextlib import suppress

from backends.ports import Change, Conflict, ObjectStore, StateStore, StoreUnavailable
from config.groups import ForgettingSettings
from smarthouse_api.access.grants import Access
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.errors import Unavailable
from smarthouse_api.states.homes import SPACE, Homes
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Uploads
from smarthouse_api.streams.service import Streams

_LEASE = "purge"
_DUE = "purge-due"
_NOTES = "forgotten/"
_AFTERMATH_SECONDS = 60.0
_PATIENCE_SECONDS = 900.0
_DECADE_SECONDS = 10 * 365 * 86400.0
_STREAMS_LEFT = "The home is hidden, but its streams are not removed yet; repeat the request"


class Forgetting:
    """Forgets homes: hides each at once, and purges it from every store, before `forget` returns or later by whoever keeps
    house, as the settings have it.
    """

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        homes: Homes,
        uploads: Uploads,
        table: StatesTable,
        streams: Streams,
        access: Access,
        leases: Leases,
        settings: ForgettingSettings,
    ) -> None:
        self._state, self._objects, self._homes, self._uploads = state, objects, homes, uploads
        self._table, self._streams, self._access, self._leases = table, streams, access, leases
        self._settings = settings

    def forget(self, uuid: str) -> None:
        """Hide the home; then, unless purging is delayed, purge it and whatever an earlier purge that failed has left.

        Once this returns, nothing of the home is read or sent any more. Raises `Unavailable` or `StoreError` when that failed;
        the home stays hidden, and the call can be repeated.
        """
        linked = self._homes.linked(uuid)
        self._homes.hide(uuid)
        for home_id in linked:
            self._hide_streams(home_id, self._streams.catalogue.home_keys_of(home_id))
        self.note(map(digest_of, self._homes.hidden()))
        is_purged = not linked or self._purge_streams()
        if not self._settings.delay_seconds:
            self.finish()
        elif self._homes.unbroken():
            self._break_readers()
        if not is_purged:
            raise Unavailable(_STREAMS_LEFT)
        # At the end: as long as it is not, a repeat finds what there is to be done.
        for home_id in linked:
            self._homes.unlink(home_id)

    def forget_streams(self, home_id: int, keys: set[str] | None = None) -> None:
        """Hide all streams of a home of the Stream Data Store, break off who reads them, and remove them.

        keys: only what is kept under these internal keys of it, which were an earlier home's of the same number. Its project is
        forgotten too. Keys that name the home go on to open whatever it gets from now on. What the state store's files hold of
        it goes now as well, unless purging is delayed. Repeatable; raises as `forget`.
        """
        self._hide_streams(home_id, self._streams.catalogue.home_keys_of(home_id) if keys is None else keys)
        if not self._purge_streams():
            raise Unavailable(_STREAMS_LEFT)
        self._homes.unlink(home_id)
        if not self._settings.delay_seconds:
            self._state.scrub()

    def finish(self) -> None:
        """Purge what is due now, whoever asked for it. Raises `Unavailable` when the lake or another purge takes too long."""
        if not self.is_due():
            return
        try:
            with self._leases.hold(_LEASE, self._settings.wait_seconds) as lease:
                if self.is_due():  # another may have purged it meanwhile, with its own
                    self.purge(lease)
        except TimeoutError:
            raise Unavailable("The home is hidden, but its data is not removed yet; repeat the request") from None

    def note(self, digests: Iterable[str]) -> None:
        """Remember that these homes were forgotten."""
        for digest in digests:
            self._objects.put(f"{_NOTES}{digest}", [b""])

    def noted(self) -> set[str]:
        """The digests of all homes that were ever forgotten."""
        return {info.key.removeprefix(_NOTES) for info in self._objects.list(_NOTES)}

    def is_purging(self) -> bool:
        """Whether a purge is under way, so that nobody else should replace files of the lake."""
        return self._leases.is_held(_LEASE)

    def is_due(self) -> bool:
        """Whether there is a home to purge by now, or a purge to finish."""
        before = time.time() - self._settings.delay_seconds
        if any(at <= before for at in self._homes.hidden().values()):
            return True
        return self._due() <= time.time()

    def try_purge(self) -> None:
        """Purge if it is time and nobody else is at it. Raises as `purge`."""
        if self.is_due() and (lease := self._leases.try_hold(_LEASE)) is not None:
            with lease:
                self.purge(lease)

    def purge(self, lease: Lease) -> None:
        """Remove every byte of the hidden homes; repeatable after a crash at any step.

        lease: of those who purge. What was on its way into a store meanwhile is removed by another purge a minute later, which
        the first asks for. Raises `TimeoutError` when the lake's writer takes too long.
        """
        hidden = sorted(self._homes.hidden())
        if not hidden and self._table.is_read() and not self._is_overdue():
            return  # no one waits for an aftermath: not worth an export
        # The mark must outlive the homes' names, which the scrub is to erase.
        due = self._due_at(time.time())
        self.note(map(digest_of, hidden))
        with self._table.writing(self._settings.wait_seconds) as writing:
            self._table.fence()
            for key in hidden:
                writing.check()
                self._uploads.purge(key)
                self._table.delete_home(key)
        if not hidden:
            self.sweep()
        is_all = self._purge_streams(0)  # whose own home waits for them has done so
        self._objects.sweep()
        # Without the writer's lease, which new exports want. What those read stays: nobody replaces files during a purge.
        self._break_readers()
        with self._table.writing(self._settings.wait_seconds) as writing:
            self._table.erase_history(writing)
        lease.check()
        self._state.commit(SPACE, Change(deletes=tuple(f"forgotten/{key}" for key in hidden)))
        # Without the lake's lease: it may take long, and exports and curators need not wait for it.
        try:
            self._state.scrub()
        except StoreUnavailable:
            self._due_at(time.time() + _AFTERMATH_SECONDS)  # the lake is purged: not again and again for this
            raise
        if hidden or not is_all:
            self._due_at(time.time() + _AFTERMATH_SECONDS)
        else:
            with suppress(Conflict):  # of another who was forgotten meanwhile
                self._state.commit(SPACE, Change(expect={_DUE: due}, deletes=(_DUE,)))

    def sweep(self) -> None:
        """Remove what came of forgotten homes after their purge: payloads whose upload died meanwhile.

        Of homes with a note alone. One that the state merely does not know may be known to another, or was lost with the
        state's last moments: that is for `Restoring`.
        """
        noted = self.noted()
        for key in self._uploads.homes() - self._homes.known():
            if digest_of(key) in noted:
                self._uploads.purge(key)
        left = self._streams.store.places() - self._streams.catalogue.places()
        self._streams.store.erase(place for place in left if digest_of(place[0]) in noted)

    def _hide_streams(self, home_id: int, keys: set[str]) -> None:
        self.note(map(digest_of, keys))
        # Before they are hidden, so that whatever dies now, the files of the stores are scrubbed once more.
        self._due_at(min(self._due(), time.time() + max(self._settings.delay_seconds, _AFTERMATH_SECONDS)))
        self._access.unassign(home_id)
        self._streams.catalogue.hide_home(home_id, keys)

    def _purge_streams(self, wait_seconds: float | None = None) -> bool:
        """Remove the bytes of all streams that are gone; whether that was done, or another is at it for too long."""
        try:
            self._streams.chores.purge(self._settings.wait_seconds if wait_seconds is None else wait_seconds)
        except TimeoutError:
            return False
        return True

    def _break_readers(self) -> None:
        """Wait for exports that may still send rows of a home that was hidden since they began, then break them off."""
        unbroken = self._homes.unbroken()
        self._table.break_readers(self._settings.wait_seconds)
        self._state.commit(SPACE, Change(deletes=tuple(unbroken)))

    def _is_overdue(self) -> bool:
        return self._due() + _PATIENCE_SECONDS <= time.time()

    def _due(self) -> float:
        """When a purge is due that somebody asked for; infinity if nobody did."""
        mark = self._state.get(SPACE, _DUE)
        return math.inf if mark is None else float(mark.value)

    def _due_at(self, when: float) -> int:
        """Ask for a purge; the version of what asks."""
        # Not for ever, because a full store takes only what passes; forgetting is what may make room.
        return self._state.put(SPACE, _DUE, str(when).encode(), ttl_seconds=_DECADE_SECONDS)


def digest_of(home_key: str) -> str:
    """What a note calls a home."""
    return hashlib.sha256(home_key.encode()).hexdigest()
