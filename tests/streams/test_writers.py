"""Many writers on one stream of the real service, while its workers are killed."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from config.settings import Settings
from smarthouse_api.house import House
from tests.conftest import ROOT, Server
from tests.programs import run
from tests.streams.conftest import Recorder
from tests.waiting import soon

WRITERS = 16
KILLS = 3
STREAM = "homes/7/smartModules/m/streams/s"


@dataclass
class Written:
    """What the writers sent and were told, and what a reader of the status saw."""

    sent: set[bytes] = field(default_factory=set)
    told: dict[int, bytes] = field(default_factory=dict)
    seen: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Writing:
    """Sixteen writers without a pause. Half of them repeat under a key what was not answered; the others let it be."""

    def __init__(self, server: Server, key: str) -> None:
        self._url, self._headers = f"{server.url}/{STREAM}", {"Authorization": f"ModeCloud {key}"}
        self._over = threading.Event()
        self.written = Written()
        threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        self._threads = [*threads, threading.Thread(target=self._watch)]

    def __enter__(self) -> Writing:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Until so many more packets were acknowledged."""
        wanted = len(self.written.told) + more
        soon(lambda: len(self.written.told) >= wanted or self.written.faults, 30)

    def _write(self, writer: int) -> None:
        dice, count = random.Random(writer), 0
        with requests.Session() as session:
            while not self._over.is_set():
                data = b"%d-%d" % (writer, count)
                count += 1
                self.written.sent.add(data)
                insists = bool(writer % 2)
                headers = {**self._headers, **({"Idempotency-Key": f"{writer}-{count}"} if insists else {})}
                while (start := self._post(session, data, headers)) is None and insists and not self._over.is_set():
                    self._over.wait(dice.uniform(0, 0.02))
                if start is None:
                    continue
                if self.written.told.setdefault(start, data) != data:
                    self.written.faults.append(f"index {start} was told for {self.written.told[start]!r} and {data!r}")

    def _post(self, session: requests.Session, data: bytes, headers: dict[str, str]) -> int | None:
        try:
            answer = session.post(f"{self._url}/data", data=data, headers=headers, timeout=20)
        except requests.RequestException:
            return None
        if answer.status_code == 503:
            return None
        if answer.status_code != 201 or answer.json()["start"] != answer.json()["stop"]:
            self.written.faults.append(f"{answer.status_code} {answer.text}")
            return None
        return int(answer.json()["start"])

    def _watch(self) -> None:
        with requests.Session() as session:
            while not self._over.wait(0.01):
                known = max(self.written.told, default=-1)
                try:
                    answer = session.get(f"{self._url}/status", headers=self._headers, timeout=20)
                except requests.RequestException:
                    continue
                if answer.status_code == 200:
                    index = answer.json()["packetIndex"]
                    if index < max(known, max(self.written.seen, default=-1)):
                        self.written.faults.append(f"packetIndex {index} after {known} was told")
                    self.written.seen.append(index)


@pytest.fixture(params=["embedded_pair", "production_pair"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Stores that processes can share, and settings under which packets are soon sealed."""
    changed = {
        "SMARTHOUSE_DATA_DIR": str(tmp_path / "data"),
        "SMARTHOUSE_STREAM_SEGMENT_BYTES": "1024",
        "SMARTHOUSE_CURATE_INTERVAL_SECONDS": "0.1",
        "SMARTHOUSE_LEASE_SECONDS": "0.5",
    }
    return {**changed, **request.getfixturevalue(request.param)}


@pytest.fixture
def running(pair: dict[str, str]) -> Iterator[Server]:
    server = Server(pair).start()
    yield server
    server.kill()


def made_key(pair: dict[str, str]) -> str:
    """The text of a new admin key, as an operator gets it."""
    told = run(
        [sys.executable, "-m", "smarthouse_api.cli", "keys", "create", "--admin", "--name", "t"],
        cwd=ROOT,
        env={**os.environ, **pair},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return told.stdout.strip()


def fetched(server: Server, headers: dict[str, str], stop: int) -> bytes | None:
    """Download the packets; None if that was broken off, as where a busy machine misses a lease as short as this one."""
    try:
        return requests.get(f"{server.url}/{STREAM}/data?start=0&stop={stop}", headers=headers, timeout=20).content
    except requests.RequestException:
        return None


def test_every_acknowledged_packet_is_kept_once_though_workers_are_killed(running: Server, pair: dict[str, str]) -> None:
    key = made_key(pair)
    headers = {"Authorization": f"ModeCloud {key}"}
    assert requests.put(f"{running.url}/{STREAM}", headers=headers, timeout=20).status_code == 201
    with Writing(running, key) as writing:
        for _ in range(KILLS):
            writing.wait_for(100)
            before = running.workers()
            victim = random.choice(before)
            os.kill(victim, signal.SIGKILL)
            soon(lambda before=before, victim=victim: len(now := running.workers()) == len(before) and victim not in now)
        writing.wait_for(100)
    written = writing.written
    assert written.faults == []

    house = House(Settings.from_env(pair))
    try:
        recorder = Recorder(house, house.streams.catalogue.find(7, "m", "s"))
        kept = recorder.packets()
        # Every packet that was acknowledged is there, at the index that was told.
        assert {index: kept.get(index) for index in written.told} == written.told
        # No index is left out, and no packet is there that nobody sent, or twice.
        assert list(kept) == list(range(recorder.status().packet_index + 1))
        assert set(kept.values()) <= written.sent
        assert len(set(kept.values())) == len(kept)
        recorder.maintain()
        assert recorder.segments()
        assert recorder.packets() == kept
    finally:
        house.close()
    assert soon(lambda: fetched(running, headers, max(kept))) == b"".join(kept[index] for index in sorted(kept))
    assert written.seen == sorted(written.seen)
