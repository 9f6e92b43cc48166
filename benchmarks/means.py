"""Hourly means of a month: the service's aggregates against DuckDB's SQL for exactly the same rows, in processor time.

DuckDB reads the published rows as Parquet, and writes CSV. The service reads its lake, makes rows private, and writes a zip.
`python -m benchmarks.means FOLDER TARGET` is DuckDB's part, in a process of its own; it prints its seconds of processor time.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import zipfile
import zlib
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import kept, lake, memory, server
from benchmarks.download import download
from benchmarks.homes import DAY_US, FIRST_DAY
from benchmarks.paths import ROOT, scratch
from benchmarks.stores import Stores
from benchmarks.table import Row, ratios
from smarthouse_api.house import House
from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records.schema import ROWS
from smarthouse_api.states.uploads import Upload

ROUNDS: Final = 3
ROWS_OF_A_DAY: Final = {"quick": 10_000, "small": 100_000, "1m": 1_000_000, "6m": 1_000_000, "10m": 1_000_000}
UPLOADS_OF_A_DAY: Final = 20
BUSY_SHARE: Final = 4
"""One entity of the home sends a quarter of its day's rows."""

_HOME: Final = "5b0f3a52-8f0e-4f2b-9d53-3c1f7a6d2b90"
_SECONDS: Final = 600
_KEYS: Final = ("home", "entity_id", "type", "unit", "device_class", "start")
_FIGURES: Final = ("mean", "min", "max", "last", "known", "changes")

_SQL: Final = """
WITH ordered AS (
    SELECT home, entity_id, type, unit, device_class, state, value, time,
        least(
            lead(time, 1, time + INTERVAL 1 DAY) OVER (PARTITION BY home, entity_id ORDER BY time, filename, file_row_number),
            time + INTERVAL 1 DAY
        ) AS until
    FROM read_parquet('{folder}/*.parquet', filename = true, file_row_number = true)
),
told AS (
    SELECT * EXCLUDE (state),
        CASE WHEN value IS NULL AND state NOT IN ('unknown', 'unavailable', '', 'redacted') THEN state END AS word
    FROM ordered
),
pieces AS (
    SELECT *, unnest(generate_series(
        date_trunc('hour', time),
        CASE WHEN until > time AND (value IS NOT NULL OR word IS NOT NULL) THEN until - INTERVAL 1 MICROSECOND ELSE time END,
        INTERVAL 1 HOUR
    )) AS start
    FROM told
),
weighted AS (
    SELECT * EXCLUDE (value, word), greatest(time, start) AS since,
        CASE WHEN value IS NOT NULL OR word IS NOT NULL
            THEN epoch_us(least(until, start + INTERVAL 1 HOUR)) - epoch_us(greatest(time, start)) ELSE 0 END AS weight,
        CASE WHEN until > time THEN value END AS value, CASE WHEN until > time THEN word END AS word
    FROM pieces
),
parts AS (
    SELECT home, entity_id, type, unit, device_class, start, word, sum(weight) AS weight, sum(value * weight) AS product,
        min(value) AS least, max(value) AS greatest, arg_max(value, since) AS last, count(*) FILTER (time >= start) AS changes
    FROM weighted
    GROUP BY ALL
)
SELECT home, entity_id, type, unit, device_class, start, start + INTERVAL 1 HOUR AS end, NULL::INTEGER AS utc_offset,
    sum(product) / sum(weight) FILTER (word IS NULL) AS mean, min(least) AS min, max(greatest) AS max, any_value(last) AS last,
    least(sum(weight) / 3.6e9, 1.0) AS known, sum(changes)::BIGINT AS changes,
    to_json(map_from_entries(list({{'k': word, 'v': weight / 3.6e9}} ORDER BY word) FILTER (word IS NOT NULL))) AS shares,
    'states' AS source, NULL::DOUBLE AS sum, NULL::DOUBLE AS change
FROM parts
GROUP BY home, entity_id, type, unit, device_class, start
HAVING known > 0 OR changes > 0
"""


def measure(size: str) -> list[Row]:
    """The rows: hourly means against DuckDB, and the memory of a worker that makes them, also of one home's huge day."""
    with scratch("means") as folder:
        data_dir = kept.lake_of(kept.HOMES[size])
        (folder / "rows").mkdir()
        with lake.opened(Stores(data_dir)) as house:
            _publish(house, folder / "rows")
            _check(house, folder)
            ours, theirs = list[float](), list[float]()
            for number in range(ROUNDS + 1):
                took = _ours(house), _theirs(folder / "rows", folder / "means.csv")
                if number:  # the first one warms up
                    ours.append(took[0])
                    theirs.append(took[1])
            states = lake.rows(house)
        _fill_day(folder / "day", ROWS_OF_A_DAY[size])
        peaks = [_peak(one) for one in (data_dir, folder / "day")]
    return [
        Row(
            f"hourly means of {states / 1e6:.1f} M states of {kept.DAYS} days, zipped csv, against DuckDB's SQL to csv, CPU",
            f"{sorted(ours)[ROUNDS // 2]:.2f} s",
            f"{sorted(theirs)[ROUNDS // 2]:.2f} s",
            ratios(ours, theirs),
            must=1.5,
            ambition=1.0,
            low_is_good=True,
        ),
        *(
            Row(what, f"{peak:.0f} MB", "", [peak], must=400, ambition=250, low_is_good=True, unit="MB")
            for what, peak in zip(
                (
                    f"peak memory of a worker, hourly means of {states / 1e6:.1f} M states",
                    f"the same of one home's day of {ROWS_OF_A_DAY[size] / 1e6:.1f} M states",
                ),
                peaks,
                strict=True,
            )
        ),
    ]


