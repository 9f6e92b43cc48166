"""Checks of records besides their schema: times are converted to UTC, and records of different shapes give warnings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from math import isfinite
from operator import itemgetter
from types import NoneType
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.arrow.times import FIRST_US, LAST_US, RECORD, ReadTime, read_time

Record = dict[str, Any]


class _Layout:
    """Describes times that are written like `usual`, one in a line: where digits and other signs stand, and which signs."""

    def __init__(self, usual: str) -> None:
        line = f"{usual}\n"
        self.digits = [at for at, sign in enumerate(line) if sign.isdigit()]
        self.signs = [at for at, sign in enumerate(line) if not sign.isdigit()]
        self.usual = np.frombuffer(line.encode(), np.uint8)[self.signs]


_USUAL: Final = ["2025-01-01T12:00:00Z", *(f"2025-01-01T12:00:00.{'0' * digits}Z" for digits in range(1, 10))]
_LAYOUTS: Final = {len(usual): _Layout(usual) for usual in _USUAL}
_PAIRED: Final = 14
# So many digits come before a fraction, two each of: century, year, month, day, hour, minute, second.
_LEAST_PAIRS: Final = np.array([1, 0, 1, 1, 0, 0, 0], np.uint8)
_LARGEST_PAIRS: Final = np.array([99, 99, 12, 28, 23, 59, 59], np.uint8)
_CHUNK: Final = 1_000
_FEW: Final = 50
"""Below so many, to look at each is quicker than to call Arrow."""

_NAMED: Final = 3
_SHAPES: Final = 4
_NAIVE: Final = "has no offset; it was taken as UTC"
_DAY: Final = "has no time of day; it was taken as midnight UTC"
_NO_TIME: Final = "is no time; it was kept as it is"

_TYPES: Final = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object"}


def read_instant(value: Any) -> int | None:
    """Return the instant that a value names, in microseconds since 1970; None if it names none of the years 1 to 9999.

    It never raises.

    A text is a date-time of RFC 3339 (with `T` or a space, seconds or none, a fraction of up to nine digits, of which six
    count, an offset such as `Z`, `+02:00`, `+0200`, `+02`, or none for UTC) or a date, which is its midnight in UTC.
    A number is seconds since 1970 below 1e11, milliseconds below 1e14, microseconds below 1e17, nanoseconds from there on.
    """
    if isinstance(value, str):
        read = _read(value)
        return None if read is None else _possible(read.us)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _of_number(value)
    return None


def normalized(records: list[Record], timestamp_field: str | None) -> tuple[list[Record], list[str]]:
    """Return the records with their times in UTC, as `2025-01-01T12:00:00Z`, and warnings about unclear times.

    Records that change are copied; the others, and numbers, stay what they are. A time without an offset is taken as UTC.
    """
    if timestamp_field is None or not records:
        return records, []
    values = _values(records, timestamp_field)
    changes: dict[int, str] = {}
    unclear: dict[str, list[int]] = {}
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        if not are_clear(chunk):
            _normalize(chunk, start, changes, unclear)
    warnings = list(_warnings(timestamp_field, values, unclear))
    if changes:
        records = records.copy()
        for index, text in changes.items():
            records[index] = {**records[index], timestamp_field: text}
    return records, warnings


def are_clear(values: list[Any]) -> bool:
    """Return whether `normalized` surely changes none of these times and warns of none. False also if it is not known."""
    if len(values) < _FEW:
        return False
    kinds = set(map(type, values))
    if kinds == {int}:
        return min(values) >= 0 and read_instant(max(values)) is not None
    return kinds == {NoneType} or (kinds == {str} and (_are_usual(values) or _are_utc(values)))


def _values(records: list[Record], name: str) -> list[Any]:
    try:
        return list(map(itemgetter(name), records))
    except KeyError:
        return [record.get(name) for record in records]


def uniformity(records: Sequence[Record]) -> list[str]:
    """Warn of records that differ from the first in their members' names, or in the JSON type that a member had before.

    A null is of every type. At most five warnings; the last one counts the rest.
    """
    if len(records) < 2 or _is_uniform(records):
        return []
    differing = list(_differing(records).items())
    warnings = [f"data[{first}]{_and_more(count)}: {difference}" for difference, (first, count) in differing[:_SHAPES]]
    if rest := sum(count for _, (_, count) in differing[_SHAPES:]):
        warnings.append(f"data[{differing[_SHAPES][1][0]}]{_and_more(rest)}: different in other ways")
    return warnings


def _read(text: str) -> ReadTime | None:
    try:
        return read_time(text, RECORD)
    except ValueError:  # a day that is not
        return None


def _of_number(number: float) -> int | None:
    size = abs(number)
    if isinstance(number, float) and not isfinite(number):
        return None
    if size < 1e17:
        at = round(number * (1_000_000 if size < 1e11 else 1_000 if size < 1e14 else 1))
    else:
        at = int(number // 1_000)
    return _possible(at)


def _possible(us: int) -> int | None:
    return us if FIRST_US <= us <= LAST_US else None


def _are_usual(values: list[str]) -> bool:
    """Whether all are texts such as `2025-01-01T12:00:00Z`, with as many digits of a fraction in each as in the first, of days
    that every month has; at a fifth of what a parser costs.
    """
    layout = _LAYOUTS.get(len(values[0]))
    joined = "\n".join(values) + "\n"
    width = len(values[0]) + 1
    if layout is None or len(joined) != len(values) * width or not joined.isascii():
        return False
    # As many ends of lines as there are values, all in their places: so none is within a value.
    rows = np.frombuffer(joined.encode(), np.uint8).reshape(len(values), width)
    digits = rows[:, layout.digits] - np.uint8(ord("0"))  # of what is below the digits, a large number
    if (rows[:, layout.signs] != layout.usual).any() or (digits > 9).any():
        return False
    pairs = digits[:, 0:_PAIRED:2] * np.uint8(10) + digits[:, 1:_PAIRED:2]
    return bool((pairs >= _LEAST_PAIRS).all() and (pairs <= _LARGEST_PAIRS).all())


def _are_utc(values: list[Any]) -> bool:
    """Whether all are texts such as `2025-01-01T12:00:00Z`, at a tenth of what it costs to read each."""
    try:
        texts = pa.array(values, pa.string())
        times = pc.min_max(texts.cast(TIMESTAMP).cast(pa.int64()))
    except (pa.ArrowException, UnicodeError):
        return False
    # Arrow takes times without seconds, too, with a space, and with another offset.
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32, len(texts) + 1)
    letters = np.frombuffer(data, np.uint8)
    are_long = np.diff(ends).min() >= len("2025-01-01T12:00:00Z")
    are_utc = are_long and (letters[ends[:-1] + 10] == ord("T")).all() and (letters[ends[1:] - 1] == ord("Z")).all()
    return bool(are_utc) and times["min"].as_py() >= FIRST_US


def _normalize(values: list[Any], start: int, changes: dict[int, str], unclear: dict[str, list[int]]) -> None:
    for index, value in enumerate(values, start):
        if isinstance(value, str):
            text, warning = _in_utc(value)
            if text != value:
                changes[index] = text
        else:
            warning = None if value is None or read_instant(value) is not None else _NO_TIME
        if warning is not None:
            unclear.setdefault(warning, []).append(index)


def _in_utc(value: str) -> tuple[str, str | None]:
    """The text of a time in UTC, or a text that is no time and a date as they are; and what is to be said of it."""
    read = _read(value)
    if read is None or _possible(read.us) is None:
        return value, _NO_TIME
    if read.is_day:
        return value, _DAY
    return f"{read.utc().isoformat()}{read.fraction}Z", _NAIVE if read.offset is None else None


def _warnings(name: str, values: list[Any], unclear: dict[str, list[int]]) -> Iterator[str]:
    for what, indexes in unclear.items():
        for index in indexes[:_NAMED]:
            yield f"data[{index}]: {_short(name)} {_quoted(values[index])} {what}"
        more = len(indexes) - _NAMED
        if more > 0:
            yield f"data[{indexes[_NAMED]}]{_and_more(more)}: {_short(name)} {what}"


def _and_more(count: int) -> str:
    return f" and {count - 1} more" if count > 1 else ""


def _is_uniform(records: Sequence[Record]) -> bool:
    """Whether all have the same members, each of one type. A column at a time is quicker than a record at a time."""
    first = records[0]
    if {len(first)} != set(map(len, records)):
        return False
    try:
        columns = (set(map(type, map(itemgetter(name), records))) for name in first)
        return all(len({_TYPES.get(kind) for kind in kinds} - {None}) <= 1 for kinds in columns)
    except KeyError:
        return False


def _differing(records: Sequence[Record]) -> dict[str, list[int]]:
    """The ways in which records differ: each with the first index and the count of its records."""
    first = records[0]
    types: dict[str, str] = {}
    told: dict[tuple[Any, ...], str] = {}
    differing: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        shape = (*record, *map(type, record.values()))
        difference = told.get(shape)
        if difference is None:
            difference = told[shape] = "; ".join(islice(_differences(first, record, types), _NAMED))
        if difference:
            differing.setdefault(difference, [index, 0])[1] += 1
    return differing


def _differences(first: Record, record: Record, types: dict[str, str]) -> Iterator[str]:
    """How a record differs from the first, and from the types that members had before, which it adds to."""
    kinds = {name: kind for name, value in record.items() if (kind := _TYPES.get(type(value))) is not None}
    other = [(name, kind) for name, kind in kinds.items() if types.setdefault(name, kind) != kind]
    yield from (
        f"it has no {_quoted(name)}, which data[0] has" for name in islice((n for n in first if n not in record), _NAMED)
    )
    yield from (f"it has {_quoted(name)}, which data[0] has not" for name in record if name not in first)
    yield from (f"{_quoted(name)} is {kind}, before it was {types[name]}" for name, kind in other)


def _quoted(value: Any) -> str:
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    return _short(json.dumps(value[:50] if isinstance(value, str) else value, ensure_ascii=False, default=str))


def _short(text: str) -> str:
    cut = text if len(text) <= 50 else f"{text[:49]}…"
    return cut if cut.isprintable() else "".join(sign if sign.isprintable() else "�" for sign in cut)
