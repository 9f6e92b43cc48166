"""Rows to export: ordinary ones, and nasty ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from smarthouse_api.states.records.schema import ROWS

BIG = 'é"&\n' * 32_768
"""As long as a text of a row may be."""

STATES = (
    "",
    " ",
    "on",
    "=cmd()",
    "+1",
    "-1",
    "@x",
    'say "hi", twice',
    "two\nlines",
    "\r",
    "a\r\nb\t",
    "]]>",
    "<b>&amp;</b>",
    "\\",
    '",',
    "😀\U0001f3e0",
    "\u2028\x7f\x85",
    "null",
    BIG,
)
"""Texts that a sloppy writer would break, all of which every format can hold."""

FORBIDDEN = "a\x02b\x01\x08\x0b\x0c\x1f\ufffe\uffffz"
"""A text with every kind of character that XML 1.0 forbids, but for the NUL."""

TIMES = tuple(
    datetime.fromisoformat(text).replace(tzinfo=UTC)
    for text in (
        "0001-01-01",
        "1900-02-28T23:59:59.000001",
        "1969-12-31T23:59:59.999999",
        "1970-01-01",
        "2024-02-29T12:34:56.123456",
        "9999-12-31T23:59:59.999999",
    )
)

NUMBERS = (0.0, -0.0, 1.0, 0.1, 21.57, -1e300, 5e-324, 1e22, 123456789012345680.0, 1.7976931348623157e308)


def row(**changes: Any) -> dict[str, Any]:
    ordinary = {
        "home": "h-1",
        "entity_id": "sensor.x",
        "type": "sensor",
        "state": "21.5",
        "value": 21.5,
        "unit": "°C",
        "device_class": "temperature",
        "last_changed": TIMES[4],
        "last_updated": TIMES[4],
        "received": TIMES[3].date(),
        "utc_offset": -150,
        "time": TIMES[4],
        "attributes": '{"options":["a","b"],"nested":{"n":1.5,"t":"x\\ny"}}',
    }
    return ordinary | changes


def batch(*rows: dict[str, Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=ROWS)


def nasty() -> list[dict[str, Any]]:
    """One row for each text, time and number, and one with a null wherever there may be one."""
    void = dict.fromkeys(("value", "unit", "device_class", "last_changed", "last_updated", "utc_offset"))
    return [
        *(row(state=state, value=None) for state in STATES),
        *(row(unit=state or "x", device_class=state or "x") for state in STATES[:-1]),
        *(row(last_changed=time, last_updated=None, received=time.date(), time=time) for time in TIMES),
        *(row(last_changed=None, last_updated=time) for time in TIMES),
        *(row(state=str(number), value=number) for number in NUMBERS),
        row(**void),
        row(unit="", device_class=None, attributes="{}"),
    ]
