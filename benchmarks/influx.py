"""The yardstick of collections: InfluxDB 1.6, Debian's `influxd`, on a free loopback port and in a folder of its own.

Its write-ahead log waits for the disk at each write (`wal-fsync-delay = "0s"`, its default), as Redis does with `appendfsync
always`. It does not bring its cache into files meanwhile: as for the service, only acceptance is timed. It tells nobody of
itself, keeps no statistics, and logs no request.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from benchmarks.server import HOST
from tests.servers import Process, free_port

DATABASE: Final = "benchmark"
MISSING: Final = "influxd is missing, and what is held against it is left out: apt-get install influxdb"
WRITE: Final = f"/write?db={DATABASE}&precision=ns"
_PLACES: Final = os.pathsep.join((os.environ.get("PATH", ""), "/usr/bin", "/usr/sbin", "/usr/local/bin"))
_ANSWER_SECONDS: Final = 120
_CONFIGURATION: Final = """
reporting-disabled = true
bind-address = "{host}:{rpc_port}"

[meta]
  dir = "{folder}/meta"
  logging-enabled = false

[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  wal-fsync-delay = "0s"
  query-log-enabled = false
  cache-max-memory-size = 8589934592
  cache-snapshot-memory-size = 8589934592
  cache-snapshot-write-cold-duration = "24h"

[monitor]
  store-enabled = false

[subscriber]
  enabled = false

[continuous_queries]
  enabled = false

[http]
  bind-address = "{host}:{port}"
  auth-enabled = false
  log-enabled = false
  suppress-write-log = true
  max-row-limit = 0

[logging]
  level = "error"
  suppress-logo = true
"""


class InfluxServer(Process):
    """A server in `folder` with an empty database."""

    def __init__(self, folder: Path) -> None:
        binary = installed()
        if binary is None:
            raise RuntimeError(MISSING)
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        told = _CONFIGURATION.format(host=HOST, folder=folder, port=self.port, rpc_port=free_port())
        (folder / "influxdb.conf").write_text(told)
        super().__init__([binary, "-config", str(folder / "influxdb.conf")], folder, self._answers)

    def start(self) -> None:
        super().start()
        self.empty()

    def empty(self) -> None:
        """Have it hold nothing."""
        for what in ("DROP", "CREATE"):
            self.query(f"{what} DATABASE {DATABASE}", method="POST")

    def version(self) -> str:
        """What it says of itself."""
        told = subprocess.run([str(installed()), "version"], stdout=subprocess.PIPE, text=True, check=True)
        return told.stdout.strip()

    def points(self, measurement: str) -> int:
        """How many points it holds."""
        (result,) = json.loads(self.query(f"SELECT count(value) FROM {measurement}"))["results"]
        return int(result["series"][0]["values"][0][1]) if "series" in result else 0

    def query(self, text: str, method: str = "GET", **headers: str) -> bytes:
        """The whole answer. RuntimeError for one that is a fault."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=_ANSWER_SECONDS)
        try:
            connection.request(method, query_path(text), headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK or b'"error"' in body[:200]:
            raise RuntimeError(f"influxd answered {text} with {answer.status}: {body[:500]!r}")
        return body

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=2)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == http.HTTPStatus.NO_CONTENT
        except OSError:
            return False
        finally:
            connection.close()


def query_path(text: str, **options: Any) -> str:
    return f"/query?{urlencode({'db': DATABASE, 'q': text, **options})}"


def installed() -> str | None:
    """Where `influxd` is; None if it is nowhere."""
    return shutil.which("influxd", path=_PLACES)
