"""The service's own functions on a data folder, without HTTP: payloads received in the past, curated, counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq
from deltalake import DeltaTable

from benchmarks.homes import Payload
from config.settings import Settings
from smarthouse_api.house import House
from smarthouse_api.lake.schema import ROWS
from smarthouse_api.uploads import Upload

FLUSH_SECONDS: Final = 600.0
ROW_GROUP: Final = 122_880
"""DuckDB's own, so that each of its threads has something to read."""


def house(data_dir: Path) -> House:
    """The service's parts on the embedded stores of `data_dir`, with the defaults of every setting but the flush's patience."""
    return House.from_settings(Settings(data_dir=str(data_dir), flush_timeout_seconds=FLUSH_SECONDS).placed())


def receive(data_dir: Path, prepared: Sequence[Payload]) -> None:
    """Store the payloads as acknowledged uploads, each at its own time of arrival, that nobody has curated yet."""
    uploads = house(data_dir).uploads
    for payload in prepared:
        uploads.receive(Upload(payload.home, payload.path.read_bytes()), payload.arrived_at)


def curate(data_dir: Path) -> None:
    """Bring everything that is pending into the lake."""
    house(data_dir).curator.flush()


def table(data_dir: Path) -> DeltaTable:
    """The lake's table of states. RuntimeError when nothing was ever curated into it."""
    opened = house(data_dir).table.open()
    if opened is None:
        raise RuntimeError("the lake has no table")
    return opened


def rows(data_dir: Path) -> int:
    return table(data_dir).to_pyarrow_dataset().count_rows()


def to_parquet(data_dir: Path, folder: Path) -> None:
    """Write the lake's rows, with an export's columns, as Parquet into `folder`."""
    batches = table(data_dir).to_pyarrow_dataset().scanner(columns=ROWS.names).to_reader()
    folder.mkdir()
    with pq.ParquetWriter(folder / "rows.parquet", batches.schema) as writer:
        for batch in batches:
            writer.write_batch(batch, row_group_size=ROW_GROUP)
