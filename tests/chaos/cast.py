"""The processes of one installation: its stores, the proxies before them, the APIs and the housekeepers."""

from __future__ import annotations

import glob
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import psutil
from minio import Minio

from tests.chaos.proxy import Proxy
from tests.chaos.pushes import COLLECTION
from tests.conftest import ROOT
from tests.nginx import nginx_before
from tests.programs import Program, run
from tests.redis_cluster import Cluster, Guarded
from tests.servers import ACCESS_KEY, SECRET_KEY, MinioServer, Process, RedisServer, free_port, missing

STATE_SECONDS, OBJECTS_SECONDS = 1.0, 2.0
"""How long the service waits for one answer of a store."""
LEASE_SECONDS, FLUSH_SECONDS, PURGE_WAIT_SECONDS = 2.0, 8.0, 2.0
REDIS_PASSWORD = "r/dis:p@ss%word+"
BUCKET = "smarthouse"
PREFIX = "/lake"
"""Of every path behind nginx."""
QUOTA_BYTES = 64 << 20

SETTINGS = {
    "SMARTHOUSE_LEASE_SECONDS": str(LEASE_SECONDS),
    "SMARTHOUSE_FLUSH_TIMEOUT_SECONDS": str(FLUSH_SECONDS),
    "SMARTHOUSE_PURGE_WAIT_SECONDS": str(PURGE_WAIT_SECONDS),
    "SMARTHOUSE_CURATE_INTERVAL_SECONDS": "0.5",
    "SMARTHOUSE_EXPORT_PRIVACY": "raw",  # each state is its own
    "SMARTHOUSE_STREAM_SEGMENT_BYTES": "4000",
    "SMARTHOUSE_STREAM_TAIL_SECONDS": "1",
    "SMARTHOUSE_FREE_BYTES": "0",  # the disks are small, and are filled
    "SMARTHOUSE_PURGE_ANSWER_SECONDS": "0.1",  # the least: one that a fault has slowed down slows all that follow
    "SMARTHOUSE_QUOTA_BYTES": str(QUOTA_BYTES),
    "SMARTHOUSE_TRUSTED_PROXIES": "1",  # nginx, for a while
    "SMARTHOUSE_INGEST_RATE_HOME": "",
    "SMARTHOUSE_INGEST_RATE_ADDRESS": "",
    "SMARTHOUSE_RIGHTS_RATE_ADDRESS": "",
    "SMARTHOUSE_EXPORT_RATE_ADDRESS": "",
    "SMARTHOUSE_COLLECTION_RATE_ADDRESS": "",
}
_END_SECONDS = 60
_DISK_MIB = 256
_SMALLEST_WRITE = 512
_AWAKE = """
import runpy, select, sys, time
# faketime disturbs the call by which Python sleeps.
time.sleep = lambda seconds: select.select((), (), (), seconds)
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
_PARTS = ("api1", "api2", "housekeeper1", "housekeeper2")


class Disk:
    """A folder that can be filled up: a small file system of its own, or, where none may be mounted, a limit on the size of
    the files that its users write, which is an error of another number at the same places.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.mounted = _is_mounted(folder)
        self._limited: list[psutil.Process] = []

    def fill(self, users: list[psutil.Process]) -> None:
        if not self.mounted:
            self._limited = users
            self._limit(0)
            return
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            for size in (1 << 20, _SMALLEST_WRITE):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:
                    continue

    def free(self) -> None:
        self._limit(psutil.RLIM_INFINITY)
        (self.folder / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def _limit(self, size_bytes: int) -> None:
        for process in self._limited:
            _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
            process.rlimit(psutil.RLIMIT_FSIZE, (size_bytes, hard))


class Clock:
    """The system's clock, as some processes see it; the time since the machine's boot stays."""

    def __init__(self, folder: Path) -> None:
        if not (libraries := glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")):
            missing("faketime is missing: apt-get install faketime")
        self._file = folder / "clock"
        folder.mkdir(parents=True, exist_ok=True)
        self.jump(0)
        self.environment = {
            "LD_PRELOAD": libraries[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def jump(self, seconds: int) -> None:
        """Within a second it differs so much from the true one."""
        written = self._file.with_suffix(".new")
        written.write_text(f"{seconds:+}\n")
        written.replace(self._file)


class Part(Process):
    """A process of the service. clock: its own; then it starts without the nursery, which has the machine's."""

    _popen = Program

    def __init__(
        self, command: list[str], folder: Path, ready: Callable[[], bool], settings: dict[str, str], clock: Clock | None
    ) -> None:
        told = [sys.executable, *(("-c", _AWAKE) if clock else ("-m",)), *command]
        super().__init__(told, folder, ready, settings | (clock.environment if clock else {}))
        if clock:
            self._popen = subprocess.Popen


class Api(Part):
    """One gunicorn."""

    def __init__(self, folder: Path, settings: dict[str, str], clock: Clock | None = None) -> None:
        self.port, self.settings = free_port(), settings
        self.workers = int(settings["SMARTHOUSE_WORKERS"])
        command = ["gunicorn", "-c", str(ROOT / "config" / "gunicorn.py"), "wsgi:app"]
        environment = {**settings, "HOST": "127.0.0.1", "PORT": str(self.port)}
        super().__init__(command, folder, self.is_ready, environment, clock)

    def is_ready(self) -> bool:
        """Whether it and all its stores are."""
        return _is_200(f"http://127.0.0.1:{self.port}/health/ready")

    def is_live(self) -> bool:
        return len(self.worker_pids()) == self.workers and _is_200(f"http://127.0.0.1:{self.port}/health/live")

    def restart(self) -> None:
        """As an operator does: it answers what it has taken, and ends by itself."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(_END_SECONDS) == 0
        self.start()

    def worker_pids(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


class Housekeeper(Part):
    """One `smarthouse worker`."""

    def __init__(self, folder: Path, settings: dict[str, str], clock: Clock | None = None) -> None:
        super().__init__(["smarthouse_api.cli", "worker"], folder, lambda: True, settings, clock)


@dataclass
class Cast:
    """secrets: what no log and no answer may hold. redis, minio, proxies: of the production pair. key: an administrator's.
    group: of servers, instead of `redis`. clocks: those of its processes, if they have clocks of their own. ending: stops what
    was started, at the end.
    """

    pair: str
    folder: Path
    apis: list[Api]
    housekeepers: list[Housekeeper] = field(default_factory=list)
    redis: RedisServer | None = None
    minio: MinioServer | None = None
    proxies: dict[str, Proxy] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    key: str = ""
    group: Guarded | Cluster | None = None
    clocks: list[Clock] = field(default_factory=list)
    ending: ExitStack = field(default_factory=ExitStack)
    is_behind_nginx: bool = False

    def __post_init__(self) -> None:
        self._turns = itertools.count()
        self._read: dict[Path, int] = {}
        self._nginx = 0

    def way(self) -> tuple[int, str]:
        """Port and prefix of the way that a request takes: to each API in turn, or to nginx."""
        return (self._nginx, PREFIX) if self.is_behind_nginx else (self.port(), "")

    def port(self) -> int:
        """Of each API in turn."""
        return self.apis[next(self._turns) % len(self.apis)].port

    def go_behind_nginx(self) -> None:
        """From now on requests come through nginx, which stays for those that are under way when they no longer do."""
        if not self._nginx:
            folder = self.folder / "nginx"
            folder.mkdir()
            self._nginx = self.ending.enter_context(nginx_before([api.port for api in self.apis], folder))
        self.is_behind_nginx = True

    def logs(self) -> dict[str, Path]:
        parts = [
            *self.apis,
            *self.housekeepers,
            *filter(None, (self.redis, self.minio)),
            *(self.group.servers if self.group else ()),
        ]
        return {str(part.folder.relative_to(self.folder)): part.folder / "log" for part in parts}

    def new_log_lines(self) -> dict[str, str]:
        """What the service's own processes have written since this was last asked."""
        told = {}
        for part in (*self.apis, *self.housekeepers):
            path = part.folder / "log"
            with path.open("rb") as log:
                log.seek(self._read.get(path, 0))
                told[part.folder.name] = log.read().decode(errors="replace")
                self._read[path] = log.tell()
        return told


@contextmanager
def embedded(folder: Path, pair: str = "embedded", has_clocks: bool = False) -> Iterator[Cast]:
    """SQLite and a folder, each on a disk of its own; one gunicorn with two workers, who keep house themselves."""
    with ExitStack() as ending:
        clocks = [Clock(folder / "api")] if has_clocks else []
        disks = {name: Disk(folder / name) for name in ("state", "objects")}
        for disk in disks.values():
            ending.callback(disk.close)
        settings = SETTINGS | {
            "SMARTHOUSE_STATE_URL": f"sqlite://{disks['state'].folder}/state.db?timeout_seconds={STATE_SECONDS}",
            "SMARTHOUSE_OBJECTS_URL": f"file://{disks['objects'].folder}/objects",
            "SMARTHOUSE_WORKERS": "2",
        }
        api = Api(folder / "api", settings, *clocks)
        cast = Cast(pair, folder, [api], disks=disks, clocks=clocks, ending=ending)
        _start_all(cast.apis, ending)
        _prepare(cast, settings)
        yield cast


@contextmanager
def production(
    folder: Path,
    pair: str = "production",
    has_clocks: bool = False,
    made: Callable[[Path], Guarded | Cluster] | None = None,
) -> Iterator[Cast]:
    """Redis and MinIO, each behind a proxy; two gunicorns with a worker each, and two housekeepers.

    made: a group of servers instead of the one Redis, without a proxy.
    """
    with ExitStack() as ending:
        clocks = {name: Clock(folder / name) for name in _PARTS} if has_clocks else {}
        disk = Disk(folder / "disk")
        ending.callback(disk.close)
        group = made(folder / "redis") if made else None
        redis = None if group else RedisServer(folder / "redis", requirepass=REDIS_PASSWORD)
        minio = MinioServer(disk.folder / "minio")
        _start_all([redis, minio] if redis else [minio], ending)
        if group:
            ending.callback(group.kill)
            group.start()
        Minio(minio.endpoint, ACCESS_KEY, SECRET_KEY, secure=False).make_bucket(BUCKET)
        proxies = {"minio": Proxy(minio.port)} | ({"redis": Proxy(redis.port)} if redis else {})
        for proxy in proxies.values():
            ending.callback(proxy.close)
        url = group.url if group else f"redis://:{quote(REDIS_PASSWORD, safe='')}@127.0.0.1:{proxies['redis'].port}/0"
        settings = SETTINGS | {
            "SMARTHOUSE_ENV": "production",
            "SMARTHOUSE_STATE_URL": f"{url}{'&' if '?' in url else '?'}prefix=smarthouse&timeout_seconds={STATE_SECONDS}",
            "SMARTHOUSE_OBJECTS_URL": f"minio://{ACCESS_KEY}:{quote(SECRET_KEY, safe='')}@127.0.0.1:{proxies['minio'].port}"
            f"/{BUCKET}?secure=0&timeout_seconds={OBJECTS_SECONDS}",
            "SMARTHOUSE_WORKERS": "1",
            "SMARTHOUSE_HOUSEKEEPING": "worker",
            "SMARTHOUSE_PURGE_DELAY_SECONDS": "1",
        }
        cast = Cast(
            pair,
            folder,
            [Api(folder / name, settings, clocks.get(name)) for name in _PARTS[:2]],
            [Housekeeper(folder / name, settings, clocks.get(name)) for name in _PARTS[2:]],
            redis,
            minio,
            proxies,
            {"minio": disk},
            (REDIS_PASSWORD, quote(REDIS_PASSWORD, safe=""), SECRET_KEY, quote(SECRET_KEY, safe="")),
            group=group,
            clocks=[*clocks.values()],
            ending=ending,
        )
        _start_all([*cast.apis, *cast.housekeepers], ending)
        _prepare(cast, settings)
        yield cast


PAIRS: dict[str, Callable[[Path], AbstractContextManager[Cast]]] = {
    "embedded": embedded,
    "embedded, with clocks": partial(embedded, pair="embedded, with clocks", has_clocks=True),
    "production": production,
    "production, with clocks": partial(production, pair="production, with clocks", has_clocks=True),
    "sentinel": partial(production, pair="sentinel", made=lambda folder: Guarded(folder, REDIS_PASSWORD)),
    "cluster": partial(production, pair="cluster", made=lambda folder: Cluster(folder, replicas=3)),
}


def _start_all(processes: list[Process], ending: ExitStack) -> None:
    """Start them at once, to be stopped in the end: gently if they will, so that they take their folders along."""
    for process in processes:
        ending.callback(process.kill)
        ending.callback(_ask_to_stop, process)
    with ThreadPoolExecutor(len(processes)) as pool:
        list(pool.map(lambda process: process.start(), processes))


def _prepare(cast: Cast, settings: dict[str, str]) -> None:
    """A collection that knows repeated messages, and a key for it."""

    def command(*words: str) -> str:
        asked = [sys.executable, "-m", "smarthouse_api.cli", *words]
        return run(asked, env={**os.environ, **settings}, text=True, stdout=subprocess.PIPE, check=True).stdout

    command("collections", "create", COLLECTION, "--entry-topic", COLLECTION, "--dedup-key", "params.msgid")
    cast.key = command("keys", "create", "--name", "chaos", "--admin").strip()
    cast.secrets += (cast.key,)


def _ask_to_stop(process: Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        psutil.Process(process.pid).wait(timeout=3)
    except (AssertionError, ProcessLookupError, psutil.Error):
        return


def _is_mounted(folder: Path) -> bool:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs", str(folder)]
    try:
        return os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        return False


def _is_200(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
