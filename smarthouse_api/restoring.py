"""What a restored backup needs before it is served: the homes that were forgotten since are forgotten again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smarthouse_api.errors import Invalid
from smarthouse_api.forgetting import Forgetting, digest_of
from smarthouse_api.homes import Homes
from smarthouse_api.lake.table import StatesTable
from smarthouse_api.streams.service import Streams
from smarthouse_api.uploads import Uploads


@dataclass(frozen=True)
class Restored:
    """forgotten: homes that were forgotten again. orphaned: homes of which there was data but no name, so that nobody could
    ever have had them forgotten; they are erased likewise.
    """

    forgotten: int
    orphaned: int


class Restoring:
    """For one installation that nobody serves or uploads to meanwhile."""

    def __init__(self, homes: Homes, uploads: Uploads, table: StatesTable, streams: Streams, forgetting: Forgetting) -> None:
        self._homes, self._uploads, self._table = homes, uploads, table
        self._streams, self._forgetting = streams, forgetting

    def restore(self, digests: Iterable[str]) -> Restored:
        """Erase every home that was ever forgotten, by `digests` or by the notes among the objects; repeatable.

        State and lake may be of different moments, the state of the earlier: the queue then goes on where the lake ends.
        Raises `Invalid`, and changes nothing, where the state knows none of the homes that there is data of.
        """
        noted = self._forgetting.noted() | set(digests)
        with_data = self._uploads.homes() | self._table.homes()
        known, hidden = self._homes.known(), set(self._homes.hidden())
        with_data -= hidden
        if with_data and not with_data & known:
            raise Invalid(f"The state knows none of the {len(with_data)} homes that there is data of: it is empty or another's")
        there = with_data | known
        forgotten = {key for key in there if digest_of(key) in noted}
        orphaned = there - known - forgotten
        self._forgetting.note(noted)
        self._uploads.go_on_after(self._table.last_committed(self._uploads.log_id()))
        self._homes.hide_keys(forgotten | orphaned)
        self._forgetting.finish()
        again = [home_id for home_id, key in self._streams.catalogue.home_keys().items() if digest_of(key) in noted]
        for home_id in again:
            self._forgetting.forget_streams(home_id)
        return Restored(len(forgotten) + len(again), len(orphaned))
