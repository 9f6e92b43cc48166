"""An export job with two cores against the same job with one: wall time. And the memory of the processes that make it.

`python -m benchmarks.jobs DATA_DIR` makes the job in a process of its own, and prints the seconds that it took, as JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import kept, lake
from benchmarks.memory import PeakMemory
from benchmarks.paths import ROOT
from benchmarks.stores import Stores
from benchmarks.table import Row, ratios
from smarthouse_api.house import House
from smarthouse_api.states.jobs.service import OPERATOR
from smarthouse_api.states.query import Filters

ROUNDS: Final = 5
CORES: Final = 2
_SECONDS: Final = 900


@dataclass(frozen=True)
class Made:
    """Tells of a job that was made. rows: of its file."""

    seconds: float
    rows: int
    peak_mb: float = 0.0


def measure(size: str) -> list[Row]:
    """The rows: two cores against one, and the memory with two."""
    data_dir, usable = kept.lake_of(kept.HOMES[size]), sorted(os.sched_getaffinity(0))
    if len(usable) < CORES:
        print(f"  this machine has {len(usable)} core: a job with {CORES} cannot be measured")
        return []
    one, two = list[Made](), list[Made]()
    for number in range(1, ROUNDS + 1):
        one.append(_made(data_dir, usable[:1]))
        two.append(_made(data_dir, usable[:CORES]))
        print(f"  round {number}: {one[-1].seconds:.2f} s with one core, {two[-1].seconds:.2f} s with {CORES}", flush=True)
    seconds = [[made.seconds for made in some] for some in (two, one)]
    millions, peak_mb = one[0].rows / 1e6, max(made.peak_mb for made in two)
    return [
        Row(
            f"a job with {CORES} cores, zipped csv, {millions:.1f} M rows, against the same with one, wall time",
            *(f"{statistics.median(some):.2f} s" for some in seconds),
            ratios(*seconds),
            must=0.65,
            ambition=0.55,
            low_is_good=True,
        ),
        Row(
            f"peak memory of a worker with its processes, that job with {CORES} cores",
            f"{peak_mb:.0f} MB",
            "",
            [peak_mb],
            must=400,
            ambition=250,
            low_is_good=True,
            unit="MB",
        ),
    ]


def _made(data_dir: Path, usable: list[int]) -> Made:
    """Have the job made in a process that may use some cores."""
    command, confine = [sys.executable, "-m", "benchmarks.jobs", str(data_dir)], partial(os.sched_setaffinity, 0, usable)
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}  # as `smarthouse worker` does
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=confine) as process:
        try:
            with PeakMemory(process.pid) as peak:
                told, _ = process.communicate(timeout=_SECONDS)
        finally:
            process.kill()
    if process.returncode:
        raise RuntimeError(f"the process that was to make a job ended with {process.returncode}")
    return Made(**json.loads(told), peak_mb=peak.tree_mb)


def _make(house: House) -> Made:
    jobs = house.states.jobs
    began = time.perf_counter()
    id_ = jobs.ask(jobs.request(Filters(), ("csv",)), OPERATOR).id
    while jobs.maker.work():
        pass
    seconds, view = time.perf_counter() - began, jobs.view(id_)
    if view.state != "done":
        raise RuntimeError(f"the job is {view.state}: {view.told}")
    jobs.cancel(id_)  # else the next one would be answered from its file
    return Made(seconds, view.rows)


def main() -> None:
    with lake.opened(Stores(Path(sys.argv[1]))) as house:
        house.part_jobs()
        _make(house)  # warms up
        made = _make(house)
    print(json.dumps({"seconds": made.seconds, "rows": made.rows}))


if __name__ == "__main__":
    main()
