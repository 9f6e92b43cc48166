"""Rows that are made again: of payloads that the lake had taken in, and that are queued once more."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backends.ports import Entry
from smarthouse_api.lake.repairs import Place
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.pending import Pending
from smarthouse_api.states.rebuilt_places import within
from smarthouse_api.states.records.entered import made_again
from smarthouse_api.states.rows import StateRows, StatesPart
from smarthouse_api.states.statistics_table import StatisticsTable
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Uploads


class Again(Pending, frozen=True):
    """Queues a payload to be taken into the lake again. places: only its rows that lie there; none means all of them."""

    places: tuple[Place, ...] = ()


_again = msgspec.json.Decoder(Again).decode


class AgainRows(StateRows):
    """Makes rows of payloads that are taken into the lake again, for the curator.

    The lake does not tell which of these it holds: it has other rows of the same payloads, and a state store that has lost its
    last moments gives sequences anew. After a crash some rows are made twice, and are repeats.
    """

    def __init__(self, uploads: Uploads, homes: Homes, table: StatesTable, statistics: StatisticsTable) -> None:
        super().__init__(uploads, homes, table, statistics)
        self.queue, self.log = uploads.again, None

    def rows(self, entries: Sequence[Entry], until: int) -> StatesPart:
        part, groups = StatesPart([entry.sequence for entry in entries]), dict[tuple[Place, ...], list[Entry]]()
        for entry in entries:
            if entry.value:
                groups.setdefault(_again(entry.value).places, []).append(entry)
        for places, some in groups.items():
            made = super().rows(some, until)
            part.tables += [made_again(within(table, places, "states")) for table in made.tables]
            part.statistics += [within(table, places, "statistics") for table in made.statistics]
            part.snapshot = made.snapshot or part.snapshot
        return part
