"""The servers that a real CKAN needs, and CKAN itself."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

from tests.servers import Process, RedisServer, free_port, missing, program

HERE = Path(__file__).parent
INSTALLED = HERE / "venv" / "bin" / "python"


class Postgres(Process):
    """PostgreSQL with one database, in a folder that goes with it. It refuses to run as root, and so runs as another user."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        self._bin = found[-1].parent if found else Path(program("postgres", "apt-get install postgresql")).parent
        self._as_user: list[str] = []
        folder.mkdir()
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            self._as_user = [program("setpriv", "apt-get install util-linux"), f"--reuid={nobody.pw_uid}", "--clear-groups"]
            self._as_user.append(f"--regid={nobody.pw_gid}")
        settings = {"port": self.port, "unix_socket_directories": folder, "listen_addresses": "127.0.0.1", "fsync": "off"}
        told = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [*self._as_user, str(self._bin / "postgres"), "-D", str(folder / "data"), *told]
        super().__init__(command, folder, lambda: self._run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port)))
        made = ["-D", str(folder / "data"), "-A", "trust", "-U", "ckan", "-E", "UTF8", "--locale=C", "--no-sync"]
        assert self._run("initdb", *made)

    @property
    def url(self) -> str:
        return f"postgresql://ckan@127.0.0.1:{self.port}/postgres"

    def _run(self, name: str, *arguments: str) -> bool:
        command = [*self._as_user, str(self._bin / name), *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True).returncode == 0


class Ckan(Process):
    """A CKAN whose user `editor` is an editor of the organization `lab`. Files of more than 1 MB are too large for it."""

    def __init__(self, folder: Path, database: str, redis: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        if not INSTALLED.exists():
            missing(f"CKAN is missing: {HERE / 'install.sh'}")
        command = [str(INSTALLED), str(HERE / "portal.py"), database, redis, str(port), str(folder)]
        super().__init__(command, folder, self._answers)

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    def package(self, name: str) -> dict[str, object]:
        """Read a dataset as anybody may."""
        answer = requests.get(f"{self.url}/api/3/action/package_show", {"id": name}, timeout=20)
        return dict(answer.json()["result"])

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/api/3/action/status_show", timeout=10).ok
        except requests.ConnectionError:
            return False


@contextmanager
def ckan() -> Iterator[Ckan]:
    """Run a CKAN in a folder that every user may enter."""
    with ExitStack() as running:
        folder = Path(tempfile.mkdtemp(prefix="ckan", dir="/tmp"))  # PostgreSQL runs as another user
        running.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        servers: list[Process] = [
            database := Postgres(folder / "postgres"),
            redis := RedisServer(folder / "redis", appendonly="no"),
        ]
        servers.append(portal := Ckan(folder / "ckan", database.url, redis.url))
        for one in servers:
            one.start()
            running.callback(one.stop if one is database else one.kill)  # a killed PostgreSQL leaves shared memory
        yield portal
