"""The two pairs of stores: SQLite and a folder, and Redis and MinIO, whose servers run on this machine for so long."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from tests.servers import ACCESS_KEY, SECRET_KEY, MinioServer, RedisServer

FSYNCS: Final = ("always", "everysec")
"""What Redis is measured with. The first is what the service asks for and compose.yaml ships."""


@dataclass(frozen=True)
class Stores:
    """A pair of stores of one lake. settings: the variables that tell the service of them; none for those of `data_dir`."""

    data_dir: Path
    settings: dict[str, str] = field(default_factory=dict)


class Production:
    """Servers in `folder`, for as long as the context lasts: a Redis for each of `FSYNCS`, and MinIO."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._redis = {fsync: RedisServer(folder / f"redis-{fsync}", appendfsync=fsync) for fsync in FSYNCS}
        self._minio = MinioServer(folder / "minio")

    def __enter__(self) -> Self:
        try:
            for one in (*self._redis.values(), self._minio):
                one.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for one in (*self._redis.values(), self._minio):
            one.stop()

    def pids(self) -> dict[str, int]:
        """The servers' processes, by name."""
        return {"MinIO": self._minio.pid, **{f"Redis ({fsync})": one.pid for fsync, one in self._redis.items()}}

    def redis(self, fsync: str) -> RedisServer:
        """The server itself, for clients that go past the service."""
        return self._redis[fsync]

    def stores(self, name: str, fsync: str = FSYNCS[0]) -> Stores:
        """The pair called `name`, which nothing is in before it is used. name: also the bucket's."""
        login = f"{quote(ACCESS_KEY, safe='')}:{quote(SECRET_KEY, safe='')}"
        settings = {
            "SMARTHOUSE_STATE_URL": f"{self._redis[fsync].url}?prefix={name}",
            "SMARTHOUSE_OBJECTS_URL": f"minio://{login}@{self._minio.endpoint}/{name}-{fsync}?secure=0",
        }
        return Stores(self._folder / f"{name}-{fsync}", settings)