def _publish(house: House, folder: Path) -> None:
    """Write the rows that aggregates are made of as Parquet, as they are published."""
    with house.states.exports.peek(Filters()) as batches, pq.ParquetWriter(folder / "rows.parquet", ROWS) as writer:
        for batch in batches:
            writer.write_batch(batch.cast(ROWS), row_group_size=lake.ROW_GROUP)


def _export(house: House, format_: str) -> bytes:
    export = house.states.exports.open([format_], Filters(), fresh=False, aggregation=Aggregation("1h"))
    if export is None:
        raise RuntimeError("there are no means")
    body = b"".join(export)
    export.close()
    return body


def _ours(house: House) -> float:
    began = time.process_time()
    _export(house, "csv")
    return time.process_time() - began


def _theirs(rows: Path, target: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.means", str(rows), str(target)]
    told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=_SECONDS, check=True)
    return float(json.loads(told.stdout))


def _check(house: House, folder: Path) -> None:
    """Compare all rows of both. RuntimeError where they differ."""
    with zipfile.ZipFile(BytesIO(_export(house, "parquet"))) as archive:
        mine = pq.read_table(BytesIO(archive.read(archive.namelist()[0])))
    _theirs(folder / "rows", folder / "means.parquet")
    other = pq.read_table(folder / "means.parquet").cast(mine.schema)
    mine, other = (some.sort_by([(name, "ascending") for name in _KEYS]) for some in (mine, other))
    same = len(mine) == len(other) and all(mine[name].equals(other[name]) for name in (*_KEYS, "end"))
    if not same or not all(_is_close(mine[name], other[name]) for name in _FIGURES) or not _are_shares_close(mine, other):
        raise RuntimeError("DuckDB's means are not ours")


def _is_close(mine: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    left, right = (some.cast(pa.float64()).fill_null(np.nan).to_numpy() for some in (mine, other))
    return bool(np.allclose(left, right, rtol=1e-9, atol=1e-8, equal_nan=True))


def _are_shares_close(mine: pa.Table, other: pa.Table) -> bool:
    told = [list(map(orjson.loads, some["shares"].fill_null("{}").to_pylist())) for some in (mine, other)]
    return all(
        left.keys() == right.keys() and all(abs(left[word] - right[word]) < 1e-8 for word in left)
        for left, right in zip(*told, strict=True)
    )


def _fill_day(data_dir: Path, rows: int) -> None:
    """Fill a lake with one day of one home."""
    chance, entities = random.Random(1), 40
    begin = datetime.combine(FIRST_DAY, datetime.min.time(), UTC)
    with lake.opened(Stores(data_dir)) as house:
        for upload in range(UPLOADS_OF_A_DAY):
            body = {}
            for number in range(entities):
                share = rows // BUSY_SHARE if number == 0 else (rows - rows // BUSY_SHARE) // (entities - 1)
                name = f"sensor.power_{number}"
                body[name] = [_state(name, chance, begin) for _ in range(share // UPLOADS_OF_A_DAY)]
            arrived_at = begin + timedelta(days=1, minutes=upload)
            house.states.uploads.receive(Upload(_HOME, zlib.compress(orjson.dumps(body), 1)), arrived_at)
        lake.curate(house)
        lake.compact(house)


def _state(name: str, chance: random.Random, begin: datetime) -> dict[str, object]:
    at = (begin + timedelta(microseconds=chance.randrange(DAY_US))).isoformat()
    attributes = {"unit_of_measurement": "W", "device_class": "power"}
    return {
        "entity_id": name,
        "state": f"{chance.uniform(0, 3000):.1f}",
        "attributes": attributes,
        "last_changed": at,
        "last_updated": at,
    }


def _peak(data_dir: Path) -> float:
    """The memory of a worker that has made hourly means a few times."""
    with server.service(data_dir) as running, memory.PeakMemory(running.pid) as peak:
        for _ in range(ROUNDS):
            download(running.port, "csv", {"every": "1h"})
    return peak.process_mb


def main() -> None:
    import duckdb

    folder, target = sys.argv[1:]
    form = "(FORMAT csv, HEADER)" if target.endswith(".csv") else "(FORMAT parquet)"
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1; SET TimeZone = 'UTC'")  # with more it takes more processor time
        began = time.process_time()
        connection.execute(f"COPY ({_SQL.format(folder=folder)}) TO '{target}' {form}")
        print(json.dumps(time.process_time() - began))


if __name__ == "__main__":
    main()
