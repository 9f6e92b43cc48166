"""What an engine is asked for that makes the parts of an export by itself: as SQL, over the lake and the tables of `judging`.

The query does what `PublishedRows` does: names first, then each state change once, then the filters that need that, then what a
redactor decides. Its rows are those of an export, with two columns more, so that their order can be told whatever files an
engine writes, and a missing row is found out:

- `span` counts the ranges of the order: the days of one planned part each, or a share of the homes of a large day.
- `place` counts the rows of a span from 1.

A text format's rows are lines, which the query writes by `engine_lines`: a column `<name>_line` for each kind of them.

Times are microseconds since 1970, because engines differ in how they write times. They are never divided: that is not exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from math import ceil
from typing import Any, Final

from sqlglot import exp

from smarthouse_api.arrow.readable import CUT, LONGEST_TEXT
from smarthouse_api.arrow.row_lines import RowLines
from smarthouse_api.arrow.times import DAY_US, microseconds
from smarthouse_api.states.export import engine_lines
from smarthouse_api.states.export.engine_lines import (
    ATTRIBUTE_PIECES,
    NUMBER_PIECES,
    THING_PIECES,
    WORD_PIECES,
    no_attributes,
    piece,
)
from smarthouse_api.states.query import ExportPart, Filters
from smarthouse_api.states.records.entered import ENTERED
from smarthouse_api.states.records.judging import THING
from smarthouse_api.states.records.privacy import PRESENCE_US
from smarthouse_api.states.records.rules import AWAY, PRESENCE_WORDS, REDACTED
from smarthouse_api.states.records.uuids import UUID_PATTERN
from smarthouse_api.states.selects import select_rows

SPAN: Final = "span"
PLACE: Final = "place"
LINE: Final = "line"
BESIDE_LINES: Final = ("home", "time")
"""The columns that the makers of a file need to know of each row, even if all that is written of it is its line."""

_LAKE: Final = "states"
_KEY: Final = "home, entity_id, changed, updated, state, attributes, arrival_day"
_AMONG: Final = "arrived, utc_offset, unit, device_class, value, type"
_ORDER: Final = "own_day, home_name, entity_name, at, home, entity_id, changed, updated, state, attributes"
_PLACES: Final = 1 << 32


def together(parts: Sequence[ExportPart], most: float) -> list[list[ExportPart]]:
    """Put consecutive parts together, so that their shares are so many at most; a larger one stays alone."""
    groups, held = list[list[ExportPart]](), 0.0
    for part in parts:
        if not groups or held + part.share > most or part.share > 1 or groups[-1][-1].share > 1:
            groups.append([])
            held = 0.0
        groups[-1].append(part)
        held += part.share
    return groups


def select_things(parts: Sequence[ExportPart], filters: Filters, hidden: Iterable[str]) -> exp.Select:
    """Select the columns of `THING` of the rows of some parts, each thing once."""
    return _scan(parts, filters, hidden).select(*THING, append=False).distinct()


def select_attributes(
    parts: Sequence[ExportPart], filters: Filters, hidden: Iterable[str], *, uploaded: bool = False
) -> exp.Select:
    """Select the different attributes of the rows of some parts. uploaded: all that were uploaded."""
    scan = _scan(parts, filters, hidden, uploaded=uploaded)
    return scan.select(_attributes("", uploaded=uploaded).as_("attributes"), append=False).distinct()


def select_states(parts: Sequence[ExportPart], filters: Filters, hidden: Iterable[str]) -> exp.Select:
    """Select the different states of the rows of some parts that are no numbers."""
    scan = _scan(parts, filters, hidden).select("state", append=False).distinct()
    return scan.where(exp.column("value").is_(exp.null()))


def select_numbers(parts: Sequence[ExportPart], filters: Filters, hidden: Iterable[str]) -> exp.Select:
    """Select the numbers that lines need a table for, see `engine_lines`."""
    return engine_lines.select_numbers(_scan(parts, filters, hidden))


def select_published(
    parts: Sequence[ExportPart],
    filters: Filters,
    hidden: Iterable[str],
    *,
    reviewed: Iterable[str] = (),
    grouped: bool = False,
    uploaded: bool = False,
    lines: Sequence[RowLines] = (),
    typed: bool = True,
) -> exp.Select:
    """Select the published rows of some parts.

    The query reads the lake as `states`, and `things`, `words` and `told_attributes` of `judging`. reviewed: the operator's
    words. grouped: it reads `day_groups`, too, `own_day` in microseconds, `type` and `unit_key`: other rows are left out.
    uploaded: states and attributes are told as they were uploaded, except for UUIDs: the tables have them all.
    lines: the rows are also written as such lines, of pieces that the tables have. It reads `numbers`, too.
    typed: whether there are all columns of an export, and not only those of `BESIDE_LINES`.
    """
    found = _scan(parts, filters, hidden, grouped=grouped, uploaded=uploaded)
    scanned = _scanned(found, filters, grouped=grouped, uploaded=uploaded, lined=bool(lines))
    chosen = _chosen(filters, grouped=grouped)
    return (
        _published(parts, lines, uploaded=uploaded, typed=typed)
        .with_("scanned", as_=scanned, copy=False)
        .with_("named", as_=_named(reviewed, lines), copy=False)
        .with_("counted", as_=_counted(filters, uploaded=uploaded), copy=False)
        .with_("chosen", as_=chosen, copy=False)
        .with_("judged", as_=_judged(lines, uploaded=uploaded), copy=False)
    )


def _scan(
    parts: Sequence[ExportPart], filters: Filters, hidden: Iterable[str], *, grouped: bool = False, uploaded: bool = False
) -> exp.Select:
    whole = ExportPart(parts[0].first, parts[-1].last, is_filed=all(part.is_filed for part in parts))
    return select_rows(whole, filters, hidden, outdated=False, grouped=grouped, uploaded=uploaded)


def _scanned(found: exp.Select, filters: Filters, *, grouped: bool, uploaded: bool, lined: bool) -> exp.Select:
    """Select the rows of the lake, with times as numbers, and nulls as texts where they are joined."""
    day = _floored("UNIX_MICROS(received)", DAY_US)
    columns = [
        *("home", "entity_id", "type", "state", "value", "unit", "device_class", "utc_offset", "attributes"),
        "UNIX_MICROS(last_changed) AS changed",
        "UNIX_MICROS(last_updated) AS updated",
        "UNIX_MICROS(received) AS arrived",
        "UNIX_MICROS(time) AS at",
        f"{_floored('UNIX_MICROS(time)', DAY_US)} AS own_day",
        f"CASE WHEN last_changed IS NULL AND last_updated IS NULL THEN {day} END AS arrival_day",
        f"{_key('unit')} AS unit_key",
        f"{_key('device_class')} AS class_key",
    ]
    columns += [f"{_key('unit_nfkc')} AS group_key"] * grouped + ["attributes_uploaded"] * uploaded
    columns += [ENTERED] * filters.ask_when_entered
    is_other = engine_lines.is_other_number(exp.column("state"), exp.column("value")).as_("is_other_number")
    return _select(*columns, *[is_other] * lined).from_(found.subquery("found"))


def _named(reviewed: Iterable[str], lines: Sequence[RowLines]) -> exp.Select:
    """Select the rows that are published, with what is decided about their things."""
    told = "home_name home_place entity_name entity_told type_told unit_told class_told is_measured is_presence is_weather"
    columns = [f"t.{name}" for name in f"{told} is_asked grain words".split()]
    columns += [f"t.{piece(one, name)}" for one in lines for name in THING_PIECES]
    is_published: exp.Condition = exp.column("is_published", "t")
    if words := sorted(reviewed):
        is_published = exp.or_(is_published, exp.column("state", "s").isin(*words))
    same = " AND ".join(f"s.{name} = t.{name}" for name in ("home", "entity_id", "type", "unit_key", "class_key"))
    return _select("s.*", *columns).from_("scanned AS s").join("things AS t", on=same, dialect="spark").where(is_published)


def _counted(filters: Filters, *, uploaded: bool) -> exp.Select:
    """Number the repeats of each state change, and tell what the first one has of all."""
    order = ", ".join(f"{name} ASC NULLS FIRST" for name in f"{_AMONG}{', attributes_uploaded' * uploaded}".split(", "))
    over = f"PARTITION BY {_KEY} ORDER BY {order}"
    whole = f"{over} ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING"
    first = f"FIRST_VALUE(utc_offset) IGNORE NULLS OVER ({whole})"
    columns = [
        f"ROW_NUMBER() OVER ({over}) AS turn",
        f"CASE WHEN arrival_day IS NULL THEN {first} ELSE utc_offset END AS minutes",
    ]
    if filters.ask_when_entered:
        columns.append(f"MIN(COALESCE({ENTERED}, 0)) OVER (PARTITION BY {_KEY}) AS entered_first")
    return _select("*", *columns).from_("named")


def _chosen(filters: Filters, *, grouped: bool) -> exp.Select:
    """Leave out repeats, and what the filters leave out once there are none."""
    wanted: list[exp.Condition] = [exp.column("turn", "c").eq(1), exp.column("is_asked", "c")]
    if filters.time_field == "received" and filters.since is not None:
        wanted.append(exp.column("arrived", "c") >= _start(filters.since))
    if filters.after is not None:
        # It is negative if a repeat was made again, and 0 if one has no number: neither is after a number.
        wanted.append(exp.column("entered_first", "c") > exp.Literal.number(filters.after.number))
    if filters.entered_by is not None:
        wanted.append(exp.column("entered_first", "c") <= exp.Literal.number(filters.entered_by))
    chosen = _select("c.*").from_("counted AS c")
    if grouped:
        same = "c.own_day = g.own_day AND c.type = g.type AND c.group_key = g.unit_key"
        chosen = chosen.join("day_groups AS g", on=same, dialect="spark")
    return chosen.where(*wanted)


def _judged(lines: Sequence[RowLines], *, uploaded: bool) -> exp.Select:
    """Tell of each row whether its state is told, how exact its times are, and its attributes; and the pieces of its lines."""
    words = exp.column("state", "c").isin(*sorted(PRESENCE_WORDS))
    grain = exp.func("GREATEST", exp.column("grain", "c"), exp.case().when(words, str(PRESENCE_US)).else_("1"))
    attributes = _attributes("c", uploaded=uploaded)
    no_time = exp.and_(exp.column("changed", "c").is_(exp.null()), exp.column("updated", "c").is_(exp.null()))

    def told(nothing: exp.Expression, usual: str, of_weather: str) -> exp.Expression:
        is_none, is_weather = attributes.copy().eq("{}"), exp.column("is_weather", "c")
        case = exp.case().when(is_none, nothing).when(is_weather, exp.column(of_weather, "a"))
        return case.else_(exp.column(usual, "a"))

    columns: list[Any] = [
        "c.*",
        "(c.value IS NOT NULL AND c.is_measured) OR w.word IS NOT NULL AS is_kept",
        "w.told AS word_told",
        exp.alias_(exp.Literal.number(1) if uploaded else exp.case().when(no_time, str(DAY_US)).else_(grain), "exactness"),
        told(exp.Literal.string("{}"), "told", "told_of_weather").as_("attributes_told"),
    ]
    for one in lines:
        usual, of_weather = (piece(one, name) for name in ATTRIBUTE_PIECES)
        columns.append(told(no_attributes(one), usual, of_weather).as_(piece(one, "attributes")))
        columns += [f"w.{piece(one, name)}" for name in WORD_PIECES] + [f"n.{piece(one, name)}" for name in NUMBER_PIECES]
    found = (
        _select(*columns)
        .from_("chosen AS c")
        .join("words AS w", on="w.words = c.words AND w.word = c.state", join_type="left", dialect="spark")
        .join("told_attributes AS a", on=exp.column("attributes", "a").eq(attributes), join_type="left")
    )
    if lines:
        same = "c.is_other_number AND n.number = c.state"
        found = found.join("numbers AS n", on=same, join_type="left", dialect="spark")
    return found


def _published(parts: Sequence[ExportPart], lines: Sequence[RowLines], *, uploaded: bool, typed: bool) -> exp.Select:
    """Select the columns of an export, and the place of each row."""
    state = exp.column("state")
    number = _within_limit(_without_uuids(state) if uploaded else state)
    kept = exp.Coalesce(this=exp.column("word_told"), expressions=[number])
    told = exp.case().when("is_kept", kept).when("is_presence", exp.Literal.string(AWAY)).else_(exp.Literal.string(REDACTED))
    order = ", ".join(f"{name} ASC NULLS FIRST" for name in _ORDER.split(", "))
    # The window is over the columns that are read, not over those that have their names here.
    columns: dict[str, Any] = {
        "home": "home_name",
        "entity_id": "entity_told",
        "type": "type_told",
        "state": told,
        "value": "CASE WHEN is_kept THEN value END",
        "unit": "unit_told",
        "device_class": "class_told",
        "last_changed": _floored("changed", "exactness"),
        "last_updated": _floored("updated", "exactness"),
        "received": _floored("arrived", DAY_US),
        "utc_offset": "minutes",
        "time": _floored("at", "exactness"),
        "attributes": "attributes_told",
    }
    if not typed:
        columns = {name: columns[name] for name in BESIDE_LINES}
    columns |= {piece(one, LINE): engine_lines.line(one, _exact) for one in lines}
    columns |= {SPAN: SPAN, PLACE: f"ROW_NUMBER() OVER (PARTITION BY {SPAN} ORDER BY {order})"}
    placed = _select("*", _span(parts).as_(SPAN)).from_("judged").subquery("placed")
    return _select(*(exp.alias_(exp.maybe_parse(one, dialect="spark"), name) for name, one in columns.items())).from_(placed)


def _span(parts: Sequence[ExportPart]) -> Any:
    if len(parts) > 1:
        found = exp.case()
        for number, part in enumerate(parts[1:]):
            found = found.when(exp.column("at") < _start(part.first), str(number))
        return exp.cast(found.else_(str(len(parts) - 1)), "int")
    ranges = max(1, ceil(parts[0].share))
    return exp.maybe_parse(f"CAST(FLOOR(CAST(home_place * {ranges} AS DOUBLE) / {_PLACES}) AS INT)", dialect="spark")


def _exact(at: str) -> exp.Expression:
    """Round a time down to what is published of it: the arrival to a day."""
    step = DAY_US if at == "arrived" else "exactness"
    return exp.maybe_parse(_floored(at, step), dialect="spark")


def _start(day: date) -> exp.Condition:
    return exp.Literal.number(microseconds(datetime.combine(day, time.min, UTC)))


def _floored(at: str, step: int | str) -> str:
    """Write a number rounded down to a multiple, also a negative one."""
    return f"{at} - (({at} % {step}) + {step}) % {step}"


def _key(column: str) -> str:
    return f"COALESCE(CONCAT('=', {column}), '')"


def _without_uuids(text: exp.Expression) -> exp.Expression:
    return exp.Anonymous(
        this="REGEXP_REPLACE", expressions=[text, exp.Literal.string(UUID_PATTERN), exp.Literal.string(REDACTED)]
    )


def _attributes(table: str, *, uploaded: bool) -> exp.Expression:
    kept = exp.column("attributes", table or None)
    if not uploaded:
        return kept
    return exp.Coalesce(this=exp.column("attributes_uploaded", table or None), expressions=[kept])


def _within_limit(state: exp.Expression) -> exp.Expression:
    """Cut a number as `readable` does. A word is never as long."""
    is_long = exp.Length(this=state.copy()) > LONGEST_TEXT
    begin = exp.Substring(this=state.copy(), start=exp.Literal.number(1), length=exp.Literal.number(LONGEST_TEXT - 1))
    cut = exp.Anonymous(this="CONCAT", expressions=[begin, exp.Literal.string(CUT)])
    return exp.case().when(is_long, cut).else_(state)


def _select(*columns: Any) -> exp.Select:
    return exp.select(*columns, dialect="spark")
