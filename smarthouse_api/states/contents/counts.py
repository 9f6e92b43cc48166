"""Counts of rows: how many state changes there are of each home, kind and day, with the least and the greatest value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.states.records.placement import Numbers
from smarthouse_api.states.records.sorting import distinct

KEYS: Final = ("home", "type", "kind", "unit", "device_class", "day", "changed", "received")

COUNTS: Final = pa.schema(
    [
        pa.field("home", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("unit", pa.string()),
        pa.field("device_class", pa.string()),
        *(pa.field(name, pa.int32(), nullable=False) for name in ("day", "changed", "received")),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("least", pa.float64()),
        pa.field("greatest", pa.float64()),
    ]
)
"""A row for each home, kind of entity and days. It holds internal keys, and so is as secret as the lake.

kind: the domain whose rules hold. day, changed, received: the UTC days, counted since 1970, of the row's own time, of
`last_changed` or else that time, and of arrival: the three that an export can filter by. rows: may be negative in counts that
correct others. least, greatest: of the values that are numbers.
"""


def nothing() -> pa.Table:
    """Count no row."""
    return COUNTS.empty_table()


def counted(rows: pa.RecordBatch) -> pa.Table:
    """Count rows, each state change once among them. rows: as `Ordering` yields them."""
    names = rows.schema.names
    columns = {name: rows.column(name) for name in ("home", "type", "unit", "device_class")}
    columns["kind"] = rows.column("kind" if "kind" in names else "type")
    days = {
        "day": _days(rows.column("time")),
        "changed": _days(pc.coalesce(rows.column("last_changed"), rows.column("time"))),
        "received": _days(rows.column("received")),
    }
    place = np.zeros(rows.num_rows, np.int64)
    for name in KEYS:
        code = days[name] - days[name].min() if name in days else _codes(columns[name])
        _, place = distinct(place * (int(code.max()) + 1) + code)
    of_group = np.empty(int(place.max()) + 1, np.int64)
    of_group[place[::-1]] = np.arange(rows.num_rows)[::-1]
    values = pa.table({"group": place, "value": rows.column("value")}).group_by("group")
    figures = values.aggregate([("value", "min"), ("value", "max"), ([], "count_all")]).sort_by("group")
    taken = {name: column.take(pa.array(of_group)).cast(pa.string()) for name, column in columns.items()}
    taken |= {name: pa.array(day[of_group].astype(np.int32)) for name, day in days.items()}
    taken |= {"rows": figures["count_all"], "least": figures["value_min"], "greatest": figures["value_max"]}
    return pa.table([taken[name] for name in COUNTS.names], schema=COUNTS)


def compact(counts: pa.Table) -> pa.Table:
    """Hold each different text once: what is kept in memory takes a third of the room."""
    is_text = pa.types.is_string
    columns = [one.combine_chunks().dictionary_encode() if is_text(one.type) else one for one in counts.columns]
    return pa.table(columns, names=COUNTS.names)


def added(counts: Iterable[pa.Table]) -> pa.Table:
    """Add counts up: one row for each home, kind and days."""
    together = pa.concat_tables([nothing(), *counts]).group_by(list(KEYS))
    found = together.aggregate([("rows", "sum"), ("least", "min"), ("greatest", "max")])
    found = found.rename_columns([*KEYS, "rows", "least", "greatest"]).select(COUNTS.names).cast(COUNTS)
    return found.filter(pc.not_equal(found["rows"], 0))


def without(all_counts: pa.Table, some: pa.Table) -> pa.Table:
    """Return what some counts lack of all: the two together give all."""
    less = some.set_column(COUNTS.get_field_index("rows"), COUNTS.field("rows"), pc.negate(some["rows"]))
    return added([all_counts, less])


def _days(times: pa.Array) -> Numbers:
    days: Numbers = times.cast(pa.int64()).to_numpy() // DAY_US
    return days


def _codes(column: pa.DictionaryArray) -> Numbers:
    """Number the values; null is 0."""
    codes: Numbers = column.indices.cast(pa.int64()).fill_null(-1).to_numpy() + 1
    return codes
