"""Puts rows in order, each state change once, however many they are.

1. Names are made first: no order tells more than what is published.
2. Rows that are too many to be sorted at once are put aside on disk, in ranges of the homes' pseudonyms.
3. A range that is still too large, because of one home, is cut at places of its order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil
from typing import Final

import numpy as np
import pyarrow as pa

from backends.ports import StoreUnavailable
from smarthouse_api.arrow.spill import Spill, SpilledRange
from smarthouse_api.arrow.views import without_views
from smarthouse_api.states import planning
from smarthouse_api.states.export.cuts import Cuts
from smarthouse_api.states.records.privacy import Redactor
from smarthouse_api.states.records.sorting import encoded, in_order

_MOST_RANGES: Final = 32
"""Each has a file open: as many exports as one worker makes at once must leave some of 1,024 for its connections."""

_MOST_CUTS: Final = 32
"""Likewise, of one range that is too large."""

_SHARE_AT_ONCE: Final = 2.0
_MOST_BYTES: Final = 24 << 20


class Ordering:
    """Sorts rows by day, pseudonym of the home, published id and time, and leaves out repeats and what is never published."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def in_order(self, batches: Iterable[pa.RecordBatch], share: float) -> Iterator[pa.RecordBatch]:
        """Yield the rows, named, in consecutive ranges. All repeats of a state change must be among them.

        batches: of the columns that `select_rows` selects. share: how many they are; 1 is as much as is sorted at once.
        """
        for some in [batches] if share <= 1 else self._spilled(batches, min(_MOST_RANGES, ceil(2 * share))):
            if (rows := encoded(some)) is not None and (rows := self._redactor.named(rows)).num_rows:
                yield in_order(rows, "home_name", "entity_name")

    def _spilled(self, batches: Iterable[pa.RecordBatch], ranges: int) -> Iterator[Iterable[pa.RecordBatch]]:
        """Yield rows in ranges of their homes' pseudonyms: these are evenly spread."""
        try:
            with Spill(ranges) as spill:
                for batch in batches:
                    home = batch.column("home").cast(pa.string()).dictionary_encode()
                    places = [self._redactor.place(key, ranges) for key in home.dictionary.to_pylist()]
                    spill.add(without_views(batch), np.array(places, np.int64)[home.indices.to_numpy()])
                for one in spill.read():
                    yield from self._cut(one)
        except OSError as fault:
            raise StoreUnavailable(f"rows cannot be put aside in the temporary folder: {fault.strerror}") from fault

    def _cut(self, rows: SpilledRange) -> Iterator[Iterable[pa.RecordBatch]]:
        """Yield the rows of a range; in smaller ranges, if one home sent too many."""
        share = max(rows.rows / planning.MAX_SORTED_ROWS, rows.size / _MOST_BYTES)
        if share <= _SHARE_AT_ONCE:
            yield rows
            return
        cuts = Cuts(rows, rows.rows, min(_MOST_CUTS, ceil(2 * share)), self._redactor.named)
        with Spill(cuts.ranges) as spill:
            for batch in rows:
                spill.add(*cuts.placed(batch))
            yield from spill.read()
