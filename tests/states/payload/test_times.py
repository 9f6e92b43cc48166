"""Times in every form in which they are sent, and the clock that they tell."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from config.groups import RequestSettings
from smarthouse_api.states.payload.decoding import to_table

MOMENT = datetime(2026, 3, 1, 12, 34, 56, 123456, UTC)
SECONDS = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC)


def rows(body: Any) -> list[dict[str, Any]]:
    return to_table([(json.dumps(body).encode(), None)], RequestSettings()).table.to_pylist()


def state(**members: Any) -> dict[str, Any]:
    return {"entity_id": "sensor.a", "state": "1", "attributes": {}, **members}


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (1772368496.123456, MOMENT),
        ("1772368496.123456", MOMENT),
        (1772368496, SECONDS),
        ("1772368496", SECONDS),
        (1772368496123.456, MOMENT),
        (1772368496000, SECONDS),
        ("1772368496000", SECONDS),
        (1.772368496e9, SECONDS),
        ("2026-03-01t12:34:56.123456z", MOMENT),
        ("2026-03-01 12:34:56.123456", MOMENT),
        ("2026-03-01T12:34:56", SECONDS),
        (" 2026-03-01T12:34:56Z ", SECONDS),
        ("2026-02-28T24:00:00Z", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-12-31T24:00:00.000+01:00", datetime(2026, 12, 31, 23, tzinfo=UTC)),
        ("2026-06-30T23:59:60Z", datetime(2026, 7, 1, tzinfo=UTC)),
        ("2026-03-01T12:34:60.5+01:00", datetime(2026, 3, 1, 11, 35, tzinfo=UTC)),
        ("2026-03-01T24:01:00Z", None),
        ("2026-03-01T12:34:61Z", None),
        (5, None),
        (-1772368496, None),
        (17723684960000000, None),
        (True, None),
        ([1772368496], None),
    ],
)
def test_a_time_is_read_alone_and_among_others_under_each_name(sent: Any, read: datetime | None) -> None:
    for name in ("last_changed", "last_updated"):
        alone = rows({"sensor.a": [state(**{name: sent})]})
        among = rows(
            {"sensor.a": [state(**{name: time}) for time in (sent, "no time", 1772368496, "2026-03-01T12:34:56+01:00")]}
        )
        assert alone[0][name] == among[0][name] == read


@pytest.mark.parametrize("name", ["last_changed_ts", "last_updated_ts"])
def test_a_time_may_have_the_name_of_a_column_of_the_recorder(name: str) -> None:
    (row,) = rows({"sensor.a": [state(**{name: 1772368496.123456})]})
    assert row["last_changed"] == MOMENT


OFFSETS = [
    ("2026-03-01T12:34:56+01:00", 60),
    ("2026-03-01T12:34:56.123456-03:30", -210),
    ("2026-03-01T12:34:56.123456.05:45", 345),
    ("2026-03-01T12:34:56.123456", None),
    (1772368496.5, None),
    ("no time+01:00", None),
]


@pytest.mark.parametrize(("sent", "minutes"), [*OFFSETS, ("2026-03-01T12:34:56+00:00", 0), ("2026-03-01T12:34:56Z", 0)])
def test_the_integrations_upload_tells_the_clock_of_the_home(sent: Any, minutes: int | None) -> None:
    others = [state(last_updated=time) for time, _ in OFFSETS]
    found = rows({"sensor.a": [state(last_updated=sent), *others]})
    assert [row["utc_offset"] for row in found] == [minutes, *(offset for _, offset in OFFSETS)]
    assert rows({"sensor.a": [state(last_updated="?", last_changed=sent)]})[0]["utc_offset"] == minutes


@pytest.mark.parametrize(("sent", "minutes"), [*OFFSETS, ("2026-03-01T12:34:56+00:00", None), ("2026-03-01T12:34:56Z", None)])
def test_an_api_of_home_assistant_writes_utc_whatever_the_clock_of_the_home_is(sent: Any, minutes: int | None) -> None:
    assert [row["utc_offset"] for row in rows([state(last_updated=sent)])] == [minutes]
