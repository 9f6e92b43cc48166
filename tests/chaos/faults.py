"""The table of faults: each strikes when it is entered and heals when it is left."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import psutil

from tests.chaos.cast import LEASE_SECONDS, OBJECTS_SECONDS, QUOTA_BYTES, STATE_SECONDS, Cast
from tests.chaos.load import ask
from tests.chaos.trickle import Trickle
from tests.conftest import payload, state
from tests.servers import Process
from tests.waiting import soon

Strike = Callable[[Cast, random.Random], AbstractContextManager[None]]

_TIMEOUTS = {"redis": STATE_SECONDS, "minio": OBJECTS_SECONDS}
_START_SECONDS = 20
_TAKEN_OVER_SECONDS = 5
_KILLS_IN_TURN = 20
_FILLING_BYTES = (8 << 20, 1 << 20, 1 << 16, 1 << 10)
_MINUTES, _DAYS = (-600, 600), (-90000, 90000)
_READING = ("export", "read back", "consume")


@dataclass(frozen=True)
class Fault:
    """seconds: shortest and longest time that it lasts. kills_api: connections may be cut. bites: some upload must fail of it;
    False: none may. spares: requests that must not be refused. short: it is part of the suite's short form.
    """

    pair: str
    name: str
    strike: Strike
    seconds: tuple[float, float]
    bites: bool | None = True
    kills_api: bool = False
    spares: tuple[str, ...] = ()
    short: bool = False


@contextmanager
def _api_worker_killed(cast: Cast, chance: random.Random) -> Iterator[None]:
    api = chance.choice(cast.apis)
    os.kill(chance.choice(api.worker_pids()), signal.SIGKILL)
    yield
    soon(api.is_live, _START_SECONDS)


@contextmanager
def _killed(choose: Callable[[Cast], list[Process]], cast: Cast, chance: random.Random) -> Iterator[None]:
    process = chance.choice(choose(cast))
    process.kill()
    yield
    process.start()


@contextmanager
def _killed_in_turn(cast: Cast, chance: random.Random) -> Iterator[None]:
    """One after the other, whichever it is, and each again before it has found its feet."""
    for _ in range(_KILLS_IN_TURN):
        process = chance.choice([*_apis(cast), *_housekeepers(cast), *_redis(cast), *_minio(cast)])
        process.kill()
        time.sleep(chance.uniform(0, 0.2))
        process.start()
        time.sleep(chance.uniform(0, 0.2))
    yield


@contextmanager
def _frozen(choose: Callable[[Cast], list[Process]], cast: Cast, chance: random.Random) -> Iterator[None]:
    processes = choose(cast)
    for process in processes:
        process.pause()
    yield
    for process in processes:
        process.resume()


@contextmanager
def _proxied(store: str, mode: str, cast: Cast, chance: random.Random) -> Iterator[None]:
    cast.proxies[store].order(mode)
    yield
    cast.proxies[store].order("pass")


@contextmanager
def _redis_full(cast: Cast, chance: random.Random) -> Iterator[None]:
    assert cast.redis is not None
    with cast.redis.client() as client:
        client.config_set("maxmemory", 1)
        yield
        client.config_set("maxmemory", 0)


@contextmanager
def _disk_full(name: str, cast: Cast, chance: random.Random) -> Iterator[None]:
    users: list[Process] = [cast.minio] if cast.minio else [*cast.apis]
    cast.disks[name].fill([one for user in users for one in (psutil.Process(user.pid), *psutil.Process(user.pid).children())])
    yield
    cast.disks[name].free()


@contextmanager
def _sqlite_locked(cast: Cast, chance: random.Random) -> Iterator[None]:
    connection = sqlite3.connect(cast.disks["state"].folder / "state.db", isolation_level=None, timeout=5)
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("ROLLBACK")
    connection.close()


@contextmanager
def _quota_full(cast: Cast, chance: random.Random) -> Iterator[None]:
    """Of all homes, by one of them, until it wants to be forgotten."""
    home = {"Home-UUID": str(uuid.UUID(int=chance.getrandbits(128), version=4))}
    for size in _FILLING_BYTES:
        for _ in range(QUOTA_BYTES // size):
            one = state("weather.filler", str(chance.random()), at="2019-01-01T12:00:00+00:00")
            # Blanks fill the quota, and nothing else.
            body = zlib.compress(zlib.decompress(payload(one)).ljust(size), level=0)
            answer = ask(cast.port(), _START_SECONDS, "POST", "/api/ingest/data", body, **home)
            if answer.status != 200:
                assert answer.status == 503, (answer.status, answer.body[:300])
                assert b"keeps at most" in answer.body
                break
    yield
    soon(lambda: ask(cast.port(), _START_SECONDS, "DELETE", "/api/ingest/data", **home).status == 200, _START_SECONDS)


@contextmanager
def _clocks_jumped(offsets: tuple[int, ...], cast: Cast, chance: random.Random) -> Iterator[None]:
    """Each to somewhere else."""
    for clock in cast.clocks:
        clock.jump(chance.choice(offsets))
    yield
    for clock in cast.clocks:
        clock.jump(0)


@contextmanager
def _trickled_at(cast: Cast, chance: random.Random) -> Iterator[None]:
    with ExitStack() as held:
        slow = [held.enter_context(Trickle(api.port, chance)) for api in cast.apis]
        yield
        for one in slow:
            one.see_it_held()


@contextmanager
def _rolled(cast: Cast, chance: random.Random) -> Iterator[None]:
    """One API after the other is restarted behind nginx, as a new version is brought out."""
    cast.go_behind_nginx()
    for api in cast.apis:
        api.restart()
    yield
    cast.is_behind_nginx = False


@contextmanager
def _failed_over(cast: Cast, chance: random.Random) -> Iterator[None]:
    """A server of Redis dies, and its replica takes over: the service goes on before the dead one is back."""
    assert cast.group is not None
    cast.group.fail_over(chance)
    yield
    soon(lambda: all(api.is_ready() for api in cast.apis), _TAKEN_OVER_SECONDS)
    cast.group.heal()


def _proxied_faults(store: str) -> list[Fault]:
    """Of the way to one store. Each lasts longer than the store is waited for, that a slow answer is due to no limit."""
    timeout = _TIMEOUTS[store]
    lasting = (1.2 * timeout, 1.2 * timeout + 1.5)
    modes = {
        "is silent": ("silent", True),
        "stops in the middle of an answer": ("half", True),
        "answers slowly": (f"slow {0.1 * timeout}", False),
        "answers too slowly": (f"slow {1.5 * timeout}", True),
        "resets connections": ("reset", True),
        "refuses connections": ("refuse", True),
    }
    return [
        Fault("production", f"{store} {name}", partial(_proxied, store, mode), lasting, bites)
        for name, (mode, bites) in modes.items()
    ]


def _apis(cast: Cast) -> list[Process]:
    return [*cast.apis]


def _housekeepers(cast: Cast) -> list[Process]:
    return [*cast.housekeepers]


def _redis(cast: Cast) -> list[Process]:
    return [cast.redis] if cast.redis else []


def _minio(cast: Cast) -> list[Process]:
    return [cast.minio] if cast.minio else []


FAULTS = [
    Fault("embedded", "an API worker is killed", _api_worker_killed, (0.1, 1.0), bites=None, kills_api=True),
    Fault("embedded", "the API is killed", partial(_killed, _apis), (0.1, 0.5), kills_api=True),
    Fault("embedded", "everything is killed in turn", _killed_in_turn, (0.1, 0.5), kills_api=True),
    # SQLite goes on for a while in the room that its log has already.
    Fault("embedded", "the state's disk is full", partial(_disk_full, "state"), (1.0, 2.0), bites=None),
    Fault("embedded", "the objects' disk is full", partial(_disk_full, "objects"), (1.0, 2.0), short=True),
    Fault("embedded", "the state is locked", _sqlite_locked, (1.5 * STATE_SECONDS, 3 * STATE_SECONDS)),
    Fault("embedded", "the quota is full", _quota_full, (1.0, 2.0), spares=(*_READING, "push")),
    Fault("embedded", "requests trickle in", _trickled_at, (2.0, 4.0), False, spares=_READING),
    Fault(
        "embedded, with clocks", "the clocks jump by days", partial(_clocks_jumped, _DAYS), (2.0, 3.0), False, spares=_READING
    ),
    Fault("production", "redis is killed", partial(_killed, _redis), (0.2, 1.5), short=True),
    Fault("production", "minio is killed", partial(_killed, _minio), (0.2, 1.5)),
    Fault("production", "an API worker is killed", _api_worker_killed, (0.1, 1.0), bites=None, kills_api=True),
    Fault("production", "an API is killed", partial(_killed, _apis), (0.1, 0.5), kills_api=True),
    Fault("production", "a housekeeper is killed", partial(_killed, _housekeepers), (0.1, 1.0), bites=False),
    Fault("production", "everything is killed in turn", _killed_in_turn, (0.1, 0.5), kills_api=True),
    Fault(
        "production", "the housekeepers are frozen", partial(_frozen, _housekeepers), (LEASE_SECONDS, 2 * LEASE_SECONDS), False
    ),
    Fault("production", "redis is full", _redis_full, (1.0, 2.0)),
    Fault("production", "minio is full", partial(_disk_full, "minio"), (1.0, 2.0)),
    Fault("production", "the quota is full", _quota_full, (1.0, 2.0), spares=(*_READING, "push")),
    Fault("production", "requests trickle in", _trickled_at, (2.0, 4.0), False, spares=_READING),
    Fault("production", "the APIs are restarted behind nginx", _rolled, (0.1, 1.0), False),
    Fault("production, with clocks", "the clocks jump by minutes", partial(_clocks_jumped, _MINUTES), (2.0, 3.0), False),
    # MinIO refuses requests that are a quarter of an hour old, or to come.
    Fault("production, with clocks", "the clocks jump by days", partial(_clocks_jumped, _DAYS), (2.0, 3.0), None),
    Fault("sentinel", "the replica takes over", _failed_over, (2.0, 4.0)),
    Fault("cluster", "a replica takes over", _failed_over, (2.0, 4.0), None),  # of homes, or of something else
    *_proxied_faults("redis"),
    *_proxied_faults("minio"),
]
