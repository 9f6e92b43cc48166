"""The service's own functions on a pair of stores, without HTTP: payloads received in the past, curated, compacted, counted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from benchmarks.homes import Payload
from benchmarks.stores import Stores
from config.settings import Settings
from smarthouse_api.house import House
from smarthouse_api.lake.files import files_of
from smarthouse_api.states.records.schema import ROWS
from smarthouse_api.states.uploads import Upload

FLUSH_SECONDS: Final = 1800
ROW_GROUP: Final = 122_880
"""DuckDB's own, so that each of its threads has something to read."""


@contextmanager
def opened(stores: Stores, **settings: str) -> Iterator[House]:
    """The service's parts on the stores, with the default settings except for a longer flush and those given."""
    patience = {"data_dir": str(stores.data_dir), "flush_timeout_seconds": str(FLUSH_SECONDS)}
    told = {f"SMARTHOUSE_{name.upper()}": value for name, value in {**patience, **settings}.items()}
    house = House(Settings.from_env({**told, **stores.settings}))
    try:
        yield house
    finally:
        house.close()


def receive(house: House, prepared: Sequence[Payload]) -> None:
    """Store the payloads as acknowledged uploads, each at its own time of arrival, that nobody has curated yet."""
    for payload in prepared:
        house.states.uploads.receive(Upload(payload.home, payload.path.read_bytes()), payload.arrived_at)


def curate(house: House) -> None:
    """Bring everything that is pending into the lake."""
    house.states.chores.flush()


def compact(house: House) -> None:
    """Compact as the housekeeper does: merge the small files, then drop the replaced ones and the table's history."""
    with house.states.table.writing(FLUSH_SECONDS) as lease:
        house.states.table.compact(lease, house.settings.lake.compact_files, lambda: False)
        house.states.table.erase_history(lease)


def fill(stores: Stores, prepared: Sequence[Payload], name: str, **settings: str) -> None:
    """Receive, curate and compact the payloads, and print how long each took."""
    times = []
    with opened(stores, **settings) as house:
        times.append(time.perf_counter())
        receive(house, prepared)
        times.append(time.perf_counter())
        curate(house)
        times.append(time.perf_counter())
        compact(house)
        times.append(time.perf_counter())
        files, states = files_of(table(house)).num_rows, rows(house)
    received, curated, compacted = (after - before for before, after in pairwise(times))
    took = f"received in {received:.0f} s, curated in {curated:.0f} s, compacted in {compacted:.1f} s"
    print(f"  {name}: {states} states in {files} files, {took}", flush=True)


def table(house: House) -> DeltaTable:
    """The lake's table of states. RuntimeError when nothing was ever curated into it."""
    found = house.states.table.open()
    if found is None:
        raise RuntimeError("the lake has no table")
    return found


def rows(house: House) -> int:
    return int(table(house).to_pyarrow_dataset().count_rows())


def to_parquet(house: House, folder: Path) -> int:
    """Write the rows that an export publishes, with its columns, as Parquet into `folder`; how many there are."""
    # The one domain of a made-up home that gives no row. Statistics of files are strings, and columns may be string views.
    published = pc.field("type").cast(pa.string()) != "sun"
    batches = table(house).to_pyarrow_dataset().scanner(columns=ROWS.names, filter=published).to_reader()
    folder.mkdir()
    with pq.ParquetWriter(folder / "rows.parquet", batches.schema) as writer:
        count = 0
        for batch in batches:
            writer.write_batch(batch, row_group_size=ROW_GROUP)
            count += batch.num_rows
    return count
