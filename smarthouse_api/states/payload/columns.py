"""Text to times and numbers, a column at a time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.times import FIRST_US, LAST_US, TIMESTAMP

_NUMBER: Final = r"\A[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\z"

# `2022-06-20T12:46:04.198578+01:00`, as Home Assistant writes it. The sanitiser makes the plus a dot.
_SANITISED: Final = r"\A([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?)\.([0-9]{2}:[0-9]{2})\z"
_NAIVE: Final = r"\A([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?)\z"
_USUAL: Final = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})\z"
_SANITISED_PATTERN: Final = re.compile(_SANITISED.replace(r"\z", r"\Z"))


def numbers(texts: pa.StringArray) -> pa.DoubleArray:
    """Decimal numbers, with a dot and an exponent or without, as float64; null for any other text, and beyond its range."""
    codes = texts.dictionary_encode()
    unique = codes.dictionary
    looks = pc.match_substring_regex(unique, _NUMBER)
    values = pc.if_else(looks, unique, pa.scalar(None, pa.string())).cast(pa.float64())
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64())).take(codes.indices)


def timestamps(texts: pa.StringArray) -> pa.TimestampArray:
    """ISO 8601 times in UTC, years 1 to 9999; null for any other text. A time without an offset is UTC."""
    try:
        times = texts.cast(TIMESTAMP)
    except pa.ArrowInvalid:
        times = _mixed_timestamps(texts)
    ticks = times.cast(pa.int64())
    possible = pc.and_(pc.greater_equal(ticks, FIRST_US), pc.less_equal(ticks, LAST_US))
    return pc.if_else(possible, times, pa.scalar(None, TIMESTAMP))


def _mixed_timestamps(texts: pa.StringArray) -> pa.TimestampArray:
    repaired = pc.replace_substring_regex(texts, _SANITISED, r"\1+\2")
    repaired = pc.replace_substring_regex(repaired, _NAIVE, r"\1Z")
    usual = pc.match_substring_regex(repaired, _USUAL)
    nothing = pa.scalar(None, pa.string())
    try:
        times = pc.if_else(usual, repaired, nothing).cast(TIMESTAMP)
        odd = pc.if_else(usual, nothing, texts)
    except pa.ArrowInvalid:  # the shape of a time and no such time: February the 30th
        times, odd = pa.nulls(len(texts), TIMESTAMP), texts
    codes = odd.dictionary_encode()
    parsed = pa.array([_timestamp(text) for text in codes.dictionary.to_pylist()], TIMESTAMP)
    return pc.coalesce(times, parsed.take(codes.indices))


def _timestamp(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(_SANITISED_PATTERN.sub(r"\1+\2", text))
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
