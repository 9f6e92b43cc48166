"""Times one by one: there and back, as text, and from the texts of clients."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from smarthouse_api.arrow.times import (
    FIRST_US,
    LAST_US,
    QUERY,
    RECORD,
    microseconds,
    read_time,
    seconds_text,
    time_of,
    time_text,
)

NOON_US = 1_735_732_800_000_000


@pytest.mark.parametrize("us", [FIRST_US, -1, 0, 1, NOON_US, LAST_US])
def test_microseconds_are_a_time_and_back(us: int) -> None:
    assert microseconds(time_of(us)) == us


def test_a_time_without_an_offset_is_not_guessed_at() -> None:
    with pytest.raises(TypeError):
        microseconds(datetime(2025, 1, 1))


def test_a_time_is_written_in_utc_with_all_its_digits() -> None:
    at = datetime(2025, 1, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    assert time_text(at) == "2025-01-01T12:00:00.000000Z"
    assert seconds_text(at + timedelta(microseconds=7)) == "2025-01-01T12:00:00Z"


@pytest.mark.parametrize("form", [RECORD, QUERY])
@pytest.mark.parametrize(
    "text",
    ["2025-01-01T12:00:00Z", "2025-01-01t12:00:00.0z", "2025-01-01 13:30:00.0000009+01:30", "2025-01-01T06:30:00-05:30"],
)
def test_a_time_is_read(text: str, form: re.Pattern[str]) -> None:
    read = read_time(text, form)
    assert read is not None
    assert (read.us, read.utc(), read.is_day) == (NOON_US, datetime(2025, 1, 1, 12), False)


@pytest.mark.parametrize("form", [RECORD, QUERY])
def test_a_day_is_its_midnight(form: re.Pattern[str]) -> None:
    read = read_time("2025-01-01", form)
    assert read is not None
    assert (read.utc().date(), read.us, read.is_day) == (date(2025, 1, 1), NOON_US - 43_200_000_000, True)


@pytest.mark.parametrize(
    "text", ["2025-01-01T12:00Z", "2025-01-01T12:00:00", "2025-01-01T14:00:00+0200", "2025-01-01T14:00:00+02"]
)
def test_a_record_may_leave_out_what_a_query_may_not(text: str) -> None:
    read = read_time(text, RECORD)
    assert read is not None
    assert read.us == NOON_US
    assert read_time(text, QUERY) is None


def test_a_plus_that_a_query_did_not_encode_is_a_plus() -> None:
    read = read_time("2025-01-01T14:00:00 02:00", QUERY)
    assert read is not None
    assert read.us == NOON_US


@pytest.mark.parametrize("text", ["2025-02-30", "0000-01-01T00:00:00Z", "2025-01-01T24:00:00Z", "2025-01-01T12:00:00+24:00"])
def test_a_time_that_does_not_exist_is_a_fault(text: str) -> None:
    with pytest.raises(ValueError):
        read_time(text, QUERY)


def test_a_time_before_all_years_in_utc_has_no_date_there() -> None:
    read = read_time("0001-01-01T00:00:00+01:00", QUERY)
    assert read is not None
    assert read.us == microseconds(datetime(1, 1, 1, tzinfo=UTC)) - 3_600_000_000
    with pytest.raises(OverflowError):
        read.utc()
