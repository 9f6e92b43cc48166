"""The layout of the lake: a filtered export against the full one, and forgetting many homes against one, in processor time.

Both are measured in this process, on a lake that is kept between runs. A copy of it is what homes are forgotten in.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from benchmarks import kept, lake
from benchmarks.homes import FIRST_DAY, celsius_states, home_of
from benchmarks.paths import scratch
from benchmarks.stores import Stores
from benchmarks.table import Row, ratios
from smarthouse_api.house import House
from smarthouse_api.lake.files import files_of
from smarthouse_api.states.homes_table import PURGE_LEASE
from smarthouse_api.states.query import Filters

FILTERED_FROM_DAY: Final = 11
FILTERED_DAYS: Final = 7
ROUNDS: Final = {"quick": 1, "10m": 1}
MANY: Final = 16
LATER: Final = {"purge_delay_seconds": "1000000"}


def measure(size: str) -> list[Row]:
    """The rows for the lake of one size."""
    homes = kept.HOMES[size]
    data_dir, rounds = kept.lake_of(homes), ROUNDS.get(size, 3)
    return [_filtered(data_dir, homes, rounds), _forgetting(data_dir, homes, rounds)]


def _filtered(data_dir: Path, homes: int, rounds: int) -> Row:
    first = FIRST_DAY + timedelta(days=FILTERED_FROM_DAY)
    wanted = Filters(first, first + timedelta(days=FILTERED_DAYS - 1), ("sensor",), ("°C",))
    with lake.opened(Stores(data_dir)) as house:
        files = files_of(lake.table(house))
        size = sum(files["size_bytes"].to_pylist())
        _export(house, Filters())  # each file is read once an hour to be compared with its checksum
        found = _export(house, wanted)
        if found != (expected := celsius_states(homes, FILTERED_DAYS)):
            raise RuntimeError(f"the filtered export holds {found} rows, not {expected}")
        some, whole = list[float](), list[float]()
        for _ in range(rounds):
            some.append(statistics.median(_processor_seconds(lambda: _export(house, wanted)) for _ in range(5)))
            whole.append(_processor_seconds(lambda: _export(house, Filters())))
            print(f"  {len(files)} files of {size / 1e6:.0f} MB: filtered {some[-1]:.3f} s, full {whole[-1]:.2f} s", flush=True)
    return Row(
        f"filtered export (sensor, °C, {FILTERED_DAYS} of {kept.DAYS} days) of {homes * kept.DAYS / 1e3:.1f} M states, csv",
        f"{statistics.median(some):.3f} s",
        f"full: {statistics.median(whole):.2f} s",
        ratios(some, whole),
        must=1 / 25,
        ambition=1 / 34,
        low_is_good=True,
        unit="1/",
    )


def _forgetting(data_dir: Path, homes: int, rounds: int) -> Row:
    one, many = list[float](), list[float]()
    count = min(MANY, homes - 1)
    for _ in range(rounds):
        with scratch("forgetting") as folder:
            copy = Path(shutil.copytree(data_dir, folder / "data"))
            with lake.opened(Stores(copy), **LATER) as house:
                one.append(_forgotten(house, 0, 1))
                many.append(_forgotten(house, 1, count))
        print(f"  forgetting one home {one[-1]:.2f} s, {count} homes {many[-1]:.2f} s", flush=True)
    return Row(
        f"forgetting {count} homes of {homes * kept.DAYS / 1e3:.1f} M states",
        f"{statistics.median(many):.2f} s",
        f"one: {statistics.median(one):.2f} s",
        ratios(many, one),
        must=3,
        ambition=1.5,
        low_is_good=True,
    )


def _export(house: House, filters: Filters) -> int:
    export = house.states.exports.open(["csv"], filters, fresh=False)
    if export is None:
        raise RuntimeError("the export is empty")
    try:
        for _ in export:
            pass
        return export.rows
    finally:
        export.close()


def _forgotten(house: House, first: int, count: int) -> float:
    """Forget some homes at once; how much processor time that takes."""
    before = lake.rows(house)
    for number in range(first, first + count):
        house.forgetting.forget(home_of(1, number).uuid)

    def purge() -> None:
        with house.leases.hold(PURGE_LEASE, 0) as lease:
            house.forgetting.purge(lease)

    took = _processor_seconds(purge)
    if not 0 < before - lake.rows(house) == count * before // _homes_left(house, count):
        raise RuntimeError(f"{before} rows before {count} homes were forgotten, and {lake.rows(house)} after that")
    return took


def _homes_left(house: House, forgotten: int) -> int:
    return len(house.states.homes.known()) + forgotten


def _processor_seconds(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began
