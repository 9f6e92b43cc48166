"""Forgetting a home: it is hidden at once, and its bytes are purged from every store.

A home that a restored backup brings back must be forgotten again. So each forgotten home leaves a note, the empty object
`forgotten/<digest>`. That is the digest of its internal key, which is random: without the data it says nothing of the home.
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
from smarthouse_api.states.homes import SPACE
from smarthouse_api.states.service import PURGE_LEASE, States
from smarthouse_api.streams.service import Streams

_DUE = "purge-due"
_NOTES = "forgotten/"
_AFTERMATH_SECONDS = 60.0
_PATIENCE_SECONDS = 900.0
_DECADE_SECONDS = 10 * 365 * 86400.0
_STREAMS_LEFT = "The home is hidden, but its streams are not removed yet; repeat the request"


class Forgetting:
    """Forgets homes: hides each at once, and purges it from every store.

    Depending on the settings, the purge is done before `forget` returns, or later by the housekeeper.
    """

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        states: States,
        streams: Streams,
        access: Access,
        leases: Leases,
        settings: ForgettingSettings,
    ) -> None:
        self._state, self._objects, self._streams, self._access = state, objects, streams, access
        self._homes, self._uploads, self._table = states.homes, states.uploads, states.table
        # One lease is of both: what is held for the table of states, or broken, is so for the statistics too.
        self._tables = states.table, states.statistics
        self._leases, self._settings = leases, settings

    def forget(self, uuid: str) -> None:
        """Hide the home. Unless purging is delayed, purge it too, with all that a failed purge has left.

        Once this returns, nothing of the home is read or sent any more. Raises `Unavailable` or `StoreError` if that failed;
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
        # At the end: until then, a repeat finds what is left to do.
        for home_id in linked:
            self._homes.unlink(home_id)

    def forget_streams(self, home_id: int, keys: set[str] | None = None) -> None:
        """Hide all streams of a home of the Stream Data Store, break off their readers, and remove them and its project.

        keys: forget only what is kept under these internal keys, which belonged to an earlier home of the same number. API keys
        that name the home stay valid for what it gets from now on. Unless purging is delayed, the state store's files are
        scrubbed too. Repeatable; raises as `forget`.
        """
        self._hide_streams(home_id, self._streams.catalogue.home_keys_of(home_id) if keys is None else keys)
        if not self._purge_streams():
            raise Unavailable(_STREAMS_LEFT)
        self._homes.unlink(home_id)
        if not self._settings.delay_seconds:
            self._state.scrub()

    def finish(self) -> None:
        """Purge all that is due now. Raises `Unavailable` if the lake or another purge takes too long."""
        if not self.is_due():
            return
        try:
            with self._leases.hold(PURGE_LEASE, self._settings.wait_seconds) as lease:
                if self.is_due():  # another purge may have done it meanwhile
                    self.purge(lease)
        except TimeoutError:
            raise Unavailable("The home is hidden, but its data is not removed yet; repeat the request") from None

    def note(self, digests: Iterable[str]) -> None:
        """Leave a note of each forgotten home, by its digest."""
        for digest in digests:
            self._objects.put(f"{_NOTES}{digest}", [b""])

    def noted(self) -> set[str]:
        """List the digests of all homes that were ever forgotten."""
        return {info.key.removeprefix(_NOTES) for info in self._objects.list(_NOTES)}

    def is_due(self) -> bool:
        """Tell whether there is a home to purge by now, or a purge to finish."""
        before = time.time() - self._settings.delay_seconds
        return any(at <= before for at in self._homes.hidden().values()) or self._due() <= time.time()

    def try_purge(self) -> None:
        """Purge if that is due and no other process is purging. Raises as `purge`."""
        if self.is_due() and (lease := self._leases.try_hold(PURGE_LEASE)) is not None:
            with lease:
                self.purge(lease)

    def purge(self, lease: Lease) -> None:
        """Remove every byte of the hidden homes; repeatable after a crash at any step.

        lease: of the purge. It asks for a second purge a minute later, which removes what was on its way into a store
        meanwhile. Raises `TimeoutError` if the lake's writer takes too long.
        """
        hidden = sorted(self._homes.hidden())
        if not hidden and self._table.is_read() and self._due() + _PATIENCE_SECONDS > time.time():
            return  # nobody waits for a second purge, so it breaks off no export
        # The mark must outlive the homes' names, which the scrub is to erase.
        due = self._due_at(time.time())
        self.note(map(digest_of, hidden))
        with self._table.writing(self._settings.wait_seconds) as writing:
            for table in self._tables:
                table.fence()
            for key in hidden:
                writing.check()
                self._uploads.purge(key)
                for table in self._tables:
                    table.delete_home(key)
        if not hidden:
            self.sweep()
        is_all = self._purge_streams(0)  # a request that waits for them has waited itself
        self._objects.sweep()
        # Without the writer's lease, which new exports need. The files that those read stay: nobody replaces files in a purge.
        self._break_readers()
        with self._table.writing(self._settings.wait_seconds) as writing:
            for table in self._tables:
                table.erase_history(writing)
        lease.check()
        self._state.commit(SPACE, Change(deletes=tuple(f"forgotten/{key}" for key in hidden)))
        # Without the lake's lease: scrubbing may take long, and exports and curators need not wait.
        try:
            self._state.scrub()
        except StoreUnavailable:
            self._due_at(time.time() + _AFTERMATH_SECONDS)  # the lake is purged; not again and again for this
            raise
        if hidden or not is_all:
            self._due_at(time.time() + _AFTERMATH_SECONDS)
        else:
            with suppress(Conflict):  # another home was forgotten meanwhile
                self._state.commit(SPACE, Change(expect={_DUE: due}, deletes=(_DUE,)))

    def sweep(self) -> None:
        """Remove what came for forgotten homes after their purge, from uploads that died meanwhile.

        Only homes with a note are swept. A home that the state does not know may be in another state, or was lost with the
        state's last moments: `Restoring` handles those.
        """
        noted = self.noted()
        for key in self._uploads.homes() - self._homes.known():
            if digest_of(key) in noted:
                self._uploads.purge(key)
        left = self._streams.store.places() - self._streams.catalogue.places()
        self._streams.store.erase(place for place in left if digest_of(place[0]) in noted)

    def _hide_streams(self, home_id: int, keys: set[str]) -> None:
        self.note(map(digest_of, keys))
        # Before they are hidden: if this process dies now, the files of the stores are still scrubbed once more.
        self._due_at(min(self._due(), time.time() + max(self._settings.delay_seconds, _AFTERMATH_SECONDS)))
        self._access.unassign(home_id)
        self._streams.catalogue.hide_home(home_id, keys)

    def _purge_streams(self, wait_seconds: float | None = None) -> bool:
        """Remove the bytes of all deleted streams; False if another process is at it for too long."""
        try:
            self._streams.chores.purge(self._settings.wait_seconds if wait_seconds is None else wait_seconds)
        except TimeoutError:
            return False
        return True

    def _break_readers(self) -> None:
        """Wait for exports that may send rows of a home that was hidden since they began, then break them off."""
        unbroken = self._homes.unbroken()
        self._table.break_readers(self._settings.wait_seconds)
        self._state.commit(SPACE, Change(deletes=tuple(unbroken)))

    def _due(self) -> float:
        """Tell when the purge that was asked for is due; infinity if none was."""
        mark = self._state.get(SPACE, _DUE)
        return math.inf if mark is None else float(mark.value)

    def _due_at(self, when: float) -> int:
        """Ask for a purge at a time; return the version of the document that asks."""
        # It expires in the end: a full store takes only what expires, and forgetting makes room.
        return self._state.put(SPACE, _DUE, str(when).encode(), ttl_seconds=_DECADE_SECONDS)


def digest_of(home_key: str) -> str:
    """Name a home's note."""
    return hashlib.sha256(home_key.encode()).hexdigest()
