"""The columns of states: decoded from a payload, in their table of the lake, and in an export's rows."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from smarthouse_api.arrow.time_columns import TIMESTAMP

RECORDS: Final = pa.schema(
    [
        pa.field("entity_id", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("unit", pa.string()),
        pa.field("device_class", pa.string()),
        pa.field("last_changed", TIMESTAMP),
        pa.field("last_updated", TIMESTAMP),
        pa.field("utc_offset", pa.int32()),
        pa.field("attributes", pa.string(), nullable=False),
        pa.field("attributes_uploaded", pa.string()),
    ]
)
"""What one payload decodes to, a row for each state change.

entity_id: as uploaded, except that `sensor_x`, which the integration's sanitiser made of `sensor.x`, is `sensor.x` again: so
days of a home join whichever version of the integration sent them. type: the Home Assistant domain, lower case, or
`unknown`. value: the state as a finite number, or null. unit, device_class: the attributes `unit_of_measurement` and
`device_class` where they are text, as uploaded, except that units which the sanitiser mangled are mended, such as `km_h`.
last_changed, last_updated: null where absent or unreadable. utc_offset: by how many minutes the home's clock was ahead of UTC;
null where the upload did not tell. attributes: JSON text of an object, allow-listed keys only. attributes_uploaded: JSON
text of all attributes as uploaded, for administrators alone; null where that is the text of `attributes`.
"""

STATISTICS: Final = pa.schema(
    [
        pa.field("statistic_id", pa.string(), nullable=False),
        pa.field("start", TIMESTAMP),
        pa.field("end", TIMESTAMP),
        pa.field("period_seconds", pa.int64()),
        *(pa.field(name, pa.float64()) for name in ("mean", "min", "max", "state", "sum", "change")),
        pa.field("unit", pa.string()),
        pa.field("last_reset", TIMESTAMP),
    ]
)
"""What one payload tells of long-term statistics, a row for each period.

statistic_id: an entity id, or a name such as `energy:usage`. start, end: null where unreadable. mean, min, max: of
a measurement. state, sum, change: of a meter. unit: null where the upload did not tell.
"""

STATES: Final = pa.schema(
    [
        pa.field("day", pa.date32(), nullable=False),
        pa.field("bucket", pa.int32(), nullable=False),
        pa.field("home", pa.string(), nullable=False),
        *RECORDS,
        pa.field("received", TIMESTAMP, nullable=False),
        pa.field("time", TIMESTAMP, nullable=False),
        pa.field("unit_nfkc", pa.string()),
        pa.field("entered", pa.int64()),
    ]
)
"""The Delta table `states`, partitioned by `day` and `bucket`: see `placement`.

home: the home's internal key, random, unrelated to its UUID. time: the record's own time, that is `last_updated`, else
`last_changed`, else `received`. unit_nfkc: the unit after Unicode's NFKC, by which units are compared. entered: see `entered`.
"""

PERIODS: Final = pa.schema(
    [
        *(STATES.field(name) for name in ("day", "bucket", "home")),
        *STATISTICS,
        STATES.field("received"),
    ]
)
"""The Delta table `statistics`, partitioned by `day` and `bucket`: see `placement`."""

PERIOD_KEY: Final = ("home", "statistic_id", "start", "period_seconds", "mean", "min", "max", "state", "sum", "change")
"""The columns that tell one period from another. Rows that agree in them are repeats of one period."""

KEY: Final = ("home", "entity_id", "last_changed", "last_updated", "state", "attributes")
"""The columns that tell one state change from another. Rows that agree in them are repeats of one state change."""

ROWS: Final = pa.schema(
    [
        STATES.field("home"),
        *(field for field in RECORDS if field.name not in ("utc_offset", "attributes", "attributes_uploaded")),
        pa.field("received", pa.date32(), nullable=False),
        *(STATES.field(name) for name in ("utc_offset", "time", "attributes")),
    ]
)
"""A row of an export, in the order of its columns. home: a pseudonym. received: the day of arrival, UTC."""
