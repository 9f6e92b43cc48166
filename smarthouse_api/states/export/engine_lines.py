"""Lines of text formats that an engine writes: most of a line is looked up, the rest are times and plain numbers.

Engines write numbers and times differently, and escape differently. So the pieces of a line with names, units, words and
attributes stand in the tables that the engine joins rows with, written by the same code as everywhere. What is left to it:

- A time is written from microseconds, in UTC, always with six digits.
- A state that is a plain number, such as `21.50`, needs no escape. Its value is the same digits without trailing zeros, and
  with a dot: of at most 15 digits, no shorter text reads back as the same number.
- Every other number is in a table, too, found by its state: it has more digits, an exponent, a sign or zeros before it, or is
  not what its state says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from smarthouse_api.arrow.lines import Cell
from smarthouse_api.arrow.row_lines import RowLines
from smarthouse_api.states.records.rules import AWAY, REDACTED

THING_PIECES: Final = ("head", "kind")
WORD_PIECES: Final = ("word",)
ATTRIBUTE_PIECES: Final = ("told", "told_of_weather")
NUMBER_PIECES: Final = ("state", "value")

NUMBERS: Final = pa.schema([("number", pa.string())])
"""The table of numbers that are not plain, by their states, which get pieces."""

_HEAD: Final = {"home": "home_name", "entity_id": "entity_told", "type": "type_told"}
_KIND: Final = {"unit": "unit_told", "device_class": "class_told"}
_PLAIN: Final = r"^-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$"
_TINY: Final = r"^-?0\.0000"
"""The numbers that may be written with an exponent."""

_ENDING_ZEROS: Final = r"(\.[0-9]*[1-9]|\.0)0*$"
_TIME: Final = "yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'"
_DAY: Final = "yyyy-MM-dd"


class SeveralValues(Exception):
    """Says that rows with one state have several values, so that no table can be looked up by states."""


# The pieces of the tables


def with_pieces(schema: pa.Schema, lines: Iterable[RowLines], names: Iterable[str]) -> pa.Schema:
    """Add the columns of pieces to the schema of a table."""
    fields = [pa.field(piece(one, name), pa.string()) for one in lines for name in names]
    return pa.schema([*schema, *fields])


def piece(lines: RowLines, name: str) -> str:
    """Name a column of pieces."""
    return f"{lines.name}_{name}"


def pieces_of_things(things: pa.RecordBatch, lines: Sequence[RowLines]) -> pa.RecordBatch:
    """Add the pieces of `judging.THINGS`."""
    for one in lines:
        for name, columns in (("head", _HEAD), ("kind", _KIND)):
            rows = pa.RecordBatch.from_pydict({column: things.column(of) for column, of in columns.items()})
            things = things.append_column(piece(one, name), one.pieces(rows))
    return things


def pieces_of_words(words: pa.RecordBatch, lines: Sequence[RowLines]) -> pa.RecordBatch:
    """Add the pieces of `judging.WORDS`."""
    return _with_pieces_of(words, lines, "state", {"word": "told"})


def pieces_of_attributes(attributes: pa.RecordBatch, lines: Sequence[RowLines]) -> pa.RecordBatch:
    """Add the pieces of `judging.ATTRIBUTES`."""
    return _with_pieces_of(attributes, lines, "attributes", {name: name for name in ATTRIBUTE_PIECES})


def pieces_of_numbers(found: pa.RecordBatch, lines: Sequence[RowLines], told: Callable[[pa.Array], pa.Array]) -> pa.RecordBatch:
    """Make rows of `NUMBERS`, with pieces. found: of `select_numbers`. told: makes states publishable.

    Raises `SeveralValues`.
    """
    least, greatest = (found.column(name).cast(pa.float64()) for name in ("least", "greatest"))
    if found.num_rows and not pc.all(pc.equal(least, greatest)).as_py():
        raise SeveralValues
    rows = pa.RecordBatch.from_pydict({"number": found.column("state").cast(pa.string())})
    states = pa.RecordBatch.from_pydict({"state": told(rows.column("number"))})
    for one in lines:
        rows = rows.append_column(piece(one, "state"), one.pieces(states))
        rows = rows.append_column(piece(one, "value"), one.pieces(pa.RecordBatch.from_pydict({"value": least})))
    return rows


def _with_pieces_of(table: pa.RecordBatch, lines: Sequence[RowLines], column: str, names: dict[str, str]) -> pa.RecordBatch:
    for one in lines:
        for name, of in names.items():
            table = table.append_column(piece(one, name), one.pieces(pa.RecordBatch.from_pydict({column: table.column(of)})))
    return table


# The lines in SQL


def is_other_number(state: exp.Column, value: exp.Column) -> exp.Condition:
    """Make the condition that a row has a number which is in the table."""
    is_plain = exp.and_(
        exp.RegexpLike(this=state.copy(), expression=exp.Literal.string(_PLAIN)),
        exp.not_(exp.RegexpLike(this=state.copy(), expression=exp.Literal.string(_TINY))),
        exp.EQ(this=exp.TryCast(this=state.copy(), to=exp.DataType.build("double"), safe=True), expression=value.copy()),
    )
    has_number = exp.not_(exp.Is(this=value.copy(), expression=exp.null()))
    return exp.and_(has_number, exp.not_(exp.Coalesce(this=is_plain, expressions=[exp.false()])))


def select_numbers(scan: exp.Select) -> exp.Select:
    """Select the numbers that are not plain: `state`, and the `least` and the `greatest` value that rows have with it."""
    state, value = exp.column("state"), exp.column("value")
    columns = [state, exp.Min(this=value).as_("least"), exp.Max(this=value.copy()).as_("greatest")]
    found = scan.select(state.copy(), value.copy(), append=False).subquery("found")
    return exp.select(*columns).from_(found).where(is_other_number(state, value)).group_by(state.copy())


def line(lines: RowLines, floored: Callable[[str], exp.Expression]) -> exp.Expression:
    """Write the line of a row as SQL, of the columns of `judged` and of pieces.

    floored: rounds a column of microseconds to what is published of it.
    """
    between, found = exp.Literal.string(lines.separator), list[exp.Expression]()
    for part in (
        _piece(lines, "head"),
        _state(lines),
        _value(lines),
        _piece(lines, "kind"),
        _time(lines.cell("last_changed"), floored("changed"), _TIME),
        _time(lines.cell("last_updated"), floored("updated"), _TIME),
        _time(lines.cell("received"), floored("arrived"), _DAY),
        _filled(lines.cell("utc_offset"), exp.cast(exp.column("minutes"), "string")),
        _time(lines.cell("time"), floored("at"), _TIME),
        _piece(lines, "attributes"),
    ):
        found += [between.copy(), part] if found and lines.separator else [part]
    return _concat(*found)


def no_attributes(lines: RowLines) -> exp.Expression:
    """Write the piece of `{}`."""
    return exp.Literal.string(lines.piece("attributes", "{}"))


def _piece(lines: RowLines, name: str) -> exp.Expression:
    return exp.column(piece(lines, name))


def _state(lines: RowLines) -> exp.Expression:
    cell = lines.cell("state")
    kept = (
        exp.case()
        .when(_is_there(_piece(lines, "word")), _piece(lines, "word"))
        .when("is_other_number", _piece(lines, "state"))
        .else_(_concat(exp.Literal.string(cell.before), exp.column("state"), exp.Literal.string(cell.after)))
    )
    away, redacted = (exp.Literal.string(lines.piece("state", text)) for text in (AWAY, REDACTED))
    return exp.case().when("is_kept", kept).when("is_presence", away).else_(redacted)


def _value(lines: RowLines) -> exp.Expression:
    cell, state = lines.cell("value"), exp.column("state")
    short = exp.Anonymous(
        this="REGEXP_REPLACE",
        expressions=[state.copy(), exp.Literal.string(_ENDING_ZEROS), exp.Literal.string("$1")],
    )
    dotted = exp.RegexpLike(this=state.copy(), expression=exp.Literal.string("[.]"))
    number = exp.case().when(dotted, short).else_(_concat(state.copy(), exp.Literal.string(".0")))
    is_told = exp.and_(exp.column("is_kept"), _is_there(exp.column("value")))
    return (
        exp.case()
        .when(exp.not_(is_told), exp.Literal.string(cell.null))
        .when("is_other_number", _piece(lines, "value"))
        .else_(_concat(exp.Literal.string(cell.before), number, exp.Literal.string(cell.after)))
    )


def _time(cell: Cell, us: exp.Expression, form: str) -> exp.Expression:
    at = exp.Anonymous(this="TIMESTAMP_MICROS", expressions=[us])
    return _filled(cell, exp.Anonymous(this="DATE_FORMAT", expressions=[at, exp.Literal.string(form)]))


def _filled(cell: Cell, text: exp.Expression) -> exp.Expression:
    """Put what a cell has around a text that needs no escape."""
    filled = _concat(exp.Literal.string(cell.before), text, exp.Literal.string(cell.after))
    return exp.case().when(_is_there(text), filled).else_(exp.Literal.string(cell.null))


def _is_there(column: exp.Expression) -> exp.Expression:
    return exp.not_(exp.Is(this=column.copy(), expression=exp.null()))


def _concat(*parts: exp.Expression) -> exp.Expression:
    """Join texts, without the empty ones."""
    kept = [part.copy() for part in parts if not (isinstance(part, exp.Literal) and not part.this)]
    return kept[0] if len(kept) == 1 else exp.Anonymous(this="CONCAT", expressions=kept)
