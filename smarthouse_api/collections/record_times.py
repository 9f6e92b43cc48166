"""The times of records: they are read, and converted to UTC with warnings about unclear ones."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from types import NoneType
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.arrow.times import FIRST_US, LAST_US, RECORD, ReadTime, read_time
from smarthouse_api.collections.member_names import replaced, values_of
from smarthouse_api.collections.warning_texts import MOST_NAMED, and_more, quoted, short

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

_NAIVE: Final = "has no offset; it was taken as UTC"
_DAY: Final = "has no time of day; it was taken as midnight UTC"
_NO_TIME: Final = "is no time; it was kept as it is"


def read_instant(value: Any) -> int | None:
    """Return the instant that a value names, in microseconds since 1970; None if it names none of the years 1 to 9999.

    It never raises.

    A text is a date-time of RFC 3339 (with `T` or a space, seconds or none, a fraction of up to nine digits whose
    first six count, an offset such as `Z`, `+02:00`, `+0200`, `+02`, or none for UTC) or a date, which is its midnight in UTC.
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
    values = values_of(records, timestamp_field)
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
            records[index] = replaced(records[index], timestamp_field, text)
    return records, warnings


def are_clear(values: list[Any]) -> bool:
    """Return whether `normalized` surely changes none of these times and warns of none. False also if it is not known."""
    if len(values) < _FEW:
        return False
    kinds = set(map(type, values))
    if kinds == {int}:
        return min(values) >= 0 and read_instant(max(values)) is not None
    return kinds == {NoneType} or (kinds == {str} and (_are_usual(values) or _are_utc(values)))


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
        for index in indexes[:MOST_NAMED]:
            yield f"data[{index}]: {short(name)} {quoted(values[index])} {what}"
        more = len(indexes) - MOST_NAMED
        if more > 0:
            yield f"data[{indexes[MOST_NAMED]}]{and_more(more)}: {short(name)} {what}"
