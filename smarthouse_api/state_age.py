"""Whether the state store is older than the object store: an old copy of its file was put back, or a failover lost its end.

Such a state knows nothing of the homes that came later, and has again what was deleted. Who asked it to forget a home would be
told so while the lake has the home's rows. It shows in two ways:

1. The lake holds queue entries that the state has never given. The lake is read first: entries come before their rows.
2. The state has what a note among the objects says was deleted for good, and lacks the document of that note. The document is
   written before the object; see `smarthouse_api.coordination.notes`. The objects are listed first.

Then the installation is held back until `smarthouse restore` has ended well.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from backends.ports import StoreUnfit
from smarthouse_api.access.grants import Access
from smarthouse_api.collections.service import Collections
from smarthouse_api.coordination.installation import Installation
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.notes import Notes, digest_of
from smarthouse_api.coordination.store_agreement import OLDER, HeldBack
from smarthouse_api.states.service import States
from smarthouse_api.streams.service import Streams

_LEASE: Final = "state-age"
_SECONDS: Final = 3600.0


class StateAge:
    """Compares the age of the two stores: when a process begins, when the state goes back under it, and once an hour."""

    def __init__(
        self,
        installation: Installation,
        notes: Notes,
        states: States,
        streams: Streams,
        collections: Collections,
        access: Access,
        leases: Leases,
    ) -> None:
        self._installation, self._notes, self._leases = installation, notes, leases
        self._states, self._streams, self._collections, self._access = states, streams, collections, access
        self._last = 0

    def check(self) -> None:
        """Hold the installation back and raise `HeldBack` if the state store is the older one."""
        if self._lake_is_ahead() or self._has_what_was_deleted():
            self._installation.hold_back(OLDER)
            raise HeldBack(OLDER)

    def look(self) -> None:
        """Do what `check` does if the state has gone back since the last look of this process."""
        last = self._states.uploads.queue.last()
        went_back, self._last = last < self._last, last
        if went_back:
            self.check()

    def strangers(self, with_uploads: set[str]) -> set[str]:
        """Find the homes, of those that have raw uploads, that the state does not know and that were not forgotten.

        A home is in the state before its first upload is kept. with_uploads: their internal keys, listed before.
        """
        homes = self._states.homes
        strange = with_uploads - homes.known() - homes.hidden().keys()
        if not strange:
            return strange
        noted = self._notes.left()  # read last: a home is noted before it leaves the state
        return {key for key in strange if digest_of(key) not in noted}

    def check_hourly(self) -> None:
        """Do what `check` does, in one process of all, once an hour."""
        if self._leases.claim(_LEASE, _SECONDS):
            self.check()

    def _lake_is_ahead(self) -> bool:
        try:
            snapshot = self._states.table.open()
        except StoreUnfit:  # who reads the lake is told so
            return False
        if snapshot is None:
            return False
        name = self._states.uploads.log_id()  # makes a secret, and an installation that has one gets no first key any more
        held = self._states.table.held(snapshot, [name])[name]
        return held > self._states.uploads.queue.last()

    def _has_what_was_deleted(self) -> bool:
        if not (noted := self._notes.in_objects()):
            return False
        # A home is hidden before its note is left.
        if any(digest_of(key) in noted for key in self._states.homes.known()):
            return True
        undocumented = noted - self._notes.in_state()
        return bool(undocumented) and any(digest in undocumented for digest in self._digests())

    def _digests(self) -> Iterator[str]:
        """Name the notes that deleting all that is there would leave."""
        links = (digest_of(link) for _, _, link in self._states.homes.links())
        streams = (digest_of(key) for one in self._streams.catalogue.everything() for key in (one.key, one.home_key))
        records = self._collections.catalogue.digests(), self._collections.homes.digests()
        return chain(self._access.digests(), links, streams, *records)
