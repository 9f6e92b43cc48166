"""Exports: rows a second over HTTP in three formats against DuckDB, memory, first byte."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import kept, lake, memory, server, yardstick
from benchmarks.download import Download, download, rows_in
from benchmarks.homes import payloads
from benchmarks.kept import DAYS
from benchmarks.paths import scratch
from benchmarks.stores import Stores
from benchmarks.table import Row, a_second, ratios

FORMATS: Final = ("csv", "json", "xml")


@dataclass(frozen=True)
class Plan:
    homes: int
    rounds: int


PLANS: Final = {
    "quick": (Plan(2, 1),),
    "small": (Plan(10, 3),),
    "1m": (Plan(34, 3),),
    "6m": (Plan(34, 1), Plan(200, 3)),
    "10m": (Plan(34, 1), Plan(334, 1)),
}
"""The lakes to measure, the last of them for the figures, one before it for the flatness of memory."""


@dataclass
class Measured:
    """What the rounds over one lake were like. seconds, first_bytes and peaks: for each format."""

    rows: int
    copies: list[yardstick.Copied] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    first_bytes: list[float] = field(default_factory=list)
    peaks: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    tree_mb: float = 0.0

    def rates(self, fmt: str) -> list[float]:
        return [self.rows / seconds for seconds in self.seconds[fmt]]

    @property
    def process_mb(self) -> float:
        return max(self.peaks.values())


def measure(size: str) -> list[Row]:
    """The rows for the size's last lake, with the memory of the one before it."""
    measured = [_measure(plan) for plan in PLANS[size]]
    return _rows(measured[-1], measured[0] if len(measured) > 1 else None)


def _measure(plan: Plan) -> Measured:
    with scratch("export") as folder:
        data_dir = kept.lake_of(plan.homes)
        with lake.opened(Stores(data_dir)) as house:
            published, rows = lake.to_parquet(house, folder / "rows"), lake.rows(house)
        expected = sum(payload.states for payload in payloads(plan.homes, DAYS))
        if rows != expected:
            raise RuntimeError(f"the lake holds {rows} rows, uploaded were {expected}")
        with server.service(data_dir) as running:
            if not memory.settle(running.pid):
                print("  the service was still busy when the rounds began")
            return _rounds(plan, running, folder, Measured(published))


def _rounds(plan: Plan, running: server.Server, folder: Path, measured: Measured) -> Measured:
    for fmt in FORMATS:
        _check(running, fmt, folder, measured)
    yardstick.copy(folder / "rows", folder / "rows.csv")
    for number in range(1, plan.rounds + 1):
        measured.copies.append(yardstick.copy(folder / "rows", folder / "rows.csv"))
        print(f"  {measured.rows} rows, round {number}: DuckDB {measured.copies[-1].seconds:.2f} s", end="", flush=True)
        for what in FORMATS:
            one = _watched(running, what, measured)
            measured.seconds[what].append(one.seconds)
            print(
                f", {what} {one.seconds:.2f} s (first byte {one.first_byte_seconds * 1000:.0f} ms, {one.size} B)",
                end="",
                flush=True,
            )
        print()
    return measured


def _check(running: server.Server, fmt: str, folder: Path, measured: Measured) -> None:
    """One export that is not timed, to be unzipped and counted."""
    archive = folder / f"checked.{fmt}.zip"
    _watched(running, fmt, measured, archive)
    found = rows_in(archive, fmt)
    archive.unlink()
    if found != measured.rows:
        raise RuntimeError(f"the export as {fmt} holds {found} rows, not {measured.rows}")


def _watched(running: server.Server, fmt: str, measured: Measured, target: Path | None = None) -> Download:
    with memory.PeakMemory(running.pid) as peak:
        one = download(running.port, fmt, {}, target)
    measured.peaks[fmt] = max(measured.peaks[fmt], peak.process_mb)
    measured.tree_mb = max(measured.tree_mb, peak.tree_mb)
    measured.first_bytes.append(one.first_byte_seconds)
    return one


def _rows(full: Measured, smaller: Measured | None) -> list[Row]:
    copies = [copy.a_second for copy in full.copies]
    rows = [
        Row(
            f"full export over HTTP, zipped {fmt}, {full.rows / 1e6:.1f} M states",
            a_second(full.rates(fmt), "rows"),
            a_second(copies, "rows"),
            ratios(full.rates(fmt), copies),
            must=0.25 if fmt == "xml" else 0.40,
            ambition=0.7 if fmt == "xml" else 1.0,
        )
        for fmt in FORMATS
    ]
    return [*rows, *_memory(full, smaller), _first_byte(full)]


def _memory(full: Measured, smaller: Measured | None) -> list[Row]:
    duckdb_mb = max(copy.peak_mb for copy in full.copies)
    peaks = ", ".join(f"{what} {peak:.0f}" for what, peak in full.peaks.items())
    print(
        f"  peak of the largest process by export, MB: {peaks}; of the whole tree: {full.tree_mb:.0f}; DuckDB: {duckdb_mb:.0f}"
    )
    worker = Row(
        "peak memory of a worker",
        f"{full.process_mb:.0f} MB (tree {full.tree_mb:.0f} MB)",
        f"{duckdb_mb:.0f} MB",
        [full.process_mb],
        must=400,
        ambition=200,
        low_is_good=True,
        unit="MB",
    )
    if smaller is None:
        return [worker]
    sizes = f"{full.rows / 1e6:.1f} M states", f"{smaller.rows / 1e6:.1f} M states"
    flat = Row(
        f"the same at {sizes[0]} against {sizes[1]}: flat",
        f"{full.process_mb:.0f} MB",
        f"{smaller.process_mb:.0f} MB",
        [full.process_mb / smaller.process_mb],
        must=1.25,
        ambition=1.1,
        low_is_good=True,
    )
    return [worker, flat]


def _first_byte(full: Measured) -> Row:
    milliseconds = [seconds * 1000 for seconds in full.first_bytes]
    ours = f"{statistics.median(milliseconds):.0f} ms (slowest {max(milliseconds):.0f} ms)"
    return Row("first byte of the full export", ours, "", milliseconds, must=1000, ambition=100, low_is_good=True, unit="ms")
