"""The times of records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from smarthouse_api.collections.record_times import normalized, read_instant

NOON = 1_735_732_800_000_000
MANY = 60
"""As many as are looked at a column at a time."""

TIMES = [
    ("2025-01-01T12:00:00Z", NOON),
    ("2025-01-01T12:00Z", NOON),
    ("2025-01-01t12:00:00z", NOON),
    ("2025-01-01 12:00:00Z", NOON),
    ("2025-01-01T12:00:00", NOON),
    ("2025-01-01T14:00:00+02:00", NOON),
    ("2025-01-01T14:00:00+0200", NOON),
    ("2025-01-01T14:00:00+02", NOON),
    ("2025-01-01T06:30:00-05:30", NOON),
    ("2025-01-01T12:00:00-00:00", NOON),
    ("2025-01-01T12:00:00.1Z", NOON + 100_000),
    ("2025-01-01T12:00:00.123456789Z", NOON + 123_456),
    ("2025-01-01", NOON - 43_200_000_000),
    ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
    ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
    ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
    (1_735_732_800, NOON),
    (1_735_732_800.5, NOON + 500_000),
    (1_735_732_800_123, NOON + 123_000),
    (1_735_732_800_123_456, NOON + 123_456),
    (1_735_732_800_123_456_789, NOON + 123_456),
    (0, 0),
    (-5, -5_000_000),
    (99_999_999_999, 99_999_999_999_000_000),
    (100_000_000_000, 100_000_000_000_000),
]

NO_TIMES = [
    *("", "yesterday", "12:00:00", "20250101T120000Z", "2025-W01-1", "2025-01-01T12Z", "2025-01-01Z", " 2025-01-01T12:00:00Z"),
    *("2025-01-01T12:00:00Z\n", "2025-02-30T00:00:00Z", "2025-13-01", "2025-00-01", "2023-02-29", "0000-01-01T00:00:00Z"),
    *("2025-01-01T24:00:00Z", "2025-01-01T23:60:00Z", "2016-12-31T23:59:60Z", "2025-01-01T12:00:00.Z"),
    *("2025-01-01T12:00:00.1234567890Z", "2025-01-01T12:00:00,5Z", "2025-01-01T12:00.5Z", "2025-01-01T12:00:00+24:00"),
    *("2025-01-01T12:00:00+02:60", "2025-01-01T12:00:00+2", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+14:00"),
    *("\uff12025-01-01", "2025-01-01T12:00:00Z\x00", "\ud800", "-2025-01-01", "+2025-01-01", "2025-1-1"),
    *(True, False, [], {}, ["2025-01-01"], float("nan"), float("inf"), -1e300, 1e300, 10**400, -(10**400), -62_135_596_801),
]


@pytest.mark.parametrize(("value", "instant"), TIMES)
def test_a_time_is_read(value: Any, instant: int) -> None:
    assert read_instant(value) == instant


@pytest.mark.parametrize("value", [*NO_TIMES, None])
def test_what_is_no_time_is_none(value: Any) -> None:
    assert read_instant(value) is None


@pytest.mark.parametrize("text", [text for text, _ in TIMES if isinstance(text, str) and len(text) >= 20 and text[10] == "T"])
def test_a_time_is_read_as_the_standard_library_reads_it(text: str) -> None:
    at = datetime.fromisoformat(text)
    gap = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    assert read_instant(text) == (gap.days * 86_400 + gap.seconds) * 1_000_000 + gap.microseconds


@pytest.mark.parametrize("count", [1, MANY])
@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("2025-01-01T14:00:00+02:00", "2025-01-01T12:00:00Z"),
        ("2025-01-01T00:30:00+0130", "2024-12-31T23:00:00Z"),
        ("2025-01-01T12:00:00+00:00", "2025-01-01T12:00:00Z"),
        ("2025-01-01T14:00:00.123456789+02", "2025-01-01T12:00:00.123456789Z"),
        ("2025-01-01 12:00:00Z", "2025-01-01T12:00:00Z"),
        ("2025-01-01T12:00Z", "2025-01-01T12:00:00Z"),
        ("2025-01-01t12:00:00.50z", "2025-01-01T12:00:00.50Z"),
        ("0999-01-01T12:00:00+01:00", "0999-01-01T11:00:00Z"),
    ],
)
def test_a_time_with_an_offset_becomes_utc_without_a_warning(value: str, written: str, count: int) -> None:
    assert normalized([{"timestamp": value, "x": 1}] * count, "timestamp") == ([{"timestamp": written, "x": 1}] * count, [])


@pytest.mark.parametrize("count", [1, MANY])
@pytest.mark.parametrize(
    "value",
    ["2025-01-01T12:00:00Z", "2025-01-01T12:00:00.5Z", "2025-01-01T12:00:00.123456789Z", 1_735_732_800, 1.5, 0, -5, None],
)
def test_records_that_need_no_change_come_back_as_they_are(value: Any, count: int) -> None:
    records = [{"timestamp": value} for _ in range(count)]
    kept, warnings = normalized(records, "timestamp")
    assert (kept is records, warnings) == (True, [])


@pytest.mark.parametrize("value", NO_TIMES)
def test_what_is_no_time_is_kept_with_a_warning(value: Any) -> None:
    for count in (1, MANY):
        records = [{"timestamp": value} for _ in range(count)]
        kept, warnings = normalized(records, "timestamp")
        assert kept is records
        assert warnings[0].startswith("data[0]: timestamp ")
        assert warnings[0].endswith(" is no time; it was kept as it is")
        assert all(warning.isprintable() and len(warning) < 200 for warning in warnings)


@pytest.mark.parametrize(
    "pair",
    [
        ("2025-01-01T12:00:00Z2", "025-01-01T12:00:00Z"),
        ("025-01-01T12:00:00Z", "2025-01-01T12:00:00Z2"),
        ("2025-01-01T12:00:00Z\n2025-01-01T12:00:00Z", ""),
        ("2025-01-01T12:00:00.000Z\n", "2025-01-01T12:00:00.00Z"),
    ],
)
@pytest.mark.parametrize("usual", ["2025-01-01T12:00:00Z", "2025-01-01T12:00:00.000Z"])
def test_times_side_by_side_do_not_make_up_for_each_other(pair: tuple[str, str], usual: str) -> None:
    values = [usual] * MANY + [*pair] + [usual] * MANY
    _, warnings = normalized([{"timestamp": value} for value in values], "timestamp")
    faulty = [index for index, value in enumerate(values) if read_instant(value) is None]
    assert [warning.split(":")[0] for warning in warnings] == [f"data[{index}]" for index in faulty]


@pytest.mark.parametrize("day", ["2025-02-29", "2025-00-01", "2025-13-01", "2025-01-00", "2025-04-31", "0000-01-01"])
@pytest.mark.parametrize("fraction", ["", ".0", ".000", ".123456789"])
def test_a_day_that_is_not_is_found_among_usual_times(day: str, fraction: str) -> None:
    for time in (f"{day}T12:00:00{fraction}Z", f"2025-01-01T24:00:00{fraction}Z", f"2025-01-01T12:00:60{fraction}Z"):
        values = [f"2025-01-01T12:00:00{fraction}Z"] * MANY + [time]
        _, warnings = normalized([{"timestamp": value} for value in values], "timestamp")
        assert len(warnings) == 1, time


def test_a_time_without_an_offset_is_taken_as_utc_and_said_so() -> None:
    kept, warnings = normalized([{"at": "2025-01-01T12:00:00.5"}], "at")
    assert kept == [{"at": "2025-01-01T12:00:00.5Z"}]
    assert warnings == ['data[0]: at "2025-01-01T12:00:00.5" has no offset; it was taken as UTC']


def test_a_date_is_kept_and_said_to_be_midnight() -> None:
    kept, warnings = normalized([{"at": "2025-01-01"}], "at")
    assert kept == [{"at": "2025-01-01"}]
    assert warnings == ['data[0]: at "2025-01-01" has no time of day; it was taken as midnight UTC']


def test_only_records_that_change_are_copied_and_the_callers_stay_as_they_were() -> None:
    good, changing = {"timestamp": "2025-01-01T12:00:00Z"}, {"timestamp": "2025-01-01T12:00:00+01:00", "a": []}
    records = [good] * MANY + [changing]
    kept, _ = normalized(records, "timestamp")
    assert records == [good] * MANY + [{"timestamp": "2025-01-01T12:00:00+01:00", "a": []}]
    assert kept is not records
    assert kept[0] is good
    assert kept[-1] == {"timestamp": "2025-01-01T11:00:00Z", "a": []}


def test_one_bad_time_among_thousands_is_found_where_it_is() -> None:
    records: list[dict[str, Any]] = [{"timestamp": "2025-01-01T12:00:00Z"} for _ in range(2_500)]
    records[1_700] = {"timestamp": "2025-01-01T12:00:00"}
    kept, warnings = normalized(records, "timestamp")
    assert kept[1_700] == {"timestamp": "2025-01-01T12:00:00Z"}
    assert warnings == ['data[1700]: timestamp "2025-01-01T12:00:00" has no offset; it was taken as UTC']


def test_texts_and_numbers_may_be_mixed_and_missing() -> None:
    values: list[Any] = ["2025-01-01T12:00:00Z", 1_735_732_800, None, 1.5] * MANY
    records: list[dict[str, Any]] = [{"timestamp": value} for value in values] + [{}]
    assert normalized(records, "timestamp") == (records, [])


def test_without_a_timestamp_field_nothing_is_done() -> None:
    records = [{"timestamp": "yesterday"}]
    assert normalized(records, None) == (records, [])
    assert normalized([], "timestamp") == ([], [])


def test_the_first_three_of_a_kind_are_named_and_the_rest_counted() -> None:
    values = ["?"] * 3 + ["2025-01-01T12:00:00"] * 9 + ["2025-01-01"] * 4
    _, warnings = normalized([{"t": value} for value in values], "t")
    assert [warning.split(" ", 1)[0] for warning in warnings] == [
        *("data[0]:", "data[1]:", "data[2]:"),
        *("data[3]:", "data[4]:", "data[5]:", "data[6]"),
        *("data[12]:", "data[13]:", "data[14]:", "data[15]:"),
    ]
    assert warnings[6] == "data[6] and 5 more: t has no offset; it was taken as UTC"
    assert warnings[10] == "data[15]: t has no time of day; it was taken as midnight UTC"


@pytest.mark.parametrize("place", [0, 17, 39])
@pytest.mark.parametrize(
    "odd",
    [
        *(
            "2025-13-01T12:00:00Z",
            "2025-02-30T12:00:00Z",
            "2025-01-01T24:00:00Z",
            "2025-01-01T12:60:00Z",
            "2025-01-01T12:00:60Z",
        ),
        *(
            "2025-00-01T12:00:00Z",
            "2025-01-00T12:00:00Z",
            "0000-01-01T12:00:00Z",
            "2O25-01-01T12:00:00Z",
            "2025/01/01T12:00:00Z",
        ),
        *(
            "2025-01-01 12:00:00+",
            "2025-01-01T12:00:00z",
            "2025-01-01T12:00:0/Z",
            "２025-01-01T12:00:00",
            "2025-01-01T12:00:00:",
        ),
    ],
)
def test_one_odd_time_among_many_usual_ones_is_seen(odd: str, place: int) -> None:
    records: list[dict[str, Any]] = [{"at": "2025-01-28T12:00:00Z"} for _ in range(40)]
    records[place] = {"at": odd}
    alone, expected = normalized([{"at": odd}], "at")
    found, warnings = normalized(records, "at")
    assert found[place] == alone[0]
    assert [one.partition(": ")[2] for one in warnings] == [one.partition(": ")[2] for one in expected]


def test_the_last_days_of_months_are_usual_too() -> None:
    records = [{"at": f"2024-{month:02}-{day:02}T00:00:00Z"} for month, day in ((1, 31), (2, 29), (12, 31))] * 20
    assert normalized(records, "at") == (records, [])
