"""A Spark Connect endpoint that needs no JVM."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from tests.servers import Process, free_port, missing


class SailServer(Process):
    """Sail. env: further variables of its, such as the credentials for a bucket."""

    def __init__(self, folder: Path, **env: str) -> None:
        try:
            import pysail  # noqa: F401
        except ImportError:
            missing("pysail is missing: pip install -e '.[test]'")
        self.port = free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "pysail", "spark", "server", "--ip", "127.0.0.1", "--port", str(self.port)]
        super().__init__(command, folder, self._listens, {"AWS_EC2_METADATA_DISABLED": "true", **env})

    @property
    def url(self) -> str:
        return f"sc://{self.endpoint}"

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True
