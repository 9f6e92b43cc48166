"""A home forgotten: hidden at once, its bytes purged from every store."""

from __future__ import annotations

import time

from backends.ports import Change, ObjectStore, StateStore
from smarthouse_api.errors import Unavailable
from smarthouse_api.homes import SPACE, Homes
from smarthouse_api.lake.curator import LEASE
from smarthouse_api.lake.table import NAME, READERS, StatesTable
from smarthouse_api.leases import Lease, Leases
from smarthouse_api.uploads import Uploads

_SCRUB = "scrub"


class Forgetting:
    """wait_seconds: how long a purge waits for exports under way. delay_seconds: 0 purges before `forget` returns; else
    whoever keeps house purges what was hidden that long ago.
    """

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        homes: Homes,
        uploads: Uploads,
        table: StatesTable,
        leases: Leases,
        *,
        wait_seconds: float,
        delay_seconds: float,
    ) -> None:
        self._state, self._objects, self._homes, self._uploads = state, objects, homes, uploads
        self._table, self._leases = table, leases
        self._wait_seconds, self._delay_seconds = wait_seconds, delay_seconds

    def forget(self, uuid: str) -> None:
        """Hide the home; then, unless purging is delayed, purge it and whatever an earlier purge that failed has left.

        Raises `Unavailable` or `StoreError` when that failed; the home stays hidden, and the call can be repeated.
        """
        self._homes.hide(uuid)
        if self._delay_seconds:
            # An export that has read rows of the home may still be sending them.
            self._leases.break_shared(READERS, self._wait_seconds if self._homes.hidden() else 0)
        elif self.is_due():
            try:
                with self._leases.hold(LEASE, self._wait_seconds) as lease:
                    self.purge(lease)
            except TimeoutError:
                raise Unavailable("The home is hidden, but its data is not removed yet; repeat the request") from None

    def is_due(self) -> bool:
        """Whether there is a home to purge by now, or a purge to finish."""
        before = time.time() - self._delay_seconds
        return any(at <= before for at in self._homes.hidden().values()) or self._state.get(SPACE, _SCRUB) is not None

    def purge(self, lease: Lease) -> None:
        """Remove every byte of the hidden homes. For the holder of the lake's lease; repeatable after a crash at any step."""
        hidden = sorted(self._homes.hidden())
        for key in hidden:
            self._uploads.purge(key)
            self._table.delete_home(key)
        if hidden:
            self._objects.sweep()
            self._leases.break_shared(READERS, self._wait_seconds)
            lease.check()
            self._objects.sweep_table(NAME)
            self._table.erase_history()
            # The mark of an unfinished scrub must outlive the homes' names, which the scrub is to erase.
            self._state.put(SPACE, _SCRUB, b"")
            self._state.commit(SPACE, Change(deletes=tuple(f"forgotten/{key}" for key in hidden)))
        self._state.scrub()
        self._state.commit(SPACE, Change(deletes=(_SCRUB,)))
