"""A real Apache Spark with Delta, started by the very command of docs/production.md."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

from tests.servers import Process, free_port, missing

HERE = Path(__file__).parent
_VERSION = "4.0.1"
_DOCUMENT = HERE.parents[1] / "docs" / "production.md"
_SMALL = (
    "--master 'local[2]' --driver-memory 2g",
    "--conf spark.ui.enabled=false",
    "--conf spark.connect.grpc.binding.address=127.0.0.1",
)
_COMMAND = re.compile(r"```sh\n(\$SPARK_HOME/bin/spark-submit .*?)```", re.DOTALL)


class SparkServer(Process):
    """Spark Connect on this machine. What differs from the document's command: addresses, keys, and two cores.

    minio: the endpoint, the key and the secret of a MinIO server that has the lake; None for a folder.
    """

    ready_seconds = 600.0  # the first start fetches what `--packages` names

    def __init__(self, folder: Path, minio: tuple[str, str, str] | None = None) -> None:
        if not (HERE / "venv" / _VERSION).exists():
            missing("Apache Spark is missing: run tests/spark/install.sh")
        if shutil.which("java") is None:
            missing("Java is missing: apt-get install openjdk-17-jre-headless")
        (home,) = (HERE / "venv" / "lib").glob("python*/site-packages/pyspark")
        self.port = free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        env = {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_NO_DAEMONIZE": "1"}
        super().__init__(["bash", "-c", f"exec {_command(self.port, minio)}"], folder, self._listens, env)

    @property
    def url(self) -> str:
        return f"sc://{self.endpoint}"

    def _listens(self) -> bool:
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", self.port)) == 0


def _command(port: int, minio: tuple[str, str, str] | None) -> str:
    (command,) = _COMMAND.findall(_DOCUMENT.read_text())
    endpoint, key, secret = minio or ("127.0.0.1:1", "none", "none")
    own = {
        "http://minio.internal:9000": f"http://{endpoint}",
        "access.key=smarthouse-engine": f"access.key={key}",
        "secret.key=...": f"secret.key={secret}",
        "binding.port=15002": f"binding.port={port}",
        " spark-internal": f" {' '.join(_SMALL)} --conf spark.jars.ivy={HERE / 'venv' / 'ivy'} spark-internal",
    }
    for theirs, ours in own.items():
        assert command.count(theirs) == 1, theirs
        command = command.replace(theirs, ours)
    return command.strip()
