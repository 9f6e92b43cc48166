"""Lakes that are filled once and kept in a folder, so that the next run has them at once."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

from benchmarks import homes, lake
from benchmarks.paths import OUT
from benchmarks.stores import Stores
from smarthouse_api.coordination.store_agreement import FORMAT

DAYS: Final = 30
HOMES: Final = {"quick": 2, "small": 10, "1m": 34, "6m": 200, "10m": 334}
"""How many homes have sent thirty days, by the size that is asked for. Each sends a thousand states a day."""


def lake_of(count: int, days: int = DAYS) -> Path:
    """Return the data directory of a lake of so many homes and days: each day brought in on its own, and merged."""
    folder = OUT / f"lake-v{homes.FORMAT}-f{FORMAT}-{count}x{days}"
    finished = folder.with_name(f"{folder.name}.filled")
    prepared = homes.payloads(count, days)
    if not finished.exists():
        shutil.rmtree(folder, ignore_errors=True)
        began_at = time.perf_counter()
        with lake.opened(Stores(folder)) as house:
            for day in range(days):
                lake.receive(house, prepared[day * count : (day + 1) * count])
                lake.curate(house)
        print(f"  filled a lake of {count} homes and {days} days in {time.perf_counter() - began_at:.0f} s", flush=True)
        finished.touch()
    with lake.opened(Stores(folder)) as house:
        lake.compact(house)  # it may have been filled by a version that merged in another way
    return folder
