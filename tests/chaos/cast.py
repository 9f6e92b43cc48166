"""The processes of one installation: its stores, the proxies before them, the APIs and the housekeepers."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import psutil
from minio import Minio

from tests.chaos.proxy import Proxy
from tests.chaos.pushes import COLLECTION
from tests.conftest import ROOT
from tests.programs import Program, run
from tests.servers import ACCESS_KEY, SECRET_KEY, MinioServer, Process, RedisServer, free_port

STATE_SECONDS, OBJECTS_SECONDS = 1.0, 2.0
"""How long the service waits for one answer of a store."""
LEASE_SECONDS, FLUSH_SECONDS, PURGE_WAIT_SECONDS = 2.0, 8.0, 2.0
REDIS_PASSWORD = "r/dis:p@ss%word+"
BUCKET = "smarthouse"

SETTINGS = {
    "SMARTHOUSE_LEASE_SECONDS": str(LEASE_SECONDS),
    "SMARTHOUSE_FLUSH_TIMEOUT_SECONDS": str(FLUSH_SECONDS),
    "SMARTHOUSE_PURGE_WAIT_SECONDS": str(PURGE_WAIT_SECONDS),
    "SMARTHOUSE_CURATE_INTERVAL_SECONDS": "0.5",
    "SMARTHOUSE_EXPORT_PRIVACY": "raw",  # each state is its own
    "SMARTHOUSE_FREE_BYTES": "0",  # the disks are small, and are filled
    "SMARTHOUSE_PURGE_ANSWER_SECONDS": "0",  # a fault must not slow down all that follow
    "SMARTHOUSE_INGEST_RATE_HOME": "",
    "SMARTHOUSE_INGEST_RATE_ADDRESS": "",
    "SMARTHOUSE_EXPORT_RATE_ADDRESS": "",
    "SMARTHOUSE_COLLECTION_RATE_ADDRESS": "",
}
_DISK_MIB = 256
_SMALLEST_WRITE = 512


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


class Api(Process):
    """One gunicorn."""

    _popen = Program

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.port, self.settings = free_port(), settings
        self.workers = int(settings["SMARTHOUSE_WORKERS"])
        command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "config" / "gunicorn.py"), "wsgi:app"]
        environment = {**settings, "HOST": "127.0.0.1", "PORT": str(self.port)}
        super().__init__(command, folder, self.is_ready, environment)

    def is_ready(self) -> bool:
        """Whether it and all its stores are."""
        return _is_200(f"http://127.0.0.1:{self.port}/health/ready")

    def is_live(self) -> bool:
        return len(self.worker_pids()) == self.workers and _is_200(f"http://127.0.0.1:{self.port}/health/live")

    def worker_pids(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


class Housekeeper(Process):
    """One `smarthouse worker`."""

    _popen = Program

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        super().__init__([sys.executable, "-m", "smarthouse_api.cli", "worker"], folder, lambda: True, settings)


@dataclass
class Cast:
    """secrets: what no log and no answer may hold. redis, minio, proxies: of the production pair. key: an administrator's."""

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

    def __post_init__(self) -> None:
        self._turns = itertools.count()
        self._read: dict[Path, int] = {}

    def port(self) -> int:
        """Of each API in turn."""
        return self.apis[next(self._turns) % len(self.apis)].port

    def logs(self) -> dict[str, Path]:
        parts = [*self.apis, *self.housekeepers, *filter(None, (self.redis, self.minio))]
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
def embedded(folder: Path) -> Iterator[Cast]:
    """SQLite and a folder, each on a disk of its own; one gunicorn with two workers, who keep house themselves."""
    with ExitStack() as ending:
        disks = {name: Disk(folder / name) for name in ("state", "objects")}
        for disk in disks.values():
            ending.callback(disk.close)
        settings = SETTINGS | {
            "SMARTHOUSE_STATE_URL": f"sqlite://{disks['state'].folder}/state.db?timeout_seconds={STATE_SECONDS}",
            "SMARTHOUSE_OBJECTS_URL": f"file://{disks['objects'].folder}/objects",
            "SMARTHOUSE_WORKERS": "2",
        }
        cast = Cast("embedded", folder, [Api(folder / "api", settings)], disks=disks)
        _start_all(cast.apis, ending)
        _prepare(cast, settings)
        yield cast


@contextmanager
def production(folder: Path) -> Iterator[Cast]:
    """Redis and MinIO, each behind a proxy; two gunicorns with a worker each, and two housekeepers."""
    with ExitStack() as ending:
        disk = Disk(folder / "disk")
        ending.callback(disk.close)
        redis = RedisServer(folder / "redis", requirepass=REDIS_PASSWORD)
        minio = MinioServer(disk.folder / "minio")
        _start_all([redis, minio], ending)
        Minio(minio.endpoint, ACCESS_KEY, SECRET_KEY, secure=False).make_bucket(BUCKET)
        proxies = {"redis": Proxy(redis.port), "minio": Proxy(minio.port)}
        for proxy in proxies.values():
            ending.callback(proxy.close)
        settings = SETTINGS | {
            "SMARTHOUSE_ENV": "production",
            "SMARTHOUSE_STATE_URL": f"redis://:{quote(REDIS_PASSWORD, safe='')}@127.0.0.1:{proxies['redis'].port}/0"
            f"?prefix=smarthouse&timeout_seconds={STATE_SECONDS}",
            "SMARTHOUSE_OBJECTS_URL": f"minio://{ACCESS_KEY}:{quote(SECRET_KEY, safe='')}@127.0.0.1:{proxies['minio'].port}"
            f"/{BUCKET}?secure=0&timeout_seconds={OBJECTS_SECONDS}",
            "SMARTHOUSE_WORKERS": "1",
            "SMARTHOUSE_HOUSEKEEPING": "worker",
            "SMARTHOUSE_PURGE_DELAY_SECONDS": "1",
        }
        cast = Cast(
            "production",
            folder,
            [Api(folder / f"api{number}", settings) for number in (1, 2)],
            [Housekeeper(folder / f"housekeeper{number}", settings) for number in (1, 2)],
            redis,
            minio,
            proxies,
            {"minio": disk},
            (REDIS_PASSWORD, quote(REDIS_PASSWORD, safe=""), SECRET_KEY, quote(SECRET_KEY, safe="")),
        )
        _start_all([*cast.apis, *cast.housekeepers], ending)
        _prepare(cast, settings)
        yield cast


PAIRS: dict[str, Callable[[Path], object]] = {"embedded": embedded, "production": production}


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
