"""Restoring a backup: what was deleted for good since it was made is deleted again, before it is served."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from smarthouse_api.access.grants import Access
from smarthouse_api.collections.service import Collections
from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.erasure.signing import SigningKeys
from smarthouse_api.errors import Invalid, StoreUnfit, Unavailable
from smarthouse_api.forgetting import Forgetting
from smarthouse_api.lake.ledger import TableDamaged
from smarthouse_api.states.service import States
from smarthouse_api.streams.service import Streams

_PATIENCE_SECONDS = 120.0
_BREATH_SECONDS = 0.1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """Counts what a restoring has deleted again.

    forgotten: homes that were forgotten again. orphaned: homes with data but without a name. As no request could ever forget
    those, they are erased too. keys: API keys that were revoked again, or lost a secret again, and the key of receipts.
    rights: homes that left their project or a link again, and names and openness that collections lost again.
    releases: those that were withdrawn again.
    """

    forgotten: int
    orphaned: int
    collections: int = 0
    streams: int = 0
    keys: int = 0
    rights: int = 0
    releases: int = 0


class Restoring:
    """Makes a restored installation fit to be served. Nobody may serve it or upload to it meanwhile."""

    def __init__(
        self,
        states: States,
        streams: Streams,
        collections: Collections,
        access: Access,
        forgetting: Forgetting,
        signing_keys: SigningKeys,
    ) -> None:
        self._signing_keys = signing_keys
        self._homes, self._uploads, self._releases = states.homes, states.uploads, states.releases
        self._table, self._statistics, self._rebuilding = states.table, states.statistics, states.rebuilding
        self._streams, self._collections, self._access, self._forgetting = streams, collections, access, forgetting

    def needs_objects(self) -> bool:
        """Tell whether the state knows of something that must be in the object store: raw uploads, or segments of streams."""
        uploads = (self._uploads.has_kept(home) for home in self._homes.known())
        segments = (self._streams.store.segments(one) for one in self._streams.catalogue.everything())
        return any(uploads) or any(next(iter(some), None) is not None for some in segments)

    def count_unknown(self, digests: Iterable[str]) -> int:
        """Count the homes and streams' homes that `restore` would erase although nobody forgot them. It changes nothing.

        Of a lake that is damaged, nothing is counted: its rows are made again from raw uploads, which are.
        """
        noted, with_data = self._forgetting.noted() | set(digests), self._uploads.homes()
        for table in (self._table, self._statistics):
            with suppress(StoreUnfit):
                with_data |= table.homes()
        with_names = self._streams.catalogue.places()
        nameless = self._streams.store.places() - with_names
        streams = {home for home, _ in nameless} - {home for home, _ in with_names}
        unknown = streams | (with_data - self._homes.known() - self._homes.hidden().keys())
        return sum(digest_of(key) not in noted for key in unknown)

    def restore(self, digests: Iterable[str]) -> Restored:
        """Delete again what was ever deleted for good, by `digests` or by the notes among the objects; repeatable.

        Homes and streams are erased. Collections are hidden, and the chores erase them.

        The state may be older than the lake: then the queue goes on where the lake ends. Raises `Invalid`, and changes nothing,
        if the state knows none of the homes that have data.
        """
        noted = self._forgetting.noted() | set(digests)
        self._mend_lake()
        with_data = self._uploads.homes() | self._table.homes() | self._statistics.homes()
        known, hidden = self._homes.known(), set(self._homes.hidden())
        with_data -= hidden
        with_packets, with_names = self._streams.store.places(), self._streams.catalogue.places()
        count = len(with_data) + len(with_packets)
        if count and not with_data & known and not with_packets & with_names:
            raise Invalid(
                f"The state knows none of the {count} homes and streams that there is data of: it is empty or another's"
            )
        there = with_data | known
        forgotten = {key for key in there if digest_of(key) in noted}
        orphaned = there - known - forgotten
        self._forgetting.note(noted)
        keys = self._access.end_noted(noted) + self._signing_keys.retire_noted(noted)
        rights = self._access.projects.unassign_noted(noted) + self._forgetting.unlink_noted(noted)
        rights += self._collections.catalogue.close_noted(noted)
        releases = self._releases.withdraw_noted(noted)
        if (snapshot := self._table.open()) is not None:
            queue, name = self._uploads.queue, self._uploads.log_id()
            queue.go_on_after(queue.take_turn(), self._table.held(snapshot, [name])[name])
        self._homes.hide_keys(forgotten | orphaned)
        self._hide_records(noted)
        self._forgetting.finish()
        again = self._forget_streams(noted)
        nameless = with_packets - with_names
        self._streams.store.erase(nameless)
        unknown = {home for home, _ in nameless if digest_of(home) not in noted} - {home for home, _ in with_names}
        collections, streams = self._delete_collections(noted), self._delete_streams(noted)
        return Restored(len(forgotten) + again, len(orphaned) + len(unknown), collections, streams, keys, rights, releases)

    def _hide_records(self, noted: set[str]) -> None:
        """Hide the records of homes that were forgotten, and of those that the state does not know."""
        rebuilding = self._collections.chores.rebuilding
        if rebuilding.ask():
            rebuilding.work()
        self._collections.homes.hide_noted(noted)
        self._collections.homes.hide_nameless(self._collections.table.homes())

    def _mend_lake(self) -> None:
        """Leave nothing in the lake that cannot be read. The chores make it again from raw, once they run."""
        try:
            self._rebuilding.look_at_all()
        except TableDamaged as fault:
            log.warning("%s; it is removed, and is made again from raw uploads once the service runs", fault)
            self._remove_lake(self._rebuilding.give_up(str(fault)))

    def _remove_lake(self, repair: str) -> None:
        """Do the first step of a repair. Waits for the leases of a process that died. Raises `Unavailable`."""
        deadline, is_said = time.monotonic() + _PATIENCE_SECONDS, False
        while self._rebuilding.is_to_remove(repair):
            self._rebuilding.work()
            if not self._rebuilding.is_to_remove(repair):
                return
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Another process has held the lake for over {_PATIENCE_SECONDS:g} s; end it, and repeat this"
                )
            if not is_said:
                log.warning("waiting until the leases of a process that died expire")
                is_said = True
            time.sleep(_BREATH_SECONDS)

    def _delete_collections(self, noted: set[str]) -> int:
        """Delete the collections that were deleted; how many there were."""
        again = [one.id for one in self._collections.catalogue.everything() if digest_of(one.key) in noted]
        for name in again:
            self._collections.catalogue.delete(name)
        self._collections.chores.purge()
        return len(again)

    def _delete_streams(self, noted: set[str]) -> int:
        """Delete the streams that were deleted, though their homes were not forgotten; how many there were."""
        again = [one for one in self._streams.catalogue.everything() if digest_of(one.key) in noted]
        for stream in again:
            self._streams.delete(stream)
        return len(again)

    def _forget_streams(self, noted: set[str]) -> int:
        """Forget the streams of homes that were forgotten; the number of homes that had some."""
        count = 0
        for home_id, keys in self._streams.catalogue.homes().items():
            if again := {key for key in keys if digest_of(key) in noted}:
                self._forgetting.forget_streams(home_id, again)
                count += 1
        return count
