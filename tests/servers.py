"""The real servers that the tests start: on free loopback ports, in folders of their own, and stopped by their process.

A part that this machine has not is a skip with the reason; with `CI=true` it is a failure.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import urlopen

import redis

READY_SECONDS = 30
ACCESS_KEY, SECRET_KEY = "smarthouse", "an/other+secret=%"


def missing(reason: str) -> NoReturn:
    """Skip the test, because this machine has not what it needs."""
    import pytest  # here, for the benchmarks, which start the same servers and have no use for it

    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def program(name: str, install: str) -> str:
    """Where the program is; or a skip that tells how it is installed. Go's own folder for programs counts too."""
    places = [
        os.environ.get("PATH", ""),
        os.environ.get("GOBIN", ""),
        str(Path(os.environ.get("GOPATH", Path.home() / "go"), "bin")),
        "/usr/sbin",  # not every user's path has it
    ]
    found = shutil.which(name, path=os.pathsep.join(filter(None, places)))
    return found or missing(f"{name} is missing: {install}")


class Process:
    """A server in a process group of its own. What it prints goes to `log` in its folder."""

    ready_seconds: float = READY_SECONDS
    _popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen

    def __init__(
        self, command: Sequence[str], folder: Path, ready: Callable[[], bool], env: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self._command, self._ready, self._env = command, ready, env or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = self._popen(
                self._command,
                cwd=self.folder,
                env={**os.environ, **self._env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.ready_seconds
        while not self._ready():
            if time.monotonic() > deadline or (self._process is not None and self._process.poll() is not None):
                tail = (self.folder / "log").read_text(errors="replace")[-2000:]
                self.kill()
                raise AssertionError(f"{self._command[0]} did not become ready:\n{tail}")
            time.sleep(0.01)

    def kill(self) -> None:
        """`kill -9` of it and of all that it started."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """From now on it takes connections and answers nothing, until `resume`."""
        os.killpg(self.pid, signal.SIGSTOP)
        # Each thread stops by itself. Until the last has, the server may answer one more request.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, how)
            os.killpg(self._process.pid, signal.SIGCONT)
            self._process.wait(timeout=READY_SECONDS)
        self._process = None


class RedisServer(Process):
    """`redis-server` that writes every change to its log before it answers. options: of its command line, by name."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.port = int(options.pop("port", 0)) or free_port()
        self.password = options.get("requirepass")
        options = {"appendonly": "yes", "appendfsync": "always", "save": "", **options}
        told = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
        command = [program("redis-server", "apt-get install redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"]
        super().__init__([*command, "--dir", str(folder), *told], folder, self._answers)

    @property
    def url(self) -> str:
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """A connection of the test's own, past what is under test."""
        return redis.Redis(port=self.port, password=self.password)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class MinioServer(Process):
    """MinIO on one folder, `data` below its own. env: further settings of its, by variable."""

    def __init__(self, folder: Path, port: int = 0, **env: str) -> None:
        self.port = port or free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        binary = program("minio", "go install github.com/minio/minio@latest")
        command = [binary, "server", "--quiet", "--address", self.endpoint, "--console-address", f"127.0.0.1:{free_port()}"]
        settings = {
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
            "MINIO_BROWSER": "off",
            "HOME": str(folder),
        }
        super().__init__(
            [*command, str(folder / "data")],
            folder,
            lambda: _ok(f"http://{self.endpoint}/minio/health/ready"),
            {**settings, **env},
        )

    def url(self, bucket: str) -> str:
        """Of an object store in the bucket."""
        return f"minio://{quote(ACCESS_KEY, safe='')}:{quote(SECRET_KEY, safe='')}@{self.endpoint}/{bucket}?secure=0"

    @property
    def data(self) -> Path:
        return self.folder / "data"


class MotoServer(Process):
    """moto's S3, in memory: the second opinion."""

    def __init__(self, folder: Path) -> None:
        try:
            import moto.server  # noqa: F401
        except ImportError:
            missing("moto is missing: pip install 'moto[s3]'")
        self.port = free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        super().__init__(command, folder, lambda: _ok(f"http://{self.endpoint}/moto-api/"))


def _ok(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except HTTPError:
        return False
    except (URLError, OSError):
        return False
