"""The questions that people ask before a download, answered from a snapshot as an export would publish it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, Final

import pyarrow as pa

from config.groups import ExportSettings
from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.contents import answers
from smarthouse_api.states.contents.previews import preview_of
from smarthouse_api.states.contents.service import Contents, Opened
from smarthouse_api.states.contents.summary import Selection
from smarthouse_api.states.export.dataset import Exports
from smarthouse_api.states.export.shapes import AGGREGATES, STATE_CHANGES
from smarthouse_api.states.query import Filters
from smarthouse_api.states.uploads import Uploads

MOST_WAITING: Final = 1000
_MOST_DAYS: Final = {"15m": 2, "1h": 7, "1d": 62}
"""How many days are read for a series."""

_LEAST_HOMES_OF_A_DAY: Final = 5
"""A typical day of fewer homes would be the day of a person."""

_MOST_PREVIEWED_DAYS: Final = 5


class Questions:
    """Answers what people ask before they download. Each answer is made of an opened snapshot, and may be made again."""

    def __init__(self, contents: Contents, exports: Exports, uploads: Uploads, settings: ExportSettings) -> None:
        self.contents, self._exports, self._uploads, self._settings = contents, exports, uploads, settings

    @property
    def is_strict(self) -> bool:
        """Tell whether nothing is told of a home alone."""
        return self._settings.privacy == "strict"

    def waiting(self) -> int:
        """Count the uploads that the lake does not hold yet; `MOST_WAITING` for more."""
        return len(self._uploads.queue.read(limit=MOST_WAITING))

    def overview(self, opened: Opened, waiting: int) -> dict[str, Any]:
        """Tell how much is in the lake."""
        return answers.overview(opened, opened.select(Filters()), waiting)

    def facets(self, opened: Opened, filters: Filters) -> dict[str, Any]:
        """Count rows and homes for each type, unit and device class, each as if it were not filtered by itself."""
        wider = {
            "types": replace(filters, types=()),
            "units": replace(filters, units=()),
            "device_classes": replace(filters, device_classes=()),
        }
        others = {name: opened.select(one) for name, one in wider.items()}
        return answers.facets(opened.select(filters), others, with_values=not self.is_strict)

    def coverage_by_home(self, selection: Selection, most_columns: int = answers.MOST_COLUMNS) -> dict[str, Any]:
        """Tell how many rows each home has each day, or each longer step."""
        return answers.coverage_by_home(selection, self.contents.asking.secret(), most_columns)

    def preview(self, opened: Opened, filters: Filters, limit: int, aggregation: Aggregation | None = None) -> bytes:
        """Give rows of the newest days as an array of JSON: of as many homes as there are.

        aggregation: give aggregates, in the long layout. An earlier day is read for homes without a row on the newest one, or
        if the later ones have too few rows, some days at most: one home with a wrong clock must not be all that is seen.
        """
        shape, found, homes = STATE_CHANGES if aggregation is None else AGGREGATES, list[pa.RecordBatch](), set[str]()
        everyone, until = opened.select(filters).home_keys(), filters.until
        for _ in range(_MOST_PREVIEWED_DAYS):
            unseen = [key for key in everyone if key not in homes] if homes and len(homes) < limit else []
            if homes and not unseen and sum(batch.num_rows for batch in found) >= limit:
                break
            wanted = replace(filters, homes=(), keys=tuple(unseen)) if unseen else replace(filters, until=until)
            if (span := opened.select(wanted).span()) is None:
                break
            of_day = replace(wanted, since=span[1], until=span[1])
            keys = sorted(opened.select(of_day).home_keys())[: limit - len(homes) if unseen else limit]
            with self._exports.peek(replace(of_day, homes=(), keys=tuple(keys)), aggregation) as batches:
                table = preview_of(batches, len(keys), limit)
            found += [] if table is None else table.to_batches()
            homes.update(keys)
            until = min(until or span[1], span[1]) - timedelta(days=1)
        chosen = preview_of(found, len(homes), limit)
        return b"[]" if chosen is None else answers.json_rows(shape.source(chosen.to_batches())).strip()

    def series(self, opened: Opened, filters: Filters, unit: str, every: str) -> dict[str, Any]:
        """Tell how the homes differ over time in one unit. every: of `LENGTHS`."""
        least_homes = self._settings.min_homes if self.is_strict else 1
        with self._means(opened, filters, unit, Aggregation(every)) as (batches, _):
            return answers.series(batches, unit, least_homes)

    def typical_day(
        self, opened: Opened, filters: Filters, unit: str, *, is_local: bool = False
    ) -> tuple[list[answers.Spread], tuple[date, date] | None]:
        """Tell how the homes differ in each hour of a day, and name the days: the newest seven, unless the filters name days.

        is_local: by each home's own clock, else by UTC. Hours of few homes are left out.
        """
        least_homes = max(_LEAST_HOMES_OF_A_DAY, self._settings.min_homes)
        with self._means(opened, filters, unit, Aggregation("1h", is_local=is_local)) as (batches, days):
            return answers.typical_day(batches, least_homes), days

    @contextmanager
    def _means(
        self, opened: Opened, filters: Filters, unit: str, asked: Aggregation
    ) -> Iterator[tuple[Iterator[pa.RecordBatch], tuple[date, date] | None]]:
        """Open the means of the newest days that have rows, and tell which days these are at most."""
        filters = replace(filters, units=(unit,))
        if (span := opened.select(filters).span()) is None:
            yield iter(()), None
            return
        first = max(span[0], span[1] - timedelta(days=_MOST_DAYS[asked.every] - 1))
        since = max(first, filters.since or first)
        with self._exports.peek(replace(filters, since=since, until=span[1]), asked) as batches:
            yield batches, (since, span[1])
