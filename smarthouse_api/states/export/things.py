"""The different things that the rows of an export tell: each entity with its units and words, found in one query."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.lake.planning import day_number
from smarthouse_api.states.query import ExportPart, Filters
from smarthouse_api.states.records.rules import NO_WORD
from smarthouse_api.states.selects import visible

_SERIES: Final = ("home", "entity_id", "type", "unit", "device_class")


def select_things(filters: Filters, hidden: Iterable[str], words: Iterable[str] | None, *, grouped: bool) -> exp.Select:
    """Select once what each entity tells: `home`, `entity_id`, `type`, `unit`, `device_class`, `is_number` and `word`.

    hidden: homes to leave out. words: those that are told as they are; for any other stands `NO_WORD`; None: all of them.
    grouped: for each own day, with `own_day` and `unit_nfkc`. The snapshot has no rows of an earlier version.
    """
    state, is_text = exp.column("state"), exp.Is(this=exp.column("value"), expression=exp.null())
    told = state if words is None else _case(state.isin(*sorted(words)), state, exp.Literal.string(NO_WORD))
    columns: list[Any] = [exp.column(name) for name in _SERIES]
    columns += [exp.not_(is_text).as_("is_number"), _case(is_text.copy(), told, exp.null()).as_("word")]
    columns += [day_number(exp.column("time")).as_("own_day"), exp.column("unit_nfkc")] if grouped else []
    chosen = [exp.column("home").isin(*filters.keys)] if filters.keys else []
    wanted = filters.condition(ExportPart(*filters.span))
    return exp.select(*columns).distinct().from_("states").where(wanted, *chosen, *visible(hidden))


def _case(condition: exp.Expression, true: exp.Expression, default: exp.Expression) -> exp.Case:
    return exp.Case(ifs=[exp.If(this=condition, true=true.copy())], default=default)


def row_of_each(told: pa.RecordBatch) -> pa.RecordBatch:
    """Make rows of what `select_things` finds, as the lake has them: with a number, a word or an empty state."""
    count, names = told.num_rows, told.schema.names
    columns = {name: told.column(name).cast(pa.string()) for name in (*_SERIES, "unit_nfkc") if name in names}
    columns["state"] = told.column("word").cast(pa.string()).fill_null("0")
    columns["value"] = pc.if_else(told.column("is_number"), pa.scalar(0.0), pa.scalar(None, pa.float64()))
    day = told.column("own_day").cast(pa.int64()) if "own_day" in names else pa.repeat(pa.scalar(0, pa.int64()), count)
    time = pc.multiply(day, DAY_US).cast(TIMESTAMP)
    columns |= dict.fromkeys(("last_changed", "last_updated", "received", "time"), time)
    columns["utc_offset"] = pa.nulls(count, pa.int32())
    columns |= dict.fromkeys(("attributes", "attributes_uploaded"), pa.repeat(pa.scalar("{}", pa.string()), count))
    return pa.RecordBatch.from_pydict(columns)
