"""`python -m benchmarks [PART ...] [--size small|1m|6m|10m] [--quick]`: one table of ratios."""

from __future__ import annotations

import argparse
import importlib
import time
from typing import Final

from benchmarks import table
from benchmarks.paths import OUT
from benchmarks.stores import Production

PARTS: Final = (
    "upload",
    "curate",
    "export",
    "jobs",
    "layout",
    "contents",
    "console",
    "means",
    "production",
    "growth",
    "beside",
    "streams",
    "collections",
)
SERVED: Final = {"production", "growth", "beside", "streams", "collections"}
"""The parts that start servers of Redis and MinIO."""

ON_KEPT_LAKES: Final = {"export", "jobs", "layout", "contents", "console", "means"}
"""The parts whose lakes are kept in `benchmarks/out` for the next run. Only these have the size 10m."""


def main() -> None:
    arguments = _arguments()
    size = "quick" if arguments.quick else arguments.size
    if SERVED & set(arguments.parts or PARTS):
        Production(OUT)  # starts nothing, but raises when a server is missing: now, and not after the other parts
    rows: list[table.Row] = []
    for part in arguments.parts or PARTS:
        print(f"{part}, size {size}", flush=True)
        started = time.perf_counter()
        of_part = "6m" if size == "10m" and part not in ON_KEPT_LAKES else size
        rows += importlib.import_module(f"benchmarks.{part}").measure(of_part)
        print(f"  took {time.perf_counter() - started:.0f} s", flush=True)
    print(f"\n{table.machine()}\n\n{table.text(rows)}")


def _arguments() -> argparse.Namespace:
    description = "Measure the service against yardsticks and print ratios."
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=description)
    parser.add_argument("parts", nargs="*", help=f"parts to measure: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--size", choices=("small", "1m", "6m", "10m"), default="1m", help="number of states (default: 1m)")
    parser.add_argument("--quick", action="store_true", help="only check that the benchmarks run; ignore the figures")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    return arguments


if __name__ == "__main__":
    main()
