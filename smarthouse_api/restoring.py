"""Restoring a backup: homes that were forgotten since it was made are forgotten again, before it is served."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smarthouse_api.errors import Invalid
from smarthouse_api.forgetting import Forgetting, digest_of
from smarthouse_api.states.service import States
from smarthouse_api.streams.service import Streams


@dataclass(frozen=True)
class Restored:
    """Counts the homes that a restoring has erased.

    forgotten: homes that were forgotten again. orphaned: homes with data but without a name. As no request could ever forget
    those, they are erased too.
    """

    forgotten: int
    orphaned: int


class Restoring:
    """Makes a restored installation fit to be served. Nobody may serve it or upload to it meanwhile."""

    def __init__(self, states: States, streams: Streams, forgetting: Forgetting) -> None:
        self._homes, self._uploads = states.homes, states.uploads
        self._table, self._statistics = states.table, states.statistics
        self._streams, self._forgetting = streams, forgetting

    def restore(self, digests: Iterable[str]) -> Restored:
        """Erase every home that was ever forgotten, by `digests` or by the notes among the objects; repeatable.

        The state may be older than the lake: then the queue goes on where the lake ends. Raises `Invalid`, and changes nothing,
        if the state knows none of the homes that have data.
        """
        noted = self._forgetting.noted() | set(digests)
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
        if (snapshot := self._table.open()) is not None:
            queue, name = self._uploads.queue, self._uploads.log_id()
            queue.go_on_after(queue.take_turn(), self._table.held(snapshot, [name])[name])
        self._homes.hide_keys(forgotten | orphaned)
        self._forgetting.finish()
        again = self._forget_streams(noted)
        nameless = with_packets - with_names
        self._streams.store.erase(nameless)
        unknown = {home for home, _ in nameless if digest_of(home) not in noted} - {home for home, _ in with_names}
        return Restored(len(forgotten) + again, len(orphaned) + len(unknown))

    def _forget_streams(self, noted: set[str]) -> int:
        """Forget the streams of homes that were forgotten; the number of homes that had some."""
        count = 0
        for home_id, keys in self._streams.catalogue.homes().items():
            if again := {key for key in keys if digest_of(key) in noted}:
                self._forgetting.forget_streams(home_id, again)
                count += 1
        return count
