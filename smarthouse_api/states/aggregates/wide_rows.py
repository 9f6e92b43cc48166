"""Rows of aggregates in the wide layout: one row for each home and interval, one column for each measured thing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.states.aggregates.clocks import DAY_US
from smarthouse_api.states.aggregates.holding import States
from smarthouse_api.states.aggregates.intervals import TEXT
from smarthouse_api.states.aggregates.wide_columns import WideColumn
from smarthouse_api.states.records.placement import Numbers
from smarthouse_api.states.records.rows import folded_units
from smarthouse_api.states.records.sorting import distinct

_FIRST: Final = (
    pa.field("home", pa.string(), nullable=False),
    pa.field("start", TIMESTAMP, nullable=False),
    pa.field("end", TIMESTAMP, nullable=False),
    pa.field("utc_offset", pa.int32()),
    pa.field("source", pa.string(), nullable=False),
)
_MOST_CELLS: Final = 1 << 18

Thing = tuple[str, str | None]


class WideRows:
    """Puts the intervals of each home side by side, those of one source in a row. columns: from `wide_columns`."""

    def __init__(self, columns: Sequence[WideColumn]) -> None:
        self._columns = columns
        self.schema = pa.schema(
            [*_FIRST, *(pa.field(one.name, pa.int64() if one.figure == "changes" else pa.float64()) for one in columns)]
        )
        self._of_figure = dict[str, dict[Thing, int]]()
        self._of_word = dict[tuple[str, str | None, str], int]()
        for place, one in enumerate(columns):
            if one.word is not None:
                self._of_word[one.entity_id, one.unit, one.word] = place
            else:
                self._of_figure.setdefault(one.figure, {})[one.entity_id, one.unit] = place

    def prepared(self, states: States) -> States:
        """Make one series of all states that share a column: they may differ in type, device class and spelling of the unit."""
        nothing = pa.DictionaryArray.from_arrays(pa.nulls(len(states), pa.int32()), pa.array([], pa.string()))
        for name in ("type", "device_class"):
            states = states.set_column(states.column_names.index(name), name, nothing)
        unit = [folded_units(chunk.dictionary).take(chunk.indices).dictionary_encode() for chunk in states["unit"].chunks]
        return states.set_column(states.column_names.index("unit"), "unit", pa.chunked_array(unit, TEXT))

    def batches(self, intervals: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
        """Yield rows. intervals: of `INTERVALS`, those of a home that end on one day side by side."""
        behind: pa.Table | None = None
        for some in intervals:
            some = some if behind is None else pa.concat_tables([behind, some])
            cut = _begin_of_last(some)
            behind = some.slice(cut)
            yield from self._wide(some.slice(0, cut))
        if behind is not None:
            yield from self._wide(behind)

    def _wide(self, intervals: pa.Table) -> Iterator[pa.RecordBatch]:
        if not len(intervals):
            return
        intervals = intervals.unify_dictionaries().combine_chunks()
        home, start = _codes(intervals["home"]), intervals["start"].to_numpy()
        run, least = np.cumsum(np.diff(home, prepend=home[0]) != 0), int(start.min())
        found, row = np.unique(run * (int(start.max()) - least + 1) + start - least, return_inverse=True)
        first = np.empty(len(found), np.int64)
        first[row[::-1]] = np.arange(len(row))[::-1]
        step = max(1, _MOST_CELLS // max(1, len(self._columns)))
        for begin in range(0, len(found), step):
            chosen = (row >= begin) & (row < begin + step)
            heads = intervals.take(pa.array(first[begin : begin + step]))
            yield from self._rows(intervals.filter(pa.array(chosen)), row[chosen] - begin, heads)

    def _rows(self, intervals: pa.Table, row: Numbers, heads: pa.Table) -> Iterator[pa.RecordBatch]:
        cells = np.full((len(self._columns), len(heads)), np.nan)
        things, thing = self._things(intervals)
        for figure, places in self._of_figure.items():
            column = np.array([places.get(one, -1) for one in things], np.int64)[thing]
            self._fill(cells, column, row, _floats(intervals[figure]))
        if self._of_word:
            self._fill_shares(cells, things, thing, row, intervals)
        is_told = ~np.isnan(cells).all(axis=0)
        if not is_told.any():
            return
        columns = [heads["home"].combine_chunks(), *(heads[name].cast(TIMESTAMP).combine_chunks() for name in ("start", "end"))]
        columns += [heads["ahead"].cast(pa.int32()).combine_chunks(), heads["source"].combine_chunks()]
        columns += [pa.array(cells[place], mask=np.isnan(cells[place])) for place in range(len(cells))]
        typed = [
            column.cast(pa.int64()) if field.type == pa.int64() else column
            for column, field in zip(columns, self.schema, strict=True)
        ]
        batch = pa.RecordBatch.from_arrays(typed, names=self.schema.names)
        yield batch if is_told.all() else batch.filter(pa.array(is_told))

    def _things(self, intervals: pa.Table) -> tuple[list[Thing], Numbers]:
        """Return the different entities with their units, and each row's place among them."""
        entity, unit = intervals["entity_id"].chunk(0), intervals["unit"].chunk(0)
        entities, units = entity.dictionary.to_pylist(), [*unit.dictionary.to_pylist(), None]
        pairs, thing = distinct(_codes(intervals["entity_id"]) * len(units) + _codes(intervals["unit"]))
        return [(entities[pair // len(units)], units[pair % len(units)]) for pair in pairs.tolist()], thing

    def _fill(self, cells: npt.NDArray[np.float64], column: Numbers, row: Numbers, values: Any) -> None:
        has_place = column >= 0
        cells[column[has_place], row[has_place]] = values[has_place]

    def _fill_shares(
        self, cells: npt.NDArray[np.float64], things: list[Thing], thing: Numbers, row: Numbers, intervals: pa.Table
    ) -> None:
        """Where something is known of an entity, a word that was not its state has the share 0."""
        by_thing = dict[Thing, list[int]]()
        for (entity, unit, _), place in self._of_word.items():
            by_thing.setdefault((entity, unit), []).append(place)
        is_known = intervals["known"].to_numpy() > 0
        places = [by_thing.get(one, []) for one in things]
        count = np.array(list(map(len, places)), np.int64)[thing] * is_known
        flat = np.array([place for some in places for place in some], np.int64)
        begin = np.cumsum(list(map(len, places))) - list(map(len, places))
        rows = np.repeat(np.arange(len(row)), count)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
        cells[flat[begin[thing[rows]] + within], row[rows]] = 0.0
        shares = intervals["shares"].combine_chunks()
        shares = shares if isinstance(shares, pa.Array) else shares.chunk(0)
        ends = shares.offsets.to_numpy()
        of_row = np.repeat(np.arange(len(row)), np.diff(ends))
        words = shares.keys.slice(ends[0], ends[-1] - ends[0]).dictionary_encode()
        texts, codes = words.dictionary.to_pylist(), words.indices.to_numpy().astype(np.int64)
        pairs, pair = distinct(thing[of_row] * max(1, len(texts)) + codes)
        column = [self._of_word.get((*things[one // len(texts)], texts[one % len(texts)]), -1) for one in pairs.tolist()]
        values = shares.items.slice(ends[0], ends[-1] - ends[0]).to_numpy()
        self._fill(cells, np.array(column, np.int64)[pair], row[of_row], values)


def _codes(column: pa.ChunkedArray) -> Numbers:
    """Return each row's place in the dictionary; null has the place after the last."""
    coded = column.chunk(0)
    codes: Numbers = coded.indices.fill_null(len(coded.dictionary)).to_numpy().astype(np.int64)
    return codes


def _floats(column: pa.ChunkedArray) -> Any:
    return column.cast(pa.float64()).fill_null(np.nan).to_numpy()


def _begin_of_last(intervals: pa.Table) -> int:
    """Return where the intervals of the last home and day begin."""
    day, home = (intervals["end"].to_numpy() - 1) // DAY_US, intervals["home"]
    is_other = (day != day[-1]) | pc.not_equal(home.cast(pa.string()), home[-1].as_py()).to_numpy()
    others = np.flatnonzero(is_other)
    return int(others[-1]) + 1 if len(others) else 0
