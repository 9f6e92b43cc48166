"""Times of states, read a column at a time: as Home Assistant writes them, and as the integration's sanitiser leaves them.

A time is ISO 8601 text, or a number of seconds or milliseconds since 1970, also as text. A number is a time from 1973 to 5138.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.time_columns import TIMESTAMP, possible, read_times
from smarthouse_api.arrow.times import microseconds

_NAIVE: Final = r"\A([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?)\z"
_LATE: Final = re.compile(r"(\d{4}-\d\d-\d\d[T ])(?:24(:00(?::00(?:\.0*)?)?)|(\d\d:\d\d):60(?:\.\d*)?)(?!\d)(.*)", re.ASCII)
"""What ISO 8601 allows and Python's reader does not: the end of a day, and a leap second."""

_FIRST_SECOND: Final = 1e8
_FIRST_MILLISECOND: Final = 1e11
_LAST_MILLISECOND: Final = 1e14
_OFFSET: Final = len("+01:00")
_EPOCH_DIGITS: Final = r"\A[0-9]{9,14}(\.[0-9]*)?\z|\A[0-9]\.[0-9]+[eE]\+?[0-9]{1,2}\z"

Bytes = npt.NDArray[np.uint8]


def timestamps(texts: pa.StringArray) -> pa.TimestampArray:
    """Read a column of times: in UTC, years 1 to 9999; null for any other text. A time without an offset is UTC."""
    try:
        return possible(texts.cast(TIMESTAMP))
    except pa.ArrowInvalid:
        pass
    try:
        mended = _mended(texts)
        return possible(mended.cast(TIMESTAMP))
    except pa.ArrowInvalid:
        return _odd_timestamps(mended)


def utc_offsets(texts: pa.StringArray, tell_zero: npt.NDArray[np.bool_]) -> pa.Int32Array:
    """Read by how many minutes the clock of each time was ahead of UTC; null if the text has no offset.

    tell_zero: whether an offset of zero counts. Home Assistant's APIs write UTC whatever the home's clock is.
    """
    ends = pc.binary_slice(texts.cast(pa.binary()), -_OFFSET).cast(pa.string()).dictionary_encode()
    minutes = _minutes(_Tails.of(ends.dictionary)).take(ends.indices)
    counts = pc.or_(pc.not_equal(minutes, 0), pa.array(tell_zero))
    return pc.if_else(counts, minutes, pa.scalar(None, pa.int32()))


def _minutes(tails: _Tails) -> pa.Int32Array:
    digit = {place: tails.at(place).astype(np.int32) - ord("0") for place in (5, 4, 2, 1)}
    sign = tails.at(6)
    has_offset = np.isin(sign, np.frombuffer(b"+-.", np.uint8)) & (tails.at(3) == ord(":"))
    for values in digit.values():
        has_offset &= (values >= 0) & (values <= 9)
    minutes = (digit[5] * 10 + digit[4]) * 60 + digit[2] * 10 + digit[1]
    minutes = np.where(sign == ord("-"), -minutes, minutes)
    is_zulu = np.isin(tails.at(1), np.frombuffer(b"Zz", np.uint8))
    return pa.array(np.where(is_zulu, 0, minutes), pa.int32(), mask=~((has_offset & (np.abs(minutes) < 1440)) | is_zulu))


class _Tails(NamedTuple):
    """Reaches the last characters of all texts of a column at once."""

    data: Bytes
    ends: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def of(cls, texts: pa.StringArray) -> _Tails:
        _, offsets, data = texts.buffers()
        places = np.frombuffer(offsets, np.int32, len(texts) + 1 + texts.offset)[texts.offset :].astype(np.int64)
        found = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
        return cls(found, places[1:], np.diff(places))

    def at(self, place: int) -> Bytes:
        """The characters so many places from the end; 0 where a text is shorter."""
        if not len(self.ends):
            return np.zeros(0, np.uint8)
        found: Bytes = np.where(self.lengths >= place, self.data[np.maximum(self.ends - place, 0)], 0).astype(np.uint8)
        return found


def _mended(texts: pa.StringArray) -> pa.StringArray:
    """Undo the sanitiser, which makes a dot of the plus in `2022-06-20T12:46:04.198578+01:00`."""
    tails = _Tails.of(texts)
    is_dot = (tails.at(6) == ord(".")) & (tails.at(3) == ord(":")) & (tails.lengths > 16)
    if not is_dot.any():
        return texts
    data = tails.data.copy()
    data[tails.ends[is_dot] - 6] = ord("+")
    valid, offsets, _ = texts.buffers()
    return pa.StringArray.from_buffers(len(texts), offsets, pa.py_buffer(data), valid, texts.null_count, texts.offset)


def _odd_timestamps(texts: pa.StringArray) -> pa.TimestampArray:
    nothing = pa.scalar(None, pa.string())
    is_number = pc.match_substring_regex(texts, _EPOCH_DIGITS)
    numbers = epochs(pc.if_else(is_number, texts, nothing).cast(pa.float64()))
    if numbers.null_count == texts.null_count:
        return numbers
    rest = pc.if_else(numbers.is_valid(), nothing, texts)
    return pc.coalesce(numbers, read_times(pc.replace_substring_regex(rest, _NAIVE, r"\1Z"), _iso_8601))


def epochs(numbers: pa.DoubleArray) -> pa.TimestampArray:
    """Times of numbers of seconds or milliseconds since 1970, to the microsecond; null for what is neither."""
    values = numbers.fill_null(0).to_numpy(zero_copy_only=False)
    is_milli = (values >= _FIRST_MILLISECOND) & (values < _LAST_MILLISECOND)
    is_time = ((values >= _FIRST_SECOND) & (values < _FIRST_MILLISECOND)) | is_milli
    values = np.where(is_time, values, 0)
    scale = np.where(is_milli, 1_000, 1_000_000)
    whole = np.floor(values)
    us = (whole * scale + np.rint((values - whole) * scale)).astype(np.int64)
    return pa.array(us, pa.int64(), mask=~is_time).cast(TIMESTAMP)


def _iso_8601(text: str) -> int | None:
    try:
        text, later = _in_range(text.strip().upper())
        time = datetime.fromisoformat(text)
        return microseconds((time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)) + later)
    except (ValueError, OverflowError):
        return None


def _in_range(text: str) -> tuple[str, timedelta]:
    """The text with a clock below 24:00:00 and seconds below 60, and how much later the time is."""
    found = _LATE.fullmatch(text)
    if found is None:
        return text, timedelta()
    day, midnight, minute, offset = found.groups()
    if minute is None:
        return f"{day}00{midnight}{offset}", timedelta(days=1)
    return f"{day}{minute}:59{offset}", timedelta(seconds=1)
