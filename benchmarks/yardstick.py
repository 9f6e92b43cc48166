"""The yardstick of exports: DuckDB's `COPY ... TO` csv over Parquet files of the lake's rows, in a process of its own.

`python -m benchmarks.yardstick FOLDER TARGET`; the answer is JSON: rows, seconds of the statement alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.memory import PeakMemory
from benchmarks.paths import ROOT

COPY_SECONDS: Final = 600


@dataclass(frozen=True)
class Copied:
    rows: int
    seconds: float
    peak_mb: float

    @property
    def a_second(self) -> float:
        return self.rows / self.seconds


def copy(folder: Path, target: Path) -> Copied:
    """One `COPY` of the rows in `folder` to the file `target`, which is gone afterwards."""
    command = [sys.executable, "-m", "benchmarks.yardstick", str(folder), str(target)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            with PeakMemory(process.pid) as peak:
                answer, _ = process.communicate(timeout=COPY_SECONDS)
        finally:
            process.kill()
            target.unlink(missing_ok=True)
    if process.returncode:
        raise RuntimeError(f"DuckDB's COPY ended with {process.returncode}")
    return Copied(**json.loads(answer), peak_mb=peak.tree_mb)


def main() -> None:
    import duckdb

    folder, target = sys.argv[1:]
    with duckdb.connect() as connection:
        started = time.perf_counter()
        connection.execute(f"COPY (SELECT * FROM read_parquet('{folder}/*.parquet')) TO '{target}' (HEADER)")
        rows = connection.fetchone()
        seconds = time.perf_counter() - started
    print(json.dumps({"rows": rows[0] if rows else 0, "seconds": seconds}))


if __name__ == "__main__":
    main()
