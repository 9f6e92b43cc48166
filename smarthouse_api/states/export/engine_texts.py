"""What an engine is asked about the rows of one part that it has written: what they are, and to write them in their order.

The rows are a table `written`: of `BESIDE_LINES` or all columns of an export, the lines without their line breaks, `span` and
`place`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlglot import exp

from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.states.export.engine_queries import LINE, PLACE, SPAN
from smarthouse_api.states.records.schema import ROWS

WRITTEN: Final = "written"
WHOLE: Final = "whole"
"""The column of a text or a table by which it is written: it is the same in all rows, so that there is one folder."""


def select_told(lines: Iterable[str]) -> exp.Select:
    """Select for each span: `found` and `places`, its rows and their different places; the `least` and the `most` of these;
    the `first` and the `last` time; and of each kind of lines `<name>_found`, `<name>_bytes` and `<name>_last`, the last line.
    """
    columns: list[Any] = [
        f"CAST({SPAN} AS INT) AS {SPAN}",
        "COUNT(*) AS found",
        f"COUNT(DISTINCT {PLACE}) AS places",
        f"MIN({PLACE}) AS least",
        f"MAX({PLACE}) AS most",
        "MIN(time) AS first",
        "MAX(time) AS last",
    ]
    for name in lines:
        line = _line(name)
        size = exp.Sum(this=exp.Anonymous(this="OCTET_LENGTH", expressions=[line]))
        columns += [exp.Count(this=line.copy()).as_(f"{name}_found"), size.as_(f"{name}_bytes")]
        columns.append(exp.Anonymous(this="MAX_BY", expressions=[line.copy(), exp.column(PLACE)]).as_(f"{name}_last"))
    return exp.select(*columns, dialect="spark").from_(WRITTEN).group_by(SPAN)


def select_homes() -> exp.Select:
    """Select the homes, each once."""
    return exp.select("home").distinct().from_(WRITTEN)


def select_text(name: str, after: str, end: tuple[int, int] | None) -> exp.Select:
    """Select the lines of one kind in their order, with what stands after each.

    end: span and place of the first line to leave out.
    """
    line = exp.func("CONCAT", _line(name), exp.Literal.string(after)) if after else _line(name)
    rows = exp.select(exp.cast(exp.column(SPAN), "int").as_(SPAN), PLACE, line.as_("value")).from_(WRITTEN)
    if end is not None:
        span, place = (exp.Literal.number(number) for number in end)
        number = exp.cast(exp.column(SPAN), "int")
        rows = rows.where(exp.or_(number < span, exp.column(PLACE) < place))
    text = exp.select(exp.Literal.number(1).as_(WHOLE), "value").from_(rows.subquery("rows_of_part"))
    return text.order_by(SPAN, PLACE)


def select_table() -> exp.Select:
    """Select the rows in their order, with span and place, for a Parquet file: times are microseconds, and days are
    counted since 1970. No engine can tell that a column has no nulls, which would be stored in another way.
    """
    columns: dict[str, exp.Expression] = {name: exp.column(name) for name in ROWS.names}
    columns["received"] = exp.IntDiv(this=exp.paren(columns["received"]), expression=exp.Literal.number(DAY_US))
    for name in ("received", "utc_offset"):
        columns[name] = exp.cast(columns[name], "int")
    is_there = exp.column(PLACE) > 0
    named = [exp.case().when(is_there.copy(), one).as_(name) for name, one in columns.items()]
    whole, span = exp.Literal.number(1).as_(WHOLE), exp.cast(exp.column(SPAN), "int").as_(SPAN)
    rows = exp.select(whole, *named, span, PLACE).from_(WRITTEN)
    return exp.select(WHOLE, *columns, SPAN, PLACE).from_(rows.subquery("rows_of_part")).order_by(SPAN, PLACE)


def _line(name: str) -> exp.Column:
    return exp.column(f"{name}_{LINE}")
