"""Uploads while four exports run, against uploads while none runs: the 99th centile of their times, on both pairs of stores.

As many uploads are due each second as when 5,000 homes upload within a minute, which two cores sustain alone. Each one's time
begins when it is due, however slow those before it are. Four clients read full exports of 1 M states, a format each, one after
another. All share the machine: the service with two workers, `smarthouse worker`, the stores, the clients. A part of a round is
longer than the pause of the housekeeper, so that uploads are brought into the lake in each part.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from benchmarks import kept, lake, load, server
from benchmarks.homes import STATES_OF_A_NIGHTLY_UPLOAD, Payload, payloads
from benchmarks.paths import ROOT, scratch
from benchmarks.stores import FSYNCS, Production, Stores
from benchmarks.table import Row, ratios

FORMATS: Final = ("parquet", "csv", "jsonl", "json")
CONNECTIONS: Final = 64
ALONE: Final = "no export"
BESIDE: Final = f"{len(FORMATS)} exports"
_BUFFER: Final = 1 << 20
_BEGUN_SECONDS: Final = 60
_STOP_SECONDS: Final = 20


@dataclass(frozen=True)
class Plan:
    """homes: that upload, once a day of their own time. a_second: uploads that are due. seconds: of each part of a round."""

    homes: int
    days: int
    a_second: float
    seconds: float
    rounds: int
    lake: str

    @property
    def uploads(self) -> int:
        """Those of a part of a round."""
        return int(self.a_second * self.seconds)


PLANS: Final = {
    "quick": Plan(40, 4, 20, 1, 1, "quick"),
    "small": Plan(1000, 4, 5000 / 60, 8, 2, "small"),
    "1m": Plan(1000, 7, 5000 / 60, 16, 2, "1m"),
    "6m": Plan(1000, 7, 5000 / 60, 16, 2, "1m"),
}


def measure(size: str) -> list[Row]:
    """A row for each pair of stores."""
    plan = PLANS[size]
    prepared = payloads(plan.homes, plan.days, STATES_OF_A_NIGHTLY_UPLOAD)
    with scratch("beside") as folder:
        filled = Stores(folder / "embedded")
        shutil.copytree(kept.lake_of(kept.HOMES[plan.lake]), filled.data_dir)
        embedded = _row(plan, "embedded", filled, prepared)
        with Production(folder / "servers") as production:
            stores = production.stores("beside", FSYNCS[-1])
            lake.fill(stores, payloads(kept.HOMES[plan.lake], kept.DAYS), "Redis and MinIO")
            return [embedded, _row(plan, f"Redis ({FSYNCS[-1]}) and MinIO", stores, prepared)]


def _row(plan: Plan, name: str, stores: Stores, prepared: list[Payload]) -> Row:
    rounds = defaultdict[str, list[load.Outcome]](list)
    settings = {**stores.settings, "SMARTHOUSE_HOUSEKEEPING": "worker", "SMARTHOUSE_WORKERS": "2"}
    parts = [prepared[at : at + plan.uploads] for at in range(0, len(prepared), plan.uploads)]
    with server.service(stores.data_dir, settings) as service, _worker(stores.data_dir, settings):
        _upload(plan, service.port, parts.pop())
        for number in range(1, plan.rounds + 1):
            rounds[ALONE].append(_upload(plan, service.port, parts.pop()))
            with Readers(service.port):
                rounds[BESIDE].append(_upload(plan, service.port, parts.pop()))
            for what, outcomes in rounds.items():
                last = outcomes[-1]
                told = f"median {last.median_ms:.1f} ms, p99 {last.p99_ms:.1f} ms, {last.answers} answers"
                print(f"  {name}, round {number}, {what}: {told}, generator {last.busy:.0%} busy", flush=True)
    beside, alone = ([one.p99_ms for one in rounds[what]] for what in (BESIDE, ALONE))
    return Row(
        f"upload p99 while {len(FORMATS)} exports run, {plan.a_second:.0f} uploads/s, {name}: over none running",
        f"{_listed(beside)} ms",
        f"{_listed(alone)} ms",
        ratios(beside, alone),
        must=4,
        ambition=2,
        low_is_good=True,
    )


def _listed(milliseconds: list[float]) -> str:
    return ", ".join(f"{one:.0f}" for one in milliseconds)


def _upload(plan: Plan, port: int, some: list[Payload]) -> load.Outcome:
    return load.run(port, some, plan.seconds, a_second=plan.a_second, connections=CONNECTIONS)


@contextmanager
def _worker(data_dir: Path, settings: Mapping[str, str]) -> Iterator[None]:
    """`smarthouse worker` on the stores."""
    ours = {"SMARTHOUSE_DATA_DIR": str(data_dir), **settings}
    process = subprocess.Popen(
        [sys.executable, "-m", "smarthouse_api.cli", "worker"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("SMARTHOUSE_")} | ours,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError(f"the worker ended with {process.returncode}")
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Readers:
    """A context in which each format's export is read, over and over. RuntimeError if one did not give its bytes meanwhile."""

    def __init__(self, port: int) -> None:
        self._port, self._stop = port, threading.Event()
        self._read, self._faults = dict.fromkeys(FORMATS, 0), list[str]()
        self._threads = [threading.Thread(target=self._read_on, args=(one,), daemon=True) for one in FORMATS]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        until = time.monotonic() + _BEGUN_SECONDS
        while not (all(self._read.values()) or self._faults) and time.monotonic() < until:
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._faults or not all(self._read.values()):
            raise RuntimeError(f"exports went wrong: {self._faults or self._read}")

    def _read_on(self, fmt: str) -> None:
        try:
            while not self._stop.is_set():
                self._read_one(fmt)
        except (OSError, http.client.HTTPException, RuntimeError) as fault:
            self._faults.append(f"{fmt}: {fault!r}")

    def _read_one(self, fmt: str) -> None:
        connection = http.client.HTTPConnection(server.HOST, self._port, timeout=load.ANSWER_SECONDS)
        try:
            connection.request("GET", f"/api/export/{fmt}")
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise RuntimeError(f"answered with {response.status}: {response.read(500)!r}")
            while not self._stop.is_set() and (some := response.read1(_BUFFER)):
                self._read[fmt] += len(some)
        finally:
            connection.close()
