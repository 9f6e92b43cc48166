"""A real Home Assistant and a real service, each a program of its own, on free ports of this machine, in folders of a test."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import aiohttp
import jwt

HERE: Final = Path(__file__).parent.parent
ROOT: Final = HERE.parent.parent
_OWNER, _TOKEN_ID, _KEY = "0" * 31 + "1", "0" * 31 + "2", "k" * 128
_PATIENCE_SECONDS: Final = 90.0

# Home Assistant 2026.2 asks for Python 3.13.2 at its start. The rest of it runs on any 3.13.
_START: Final = "import sys, homeassistant.__main__ as m; m.validate_python = lambda: None; sys.exit(m.main())"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(is_ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if is_ready():
            return
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {_PATIENCE_SECONDS:g} seconds")


class Program:
    """A program in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _run(self, command: list[str], cwd: Path, environment: dict[str, str], is_ready: Callable[[], bool]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "program.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(is_ready, f"{type(self).__name__}")
        except AssertionError:
            self.stop()
            print((self.folder / "program.log").read_text(errors="replace")[-5000:])
            raise

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        os.killpg(self._process.pid, how)
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=30)
        self._process = None


class Lake(Program):
    """The service, as `make run` starts it, in the environment of the repository's root."""

    def start(self) -> Lake:
        clean = {name: text for name, text in os.environ.items() if not name.startswith(("SMARTHOUSE_", "PYTHON"))}
        told = {
            "SMARTHOUSE_DATA_DIR": str(self.folder / "lake"),
            "SMARTHOUSE_CONSENT_REQUIRED": "true",
            "SMARTHOUSE_INGEST_STRICT": "true",
            "SMARTHOUSE_WORKERS": "1",
            "PORT": str(self.port),
            "HOST": "127.0.0.1",
        }
        command = [str(ROOT / ".venv/bin/python"), "-m", "gunicorn", "-c", "config/gunicorn.py", "wsgi:app"]
        self._run(command, ROOT, {**clean, **told}, self._is_ready)
        return self

    def _is_ready(self) -> bool:
        try:
            with urlopen(f"{self.url}/health/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def get(self, path: str) -> bytes:
        with urlopen(f"{self.url}{path}", timeout=60) as answer:
            return bytes(answer.read())


class Core(Program):
    """Home Assistant with recorder, REST and websocket, without its web pages."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._token = ""
        self._pages = str(folder / "frontend")

    def prepare(self) -> None:
        """Write a configuration that starts without the questions to a new owner, and install the integration."""
        storage = self.folder / ".storage"
        storage.mkdir(parents=True)
        now = datetime.now(UTC)
        user = {
            "id": _OWNER,
            "group_ids": ["system-admin"],
            "is_owner": True,
            "is_active": True,
            "name": "Test",
            "system_generated": False,
            "local_only": False,
        }
        token = {
            "id": _TOKEN_ID,
            "user_id": _OWNER,
            "client_id": None,
            "client_name": "test",
            "client_icon": None,
            "token_type": "long_lived_access_token",
            "created_at": now.isoformat(),
            "access_token_expiration": timedelta(days=1).total_seconds(),
            "token": "t" * 128,
            "jwt_key": _KEY,
            "last_used_at": None,
            "last_used_ip": None,
            "expire_at": None,
            "credential_id": None,
            "version": "1",
        }
        groups = [{"id": f"system-{name}", "name": name} for name in ("admin", "users", "read-only")]
        auth = {"users": [user], "groups": groups, "credentials": [], "refresh_tokens": [token]}
        done = {"done": ["user", "core_config", "analytics", "integration"]}
        for name, version, data in (("auth", 1, auth), ("onboarding", 4, done)):
            text = json.dumps({"version": version, "minor_version": 1, "key": name, "data": data})
            (storage / name).write_text(text)
        moment = int(now.timestamp())
        claims = {"iss": _TOKEN_ID, "iat": moment, "exp": moment + 86400}
        self._token = jwt.encode(claims, _KEY, algorithm="HS256")
        (self.folder / "configuration.yaml").write_text(
            "homeassistant:\n  name: Invented home\n  latitude: 41.149612\n  longitude: -8.610987\n  elevation: 0\n"
            "  unit_system: metric\n  time_zone: Europe/Lisbon\n  country: PT\n"
            f"http:\n  server_host: 127.0.0.1\n  server_port: {self.port}\n"
            "api:\nwebsocket_api:\nconfig:\nhistory:\nrecorder:\n  commit_interval: 1\n"
        )
        installed = self.folder / "custom_components/smarthouse"
        shutil.copytree(HERE / "custom_components/smarthouse", installed, ignore=shutil.ignore_patterns("__pycache__"))
        self._write_frontend(self.folder / "frontend/hass_frontend")

    @staticmethod
    def _write_frontend(folder: Path) -> None:
        """Stand in for the package of the web pages, which the core asks for and no test needs."""
        for name in ("static", "frontend_latest", "frontend_es5"):
            (folder / name).mkdir(parents=True)
        for name in ("index.html", "authorize.html", "onboarding.html", "robots.txt"):
            (folder / name).write_text("")
        (folder / "__init__.py").write_text("import pathlib\n\n\ndef where():\n    return pathlib.Path(__file__).parent\n")

    def start(self) -> Core:
        environment = {**os.environ, "PYTHONPATH": self._pages}
        self._run(
            [sys.executable, "-c", _START, "-c", str(self.folder), "--skip-pip"], self.folder, environment, self._is_running
        )
        return self

    def _is_running(self) -> bool:
        try:
            return bool(self.ask("GET", "/api/config")["state"] == "RUNNING")
        except (URLError, OSError):
            return False

    def ask(self, method: str, path: str, given: Any = None) -> Any:
        """Ask the REST API."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if given is None else json.dumps(given).encode()
        try:
            with urlopen(Request(self.url + path, data, headers, method=method), timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except HTTPError as fault:
            raise AssertionError(f"{method} {path}: {fault.code} {fault.read()[:500]!r}") from None

    def command(self, **given: Any) -> Any:
        """Send one command over the websocket."""
        # `asyncio.run` would take the loop away that the tests after this one get.
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(self._command(given))
        finally:
            loop.close()

    async def _command(self, given: dict[str, Any]) -> Any:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{self.url}/api/websocket") as socket_:
            await socket_.receive_json()
            await socket_.send_json({"type": "auth", "access_token": self._token})
            assert (await socket_.receive_json())["type"] == "auth_ok"
            await socket_.send_json({"id": 1, **given})
            told = await socket_.receive_json()
            assert told["success"], told
            return told["result"]

    def flow(self, path: str, begin: dict[str, Any], *steps: dict[str, Any]) -> dict[str, Any]:
        """Go through a dialogue, as the browser does."""
        told = self.ask("POST", path, begin)
        for given in steps:
            assert not told.get("errors"), told
            told = self.ask("POST", f"{path}/{told['flow_id']}", given)
        return dict(told)

    def press(self, name: str) -> None:
        self.ask("POST", "/api/services/button/press", {"entity_id": f"button.smarthouse_{name}"})

    def shown(self, name: str) -> str:
        return str(self.ask("GET", f"/api/states/sensor.smarthouse_{name}")["state"])
