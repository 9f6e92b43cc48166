"""Long-term statistics as they are published: read month by month from one snapshot, each period once, by the rules of states.

1. Of what was uploaded of one period, the last counts: Home Assistant corrects what it has told.
2. A statistic has no device class, and often no unit. Then it has those of its entity's states, as Home Assistant shows it.
3. A period is published where a state of its entity, unit and device class would be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, partial
from math import ceil
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from backends.ports import StoreUnavailable
from config.groups import ExportSettings
from smarthouse_api.arrow.begun_rows import BegunRows
from smarthouse_api.arrow.spill import Spill, SpilledRange
from smarthouse_api.arrow.times import DAY_US, EPOCH
from smarthouse_api.arrow.views import without_views
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.lake.data_files import DataFiles
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.repairs import month_end
from smarthouse_api.states.aggregates.clocks import Clock, Timeline
from smarthouse_api.states.aggregates.intervals import SERIES
from smarthouse_api.states.aggregates.periods import VALUES, intervals_of
from smarthouse_api.states.aggregates.rows import Layout
from smarthouse_api.states.export import statistics_queries as queries
from smarthouse_api.states.groups import Groups, of_groups
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records.entities import identify
from smarthouse_api.states.records.privacy import Redactor
from smarthouse_api.states.records.rows import folded_units
from smarthouse_api.states.records.rules import is_published, kind_of
from smarthouse_api.states.records.sorting import distinct, encoded

_MOST_ROWS: Final = 131_072
_MOST_RANGES: Final = 32
_DAY: Final = timedelta(days=1)
_DAYS_OF_A_MONTH: Final = 32

Kind = tuple[str | None, str | None]
"""A unit and a device class."""


@dataclass(frozen=True)
class Month:
    """Names the periods that begin in some days of one month, by the clocks of the homes. rows: of its files."""

    first: date
    last: date
    rows: int


class PublishedPeriods:
    """Reads the published periods of one export. states: the snapshot of states; None if there is none."""

    def __init__(
        self,
        snapshot: DeltaTable,
        states: DeltaTable | None,
        filters: Filters,
        engine: Engine,
        homes: Homes,
        lease: Lease,
        redactor: Redactor,
        settings: ExportSettings,
        looks: DataFiles,
    ) -> None:
        self._snapshot, self._states, self._filters, self._engine = snapshot, states, filters, engine
        self._homes, self._lease, self._redactor, self._settings, self._looks = homes, lease, redactor, settings, looks
        self._hidden = homes.hidden()
        self.months = self._planned()
        """What is read together: the same for the same snapshot and filters."""

    @cached_property
    def timelines(self) -> dict[str, Timeline]:
        """How the clocks of the homes go, by pseudonyms."""
        if self._states is None:
            return {}
        told = queries.timelines(partial(self._engine.stream, self._states), self._filters, self._hidden)
        return {self._redactor.home(key): line for key, line in told.items()}

    def told(self) -> Iterator[pa.Table]:
        """Yield published periods that tell of each entity its units, and which values there are: nothing else."""
        strict = self._settings.privacy == "strict"
        found = self._read(self._snapshot, queries.select_things(self._filters, self._hidden, by_day=strict))
        yield from self._published(map(queries.period_of_each, found), is_each_wanted=True)

    def intervals(self, month: Month, clock: Clock, first: int, last: int) -> Iterator[pa.Table]:
        """Yield intervals of one month: of `INTERVALS`. first, last: days on which they may begin, counted since 1970."""
        self._looks.check(month.first, month.last, is_filed=False)
        for rows in self._in_ranges(month):
            for published in self._published(rows):
                intervals = intervals_of(published, clock, first, last)
                if len(intervals):
                    yield intervals

    def _planned(self) -> list[Month]:
        """Plan the months that can hold a wanted period."""
        files = files_of(self._snapshot)
        months = defaultdict[date, int](int)
        for day, rows in zip(files["partition.day"].to_pylist(), files["num_records"].to_pylist(), strict=True):
            months[day] += rows
        if far := months.pop(EPOCH.date(), 0):
            found = self._read(self._snapshot, queries.select_far_days(self._filters, self._hidden))
            days = {EPOCH.date() + int(row["own_day"]) * _DAY for batch in found for row in batch.to_pylist()}
            for day in sorted({one.replace(day=1) for one in days}):
                months[day] += far
        since, until = self._filters.since or date.min, self._filters.until or date.max
        ends = ((first, month_end(first), rows) for first, rows in sorted(months.items()))
        # A day of a home's clock may begin in the UTC day before.
        return [Month(*one) for one in ends if one[1] >= _before(since) and one[0] <= _after(until)]

    def _read(self, snapshot: DeltaTable, asked: Any) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._engine.stream(snapshot, asked)
        except StoreUnavailable:
            self._looks.distrust()
            raise

    def _in_ranges(self, month: Month) -> Iterator[Iterable[pa.RecordBatch]]:
        """Yield the periods of a month, a few homes at a time; day by day, if one home has too many."""
        batches = self._read(self._snapshot, queries.select_periods(self._filters, month.first, month.last, self._hidden))
        if month.rows <= _MOST_ROWS:
            yield batches
            return
        try:
            with Spill(ranges := min(_MOST_RANGES, ceil(month.rows / _MOST_ROWS))) as spill:
                for batch in batches:
                    home = batch.column("home").cast(pa.string()).dictionary_encode()
                    places = [self._redactor.place(key, ranges) for key in home.dictionary.to_pylist()]
                    spill.add(without_views(batch), np.array(places, np.int64)[home.indices.to_numpy()])
                for one in spill.read():
                    yield from self._in_days(one) if one.rows > 2 * _MOST_ROWS else [one]
        except OSError as fault:
            raise StoreUnavailable(f"rows cannot be put aside in the temporary folder: {fault.strerror}") from fault

    def _in_days(self, rows: SpilledRange) -> Iterator[Iterable[pa.RecordBatch]]:
        """Yield periods by the days of the homes' clocks: no interval lies on two of them."""
        with Spill(_DAYS_OF_A_MONTH + 1) as spill:
            for batch in rows:
                home = batch.column("home").dictionary_encode()
                lines = [self.timelines.get(self._redactor.home(key), Timeline()) for key in home.dictionary.to_pylist()]
                at, codes = batch.column("start").cast(pa.int64()).to_numpy(), home.indices.to_numpy()
                for place, line in enumerate(lines):
                    at = np.where(codes == place, at + line.all_at(at), at)
                spill.add(batch, at // DAY_US % (_DAYS_OF_A_MONTH + 1))
            yield from spill.read()

    def _published(self, batches: Iterable[pa.RecordBatch], *, is_each_wanted: bool = False) -> Iterator[pa.Table]:
        """Make periods publishable, with the columns that `intervals_of` reads. is_each_wanted: also what was corrected."""
        if (rows := encoded(batches)) is None:
            return
        rows = rows if is_each_wanted else queries.newest(rows)
        hidden = self._homes.hidden()
        self._lease.check()
        if not (rows := queries.visible_ones(rows, hidden)).num_rows:
            return
        rows = self._filters.keep(self._identified(rows), renewed=True)
        if rows.num_rows and (rows := self._redactor.named(rows)).num_rows:
            rows = rows if self._groups is None else of_groups(rows, self._groups)
            published = self._redactor(rows)
            columns = {name: published.column(name) for name in SERIES}
            columns |= {name: rows.column(name) for name in ("start", "length")}
            columns |= {name: rows.column(f"{name}_told") for name in VALUES}
            is_measured = published.column("value").is_valid()
            told = self._filters.keep_published(pa.RecordBatch.from_pydict(columns).filter(is_measured))
            if told.num_rows:
                yield pa.Table.from_batches([told])

    def _identified(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Make rows as the lake has states of the same entities, with the number 1, beside the values of the periods."""
        ids = rows.column("statistic_id")
        kinds, names = zip(*map(identify, ids.dictionary.to_pylist()), strict=True)
        entity = pa.DictionaryArray.from_arrays(ids.indices, pa.array(names, pa.string()))
        unit, device_class = self._kinds(rows.column("home"), entity, rows.column("unit"))
        start, count = rows.column("start"), rows.num_rows
        columns = {
            "home": rows.column("home"),
            "entity_id": entity,
            "type": pa.DictionaryArray.from_arrays(ids.indices, pa.array(kinds, pa.string())),
            "state": queries.constant("1", count),
            "value": pa.repeat(pa.scalar(1.0), count),
            "unit": unit,
            "device_class": device_class,
            "unit_nfkc": folded_units(unit.cast(pa.string())).dictionary_encode(),
            **dict.fromkeys(("last_changed", "last_updated", "time"), start),
            "received": rows.column("received"),
            "utc_offset": pa.nulls(count, pa.int32()),
            **dict.fromkeys(("attributes", "attributes_uploaded"), queries.constant("{}", count)),
            "start": start.cast(pa.int64()),
            "length": pc.multiply(rows.column("period_seconds"), 1_000_000),
            **{f"{name}_told": rows.column(name) for name in VALUES},
        }
        return pa.RecordBatch.from_pydict(columns)

    def _kinds(
        self, home: pa.DictionaryArray, entity: pa.DictionaryArray, unit: pa.DictionaryArray
    ) -> tuple[pa.Array, pa.Array]:
        """Tell the unit of each row, its own or that of its entity's states, and the device class of these."""
        homes, entities = home.dictionary.to_pylist(), entity.dictionary.to_pylist()
        pairs, place = distinct(home.indices.to_numpy().astype(np.int64) * len(entities) + entity.indices.to_numpy())
        named = ((homes[pair // len(entities)], entities[pair % len(entities)]) for pair in pairs.tolist())
        found = [self._of_states.get(one, (None, None)) for one in named]
        units, classes = (pa.array([one[number] for one in found], pa.string()).take(pa.array(place)) for number in (0, 1))
        return pc.coalesce(unit.cast(pa.string()), units).dictionary_encode(), classes.dictionary_encode()

    @cached_property
    def _of_states(self) -> dict[tuple[str, str], Kind]:
        """The newest unit and device class of each entity's states."""
        if self._states is None:
            return {}
        return queries.kinds(partial(self._engine.stream, self._states), self._filters, self._hidden)

    @cached_property
    def _groups(self) -> Groups | None:
        """The days, types and units of periods that enough enrolled homes have; None if that does not matter."""
        if self._settings.privacy != "strict":
            return None
        if self._states is None:
            return frozenset()
        stream, least = partial(self._engine.stream, self._states), self._settings.min_homes
        days = self._settings.enrolled_after_days
        enrolled = queries.enrolled(stream, self._hidden, days) & self._homes.agreed(days)
        homes = defaultdict[tuple[int, str, str | None], set[str]](set)
        span = Filters(self._filters.since, self._filters.until)
        found = self._read(self._snapshot, queries.select_things(span, self._hidden, by_day=True))
        for batch in map(queries.period_of_each, found):
            rows = encoded([batch])
            if rows is None:
                continue
            some = self._identified(rows)
            numbers = (some.column("start").to_numpy() // DAY_US).tolist()
            texts = (some.column(name).to_pylist() for name in ("home", "entity_id", "type", "unit_nfkc"))
            for day, home, entity, type_, unit in zip(numbers, *texts, strict=True):
                group = homes[day, type_, unit]
                if home in enrolled and len(group) < least and is_published(kind_of(type_, entity), entity):
                    group.add(home)
        return frozenset(group for group, some in homes.items() if len(some) >= least)


class PeriodRows(BegunRows):
    """Makes rows of aggregates of published periods. first, last: the days of the intervals, counted since 1970, inclusive."""

    def __init__(
        self,
        periods: PublishedPeriods,
        clock: Clock,
        first: int,
        last: int,
        layout: Layout,
        months: Sequence[Month] | None = None,
    ) -> None:
        self._periods, self._clock, self._first, self._last, self._layout = periods, clock, first, last, layout
        self._months = periods.months if months is None else months

    def _anew(self) -> Generator[pa.RecordBatch]:
        self.count = 0
        for batch in self._layout.batches(self._intervals()):
            self.count += batch.num_rows
            yield batch

    def _intervals(self) -> Iterator[pa.Table]:
        for month in self._months:
            yield from self._periods.intervals(month, self._clock, self._first, self._last)


def _before(day: date) -> date:
    return day if day == date.min else day - _DAY


def _after(day: date) -> date:
    return day if day == date.max else day + _DAY
