"""Times as Home Assistant writes them, and as the integration's sanitiser leaves them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.time_columns import TIMESTAMP, possible, read_times
from smarthouse_api.arrow.times import microseconds

# `2022-06-20T12:46:04.198578+01:00`, as Home Assistant writes it. The sanitiser makes the plus a dot.
_SANITISED: Final = r"\A([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?)\.([0-9]{2}:[0-9]{2})\z"
_NAIVE: Final = r"\A([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?)\z"


def timestamps(texts: pa.StringArray) -> pa.TimestampArray:
    """Read a column of ISO 8601 times as UTC; null for any other text, or outside the years 1 to 9999. No offset means UTC."""
    try:
        return possible(texts.cast(TIMESTAMP))
    except pa.ArrowInvalid:
        repaired = pc.replace_substring_regex(texts, _SANITISED, r"\1+\2")
        return read_times(pc.replace_substring_regex(repaired, _NAIVE, r"\1Z"), _iso_8601)


def _iso_8601(text: str) -> int | None:
    try:
        time = datetime.fromisoformat(text)
        return microseconds(time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC))
    except (ValueError, OverflowError):
        return None
