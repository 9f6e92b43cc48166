"""The yardstick of appends: redis-py's `XADD` past the service, each connection in a process, and to a stream, of its own.

Processes, because threads share one interpreter, which is busy packing commands. `python -m benchmarks.xadd`, with a `Load` as
JSON on its standard input; the answer is a `Count` as JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import redis

from benchmarks.paths import ROOT

FIELD: Final = "v"
FORK: Final = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Load:
    """From each of the connections, `XADD` packets of `size` bytes for `seconds`; batch: commands in one pipeline."""

    port: int
    seconds: float
    batch: int
    size: int
    connections: int


@dataclass(frozen=True)
class Count:
    packets: int
    seconds: float

    @property
    def a_second(self) -> float:
        return self.packets / self.seconds


def run(load: Load) -> Count:
    """Add packets from processes of their own. The streams are gone afterwards."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.xadd"],
        input=json.dumps(asdict(load)),
        text=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        timeout=load.seconds + 300,
    )
    return Count(**json.loads(done.stdout))


def _one(load: Load, key: str, start: Any, told: Any) -> None:
    """Tell how many packets were acknowledged, and when the first was sent and the last answer came."""
    client = redis.Redis(port=load.port, protocol=2)
    client.ping()
    add, packets = _adding(client, key, os.urandom(load.size), load.batch), 0
    start.wait()
    started = time.perf_counter()
    until = started + load.seconds
    while time.perf_counter() < until:
        add()
        packets += load.batch
    told.put((packets, started, time.perf_counter()))


def _adding(client: redis.Redis, key: str, packet: bytes, batch: int) -> Callable[[], object]:
    def many() -> object:
        pipeline = client.pipeline(transaction=False)
        for _ in range(batch):
            pipeline.xadd(key, {FIELD: packet})
        return pipeline.execute()

    return many if batch > 1 else lambda: client.xadd(key, {FIELD: packet})


def main() -> None:
    load = Load(**json.load(sys.stdin))
    keys = [f"benchmark/{number}" for number in range(load.connections)]
    start, told = FORK.Barrier(load.connections), FORK.Queue()
    processes = [FORK.Process(target=_one, args=(load, key, start, told), daemon=True) for key in keys]
    for process in processes:
        process.start()
    counts = [told.get(timeout=load.seconds + 60) for _ in processes]
    for process in processes:
        process.join()
    redis.Redis(port=load.port).unlink(*keys)
    packets, started, ended = zip(*counts, strict=True)
    print(json.dumps(asdict(Count(sum(packets), max(ended) - min(started)))))


if __name__ == "__main__":
    main()
