"""Forgetting a home: it is hidden at once, and its bytes are purged from every store.

A home that a restored backup brings back must be forgotten again. So each forgotten home leaves a note; see
`smarthouse_api.coordination.notes`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from backends.ports import Change, ObjectStore, StateStore, StoreUnavailable
from config.groups import ForgettingSettings
from smarthouse_api.access.grants import Access
from smarthouse_api.archives.service import Archives
from smarthouse_api.collections.homes import LeavingHome
from smarthouse_api.collections.service import Collections
from smarthouse_api.coordination.answer_times import AnswerTimes
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.coordination.notes import Notes, digest_of
from smarthouse_api.coordination.reserve import Reserve
from smarthouse_api.erasure.debts import OWED_SCRUB, Debts
from smarthouse_api.erasure.lake_rows import LakeRows
from smarthouse_api.erasure.rounds import AFTERMATH_SECONDS, Rounds, microseconds_of
from smarthouse_api.errors import Unavailable
from smarthouse_api.states.homes import SPACE, objection_of
from smarthouse_api.states.homes_table import PURGE_LEASE
from smarthouse_api.states.service import States
from smarthouse_api.streams.service import Streams

_SWEEP_LEASE = "erasure-sweep"
_BETWEEN_SWEEPS = 10.0
"""The time between two sweeps for rounds, as a multiple of how long one takes."""

_PATIENCE_SECONDS = 900.0
_STREAMS_LEFT = "The home is hidden, but its streams are not removed yet; repeat the request"

log = logging.getLogger(__name__)


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
        collections: Collections,
        archives: Archives,
        access: Access,
        leases: Leases,
        notes: Notes,
        reserve: Reserve,
        rounds: Rounds,
        settings: ForgettingSettings,
    ) -> None:
        self._state, self._objects, self._streams, self._access = state, objects, streams, access
        self._notes, self._reserve, self._rounds = notes, reserve, rounds
        self._homes, self._uploads, self._table = states.homes, states.uploads, states.table
        self._held_days = states.held_days
        self._record_homes, self._records, self._records_table = collections.homes, collections.erasing, collections.table
        self._leases, self._archives, self._jobs, self._settings = leases, archives, states.jobs, settings
        self._lake, self._debts = LakeRows(states, self._break_readers, settings.wait_seconds), Debts(state)
        self._sweeps_at = 0.0
        self.answer_times = AnswerTimes(state, "forget", settings.answer_seconds, self._is_sent)

    def forget(self, uuid: str, *, objects: bool = False) -> int:
        """Hide the home. Unless purging is delayed, purge it too, with all that a failed purge has left.

        Once this returns, nothing of the home is read or sent any more. Returns when the home was hidden, or known not to be
        there: in microseconds since 1970, by the state store's clock. Raises `Unavailable` or `StoreError` if that failed; the
        home stays hidden, and the call can be repeated. objects: nothing of it is taken again, either, until it consents.
        """
        return self.forget_tagged(self._homes.tag(uuid), objects=objects)

    def forget_tagged(self, tag: str, *, objects: bool = False) -> int:
        """Forget a home by the tag of its UUID, as `forget` does."""
        return self._reserve.spend_on(lambda: self._forget_tagged(tag, objects=objects))

    def _forget_tagged(self, tag: str, *, objects: bool) -> int:
        self._note_links(set(self._homes.linked(tag)))
        if (home := self._homes.tagged(tag)) is not None:
            self._held_days.note_home(home)  # before it is hidden: nobody is told then that all may hold it
        linked = {home_id: self._streams.catalogue.home_keys_of(home_id) for home_id in self._homes.linked(tag)}
        self._homes.hide(tag, linked, objects=objects)
        self._record_homes.hide(tag)
        hidden_at = microseconds_of(self._state.now())
        self._archives.forget(tag, set(), self._settings.wait_seconds)  # of what has no upload: streams, records
        objection = [objection_of(tag)] if objects else []
        is_erased = self._erase_streams(lambda: self._note_hidden(objection))
        self._records.close(self._settings.wait_seconds)
        self._lake.require()  # for unknown homes, too: the answer must not tell them from the others
        if not self._settings.delay_seconds:
            self.finish()
        elif self._homes.unbroken():
            self._break_readers()
        self._records_table.open()  # like the lake, but states are erased although only records cannot be
        if not is_erased:
            raise Unavailable(_STREAMS_LEFT)
        return hidden_at

    def forget_streams(self, home_id: int, keys: set[str] | None = None) -> None:
        """Hide all streams of a home of the Stream Data Store, break off their readers, and remove them and its project.

        keys: forget only what is kept under these internal keys, which belonged to an earlier home of the same number. API keys
        that name the home stay valid for what it gets from now on. Unless purging is delayed, the state store's files are
        scrubbed too. Repeatable; raises as `forget`.
        """
        self._reserve.spend_on(lambda: self._forget_streams(home_id, keys))

    def _forget_streams(self, home_id: int, keys: set[str] | None) -> None:
        tags = self._homes.linked_with(home_id)
        self._note_links({home_id})
        # With its links, in one commit: if this process dies now, the background does the rest, and no link is left.
        self._homes.hide_streams(home_id, self._streams.catalogue.home_keys_of(home_id) if keys is None else keys)
        self._forget_archives(tags)
        if not self._erase_streams():
            raise Unavailable(_STREAMS_LEFT)
        if not self._settings.delay_seconds:
            self._debts.scrub()

    def unlink(self, home_id: int) -> None:
        """Undo every link to a home of the Stream Data Store. A backup does not bring the links back."""
        tags = self._homes.linked_with(home_id)
        self._note_links({home_id})
        self._homes.unlink(home_id)
        self._forget_archives(tags)

    def _forget_archives(self, tags: Iterable[str]) -> None:
        """Remove the archives of homes, by the tags of their UUIDs, which may hold streams that are theirs no more."""
        for tag in tags:
            home = self._homes.tagged(tag)
            self._archives.forget(tag, set() if home is None else {home.key}, self._settings.wait_seconds)

    def unlink_noted(self, noted: Collection[str]) -> int:
        """Remove again the links that were removed after a backup; how many."""
        again = [name for name, _, link in self._homes.links() if digest_of(link) in noted]
        self._homes.remove_links(again)
        return len(again)

    def finish(self) -> None:
        """Purge all that is due now. Raises `Unavailable` if the lake or another purge takes too long."""
        if not self.is_due() and not self.is_scrub_owed():
            return
        try:
            with self._leases.hold(PURGE_LEASE, self._settings.wait_seconds) as lease:
                if self.is_due():  # another purge may have done it meanwhile
                    self.purge(lease)
                if self.is_scrub_owed():
                    self._debts.scrub()
        except TimeoutError:
            raise Unavailable("The home is hidden, but its data is not removed yet; repeat the request") from None

    def note(self, digests: Iterable[str]) -> None:
        """Leave a note of each forgotten home, by its digest."""
        self._notes.leave(digests)

    def noted(self) -> set[str]:
        """List the digests of all that was ever deleted for good."""
        return self._notes.left()

    def is_due(self) -> bool:
        """Tell whether there is a home to purge by now, or a purge to finish."""
        hidden = [*self._homes.hidden().values(), *(one.at for one in self._record_homes.leaving().values())]
        due = self._debts.due()
        if not hidden and math.isinf(due):
            return False
        now = self._state.now()
        return due <= now or any(at <= now - self._settings.delay_seconds for at in hidden)

    def try_purge(self) -> None:
        """Purge if that is due and no other process is purging. Raises as `purge`."""
        self._reserve.spend_on(self._try_purge)

    def end_rounds(self) -> None:
        """End the rounds that receipts of erasure wait for, as far as they are over. Raises as `purge`."""
        self._reserve.spend_on(self._end_rounds)

    def _end_rounds(self) -> None:
        if self._rounds.is_sweep_due():
            # Not the lease of purges: to list all uploads may take long, and a home that is forgotten meanwhile need not wait.
            if time.monotonic() >= self._sweeps_at and (lease := self._leases.try_hold(_SWEEP_LEASE)) is not None:
                with lease:
                    self._sweep_for_round()
        elif self._rounds.is_wanted():
            now = self._rounds.now()
            if self._is_quiet() and not self.is_scrub_owed() and self._rounds.is_wanted():
                self._rounds.quiet(now)

    def _is_quiet(self) -> bool:
        """Tell whether nothing is hidden that is still to be purged."""
        return not (self._homes.hidden() or self._homes.erasing() or self._record_homes.leaving())

    def _sweep_for_round(self) -> None:
        """Do what a purge that nobody waits for does for homes that are purged. It needs neither the lake nor its readers."""
        began, began_at = self._state.now(), time.monotonic()
        was_quiet = self._is_quiet()
        self.sweep()
        is_all = self._purge_streams(0)
        self._objects.sweep()
        self._debts.scrub()
        if is_all:
            self._rounds.swept(began, was_quiet=was_quiet)
        # It lists all uploads: homes that are forgotten all the time must not have that done all the time.
        self._sweeps_at = time.monotonic() + _BETWEEN_SWEEPS * (time.monotonic() - began_at)

    def _try_purge(self) -> None:
        self._erase_streams(wait_seconds=0)
        if leaving := self._record_homes.leaving():
            self.note(map(digest_of, leaving))
            self._records.close(self._settings.wait_seconds)
        if self.is_due() and (lease := self._leases.try_hold(PURGE_LEASE)) is not None:
            with lease:
                self.purge(lease)

    def purge(self, lease: Lease) -> None:
        """Remove every byte of the hidden homes; repeatable after a crash at any step.

        lease: of the purge. It asks for a second purge a minute later, which removes what was on its way into a store
        meanwhile. Raises `TimeoutError` if the lake's writer takes too long.
        """
        began_at, began = time.monotonic(), self._state.now()
        hidden_at, leaving = self._homes.hidden(), self._record_homes.leaving()
        hidden, since = sorted(hidden_at), [*hidden_at.values(), *(one.at for one in leaving.values())]
        if not since and self._table.is_read() and self._debts.due() + _PATIENCE_SECONDS > began:
            return  # nobody waits for a second purge, so it breaks off no export
        # The mark must outlive the homes' names, which the scrub is to erase.
        due = self._debts.ask_for_purge(self._state.now())
        self.note(map(digest_of, (*hidden, *leaving)))
        self._records.close(self._settings.wait_seconds)
        if is_of_states := bool(hidden) or not leaving:
            self._lake.delete(hidden)
        if not since:
            self.sweep()
        has_streams_left = not self._purge_streams(0)  # a request that waits for them has waited itself
        self._objects.sweep()
        is_all = not (is_of_states and not self._lake.erase_history(hidden)) and not has_streams_left
        self._lake.prune_counts(hidden)
        fault = self._erase_records(leaving)
        lease.check()
        purged, deletes = self._homes.purged(hidden), () if fault else self._record_homes.erased(leaving)
        puts = (self._rounds.purged(began, min(since)),) if since and not fault else ()
        self._state.commit(SPACE, replace(purged, deletes=(*purged.deletes, *deletes), puts=puts))
        # Without the lake's lease: scrubbing may take long, and exports and curators need not wait.
        try:
            self._debts.scrub()
        except StoreUnavailable:
            # The lake is purged, and is not again and again for this. Whoever asks for a home to be forgotten waits for it.
            self._debts.ask_for_purge(self._state.now() + AFTERMATH_SECONDS, owed=True)
            raise
        log.info("%d forgotten homes were erased in %.1f s", len(hidden), time.monotonic() - began_at)
        if fault:
            raise fault
        if not since and not has_streams_left:
            self._rounds.swept(began, was_quiet=not self._homes.erasing())
        if since or not is_all:
            self._debts.ask_for_purge(self._state.now() + AFTERMATH_SECONDS)
        else:
            self._debts.purged(due)

    def _erase_records(self, leaving: Mapping[str, LeavingHome]) -> Exception | None:
        """Erase the records of homes from the lake; return why that failed. Then states are erased all the same."""
        try:
            self._records.erase(leaving, self._settings.wait_seconds)
        except (StoreUnavailable, Unavailable, TimeoutError) as fault:
            return fault
        return None

    def _note_hidden(self, objection: Iterable[str]) -> None:
        self.note((*objection, *map(digest_of, (*self._homes.hidden(), *self._record_homes.leaving()))))

    def _note_links(self, home_ids: set[int]) -> None:
        if home_ids:
            self._notes.leave(digest_of(link) for _, home_id, link in self._homes.links() if home_id in home_ids)

    def sweep(self) -> None:
        """Remove what came for forgotten homes after their purge, from uploads that died meanwhile.

        Only homes with a note are swept. A home that the state does not know may be in another state, or was lost with the
        state's last moments: `Restoring` handles those.
        """
        self._notes.mend()
        noted = self.noted()
        for key in self._uploads.homes() - self._homes.known():
            if digest_of(key) in noted:
                self._uploads.purge(key)
        left = self._streams.store.places() - self._streams.catalogue.places()
        self._streams.store.erase(place for place in left if digest_of(place[0]) in noted)
        self._jobs.sweep()

    def _hide_streams(self, home_id: int, keys: set[str]) -> None:
        self._notes.leave(map(digest_of, keys), is_home=False)
        # Before they are hidden: if this process dies now, the files of the stores are still scrubbed once more.
        self._debts.ask_for_purge(
            min(self._debts.due(), self._state.now() + max(self._settings.delay_seconds, AFTERMATH_SECONDS))
        )
        self._access.unassign(home_id)
        self._streams.catalogue.hide_home(home_id, keys)

    def _erase_streams(self, noted: Callable[[], None] = lambda: None, wait_seconds: float | None = None) -> bool:
        """Hide and remove the streams of forgotten homes, also those that a process which died has left.

        noted: called in between. Returns False if another process works on streams for too long; then they are hidden.
        """
        erasing = self._homes.erasing()
        for home_id, keys in erasing.values():
            self._hide_streams(home_id, keys)
        noted()
        if erasing:
            if not self._purge_streams(wait_seconds):
                return False
            self._state.commit(SPACE, Change(puts=(OWED_SCRUB,), deletes=tuple(erasing)))
        return True

    def _purge_streams(self, wait_seconds: float | None = None) -> bool:
        """Remove the bytes of all deleted streams; False if another process is at it for too long."""
        try:
            self._streams.chores.purge(self._settings.wait_seconds if wait_seconds is None else wait_seconds)
        except TimeoutError:
            return False
        return True

    def _break_readers(self, hidden: Iterable[str] = ()) -> None:
        """Wait for exports that may send rows of homes that were hidden since they began, then break them off.

        Those stay that cannot have any: their snapshot is older than the homes, or they read other days.
        """
        unbroken = self._homes.unbroken()
        new = {name.partition("/")[2] for name in unbroken}
        self._held_days.note(new.difference(hidden))
        keys = {*hidden, *new}
        self._table.break_readers(self._settings.wait_seconds, self._homes.spared(keys))
        self._jobs.forget(keys, self._settings.wait_seconds)
        self._archives.forget(None, keys, self._settings.wait_seconds)
        self._state.commit(SPACE, Change(deletes=tuple(unbroken)))

    def _is_sent(self) -> bool:
        """Tell whether data is sent that a forget may have to wait for. It is the same for a home that is not known."""
        tables = self._table, self._records_table
        return any(table.is_read() for table in tables) or self._jobs.are_sent() or self._archives.are_sent()

    def is_scrub_owed(self) -> bool:
        """Tell whether files of the state store may hold bytes of what was erased, although no document does."""
        return self._debts.is_scrub_owed()
