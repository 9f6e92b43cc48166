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

_DUE = "purge-due"
_AFTERMATH_SECONDS = 60.0


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

        Once this returns, nothing of the home is read or sent any more. Raises `Unavailable` or `StoreError` when that failed;
        the home stays hidden, and the call can be repeated.
        """
        if self._homes.hide(uuid) and self._delay_seconds:
            # An export that has read rows of the home may still be sending them.
            self._leases.break_shared(READERS, self._wait_seconds)
        if self._delay_seconds or not self.is_due():
            return
        try:
            with self._leases.hold(LEASE, self._wait_seconds) as lease:
                if self.is_due():  # another may have purged it meanwhile, with its own
                    self.purge(lease)
        except TimeoutError:
            raise Unavailable("The home is hidden, but its data is not removed yet; repeat the request") from None

    def is_due(self) -> bool:
        """Whether there is a home to purge by now, or a purge to finish."""
        before = time.time() - self._delay_seconds
        if any(at <= before for at in self._homes.hidden().values()):
            return True
        mark = self._state.get(SPACE, _DUE)
        return mark is not None and float(mark.value) <= time.time()

    def purge(self, lease: Lease) -> None:
        """Remove every byte of the hidden homes. For the holder of the lake's lease; repeatable after a crash at any step.

        What was on its way into a store meanwhile is removed by another purge a minute later, which the first asks for.
        """
        hidden = sorted(self._homes.hidden())
        if not hidden and self._leases.shared(READERS):
            return  # no one waits for an aftermath: not worth an export
        # The mark must outlive the homes' names, which the scrub is to erase.
        self._due_at(time.time())
        self._table.fence(self._uploads.log_id())
        for key in hidden:
            self._uploads.purge(key)
            self._table.delete_home(key)
        if not hidden:
            self._uploads.sweep()
        self._objects.sweep()
        self._leases.break_shared(READERS, self._wait_seconds)
        self._objects.sweep_table(NAME)
        lease.check()
        self._table.erase_history()
        self._state.commit(SPACE, Change(deletes=tuple(f"forgotten/{key}" for key in hidden)))
        self._state.scrub()
        if hidden:
            self._due_at(time.time() + _AFTERMATH_SECONDS)
        else:
            self._state.commit(SPACE, Change(deletes=(_DUE,)))

    def _due_at(self, when: float) -> None:
        self._state.put(SPACE, _DUE, str(when).encode())
