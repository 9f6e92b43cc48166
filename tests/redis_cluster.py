"""Redis as it runs where one server must not be enough: watched by Sentinel, or as a Cluster."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis

from backends.ports import StoreUnavailable
from tests.servers import Process, RedisServer, free_port, program
from tests.waiting import soon

SLOTS = 16384
_GUARD = "gu4rd"
BACK_SECONDS = 5.0


class SentinelServer(Process):
    """One that decides alone, and quickly. password: its own, not the servers'."""

    def __init__(self, folder: Path, master: RedisServer, password: str) -> None:
        self.port, self.password = free_port(), password
        folder.mkdir(parents=True)
        told = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"requirepass {password}",
            f"sentinel monitor mymaster 127.0.0.1 {master.port} 1",
            "sentinel down-after-milliseconds mymaster 300",
            "sentinel failover-timeout mymaster 2000",
        ]
        if master.password:
            told.append(f"sentinel auth-pass mymaster {master.password}")
        (folder / "sentinel.conf").write_text("\n".join(told) + "\n")
        binary = program("redis-server", "apt-get install redis-server")
        super().__init__([binary, str(folder / "sentinel.conf"), "--sentinel"], folder, self._answers)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=self.password, decode_responses=True)

    def replicas(self) -> list[dict[str, object]]:
        """What it knows of the master's replicas."""
        with self.client() as client:
            return client.sentinel_slaves("mymaster")

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class Guarded:
    """A master, its replica, and a Sentinel. The master and the replica change places when the one fails over."""

    def __init__(self, folder: Path, password: str) -> None:
        options = {"requirepass": password, "masterauth": password, "repl_diskless_sync_delay": "0"}
        self.master = RedisServer(folder / "one", **options)
        self.copy = RedisServer(folder / "other", replicaof=f"127.0.0.1 {self.master.port}", repl_timeout="5", **options)
        self._guard = SentinelServer(folder / "sentinel", self.master, _GUARD)
        self.servers = [self.master, self.copy]
        self._login = quote(password, safe="")

    @property
    def url(self) -> str:
        return f"redis+sentinel://:{self._login}@127.0.0.1:{self._guard.port}/mymaster/0?sentinel_password={_GUARD}"

    def start(self) -> None:
        for server in (self.master, self.copy, self._guard):
            server.start()
        soon(lambda: [told["master-link-status"] for told in self._guard.replicas()] == ["ok"])

    def fail_over(self, chance: random.Random) -> None:
        """Kill the master, once its replica has all that was acknowledged."""
        kill_replicated(self.master, self.copy)

    def heal(self) -> None:
        """Start the dead one, which copies from the other then."""
        soon(lambda: is_master(self.copy))
        self.master.start()
        with self.master.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", self.copy.port)
            soon(lambda: client.info("replication")["master_link_status"] == "up")
        self.master, self.copy = self.copy, self.master

    def kill(self) -> None:
        for server in (self._guard, *self.servers):
            server.kill()


def kill_replicated(master: RedisServer, copy: RedisServer) -> None:
    """Kill a master that acknowledges nothing more, once its replica has all that it has acknowledged."""
    with master.client() as client, copy.client() as other:
        client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        written = client.info("replication")["master_repl_offset"]
        soon(lambda: other.info("replication")["slave_repl_offset"] >= written)
    master.kill()


def is_master(server: RedisServer) -> bool:
    with server.client() as client:
        return bool(client.info("replication")["role"] == "master")


class Cluster:
    """Primaries that share the slots. The first ones have a replica each; the two change places when the primary fails over."""

    def __init__(self, folder: Path, primaries: int = 3, replicas: int = 1) -> None:
        self.folder = folder
        self.servers = [
            RedisServer(
                folder / str(number),
                cluster_enabled="yes",
                cluster_port=str(free_port()),
                cluster_node_timeout="500",
                cluster_config_file="nodes.conf",
                cluster_replica_validity_factor="0",
                repl_diskless_sync_delay="0",
            )
            for number in range(primaries + replicas)
        ]
        self.primaries, self.replicas = self.servers[:primaries], self.servers[primaries:]
        self.replica = self.servers[-1]
        self._failed = 0

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.primaries)

    def start(self) -> None:
        for server in self.servers:
            server.start()
        share = SLOTS // len(self.primaries) + 1
        for number, server in enumerate(self.servers):
            with server.client() as client:
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                if server in self.primaries:
                    client.execute_command("CLUSTER ADDSLOTSRANGE", share * number, min(share * (number + 1), SLOTS) - 1)
                client.execute_command("CLUSTER MEET", "127.0.0.1", self.servers[0].port, self._bus(self.servers[0]))
        soon(lambda: all(self._knows(server, len(self.servers)) for server in self.servers))
        for copy, server in zip(self.replicas, self.primaries, strict=False):
            with copy.client() as client, server.client() as primary:
                client.execute_command("CLUSTER REPLICATE", primary.execute_command("CLUSTER MYID"))
        self.wait_until_whole()

    def fail_over(self, chance: random.Random) -> None:
        """Kill a primary, once its replica has all that was acknowledged."""
        self._failed = chance.randrange(len(self.replicas))
        kill_replicated(self.primaries[self._failed], self.replicas[self._failed])

    def heal(self) -> None:
        """Start the dead one, which copies from the other then."""
        place = self._failed
        soon(lambda: is_master(self.replicas[place]))
        self.primaries[place].start()
        self.wait_until_whole()
        self.primaries[place], self.replicas[place] = self.replicas[place], self.primaries[place]

    def wait_until_whole(self) -> None:
        """Until every server that runs finds all slots served, and every replica its primary."""
        soon(lambda: all(self._whole(server) for server in self.servers if server.running))

    def owner(self, key: str) -> RedisServer:
        """The server that has the key's slot now."""
        with self.replica.client() as client:
            slot = client.execute_command("CLUSTER KEYSLOT", key)
            for low, high, (_, port, *_), *_ in client.execute_command("CLUSTER SLOTS"):
                if low <= slot <= high:
                    return next(server for server in self.servers if server.port == port)
        raise AssertionError(f"nobody has {key}")

    def kill(self) -> None:
        for server in self.servers:
            server.kill()

    def _bus(self, server: RedisServer) -> int:
        with server.client() as client:
            return int(client.config_get("cluster-port")["cluster-port"])

    def _knows(self, server: RedisServer, count: int) -> bool:
        with server.client() as client:
            return int(client.execute_command("CLUSTER INFO")["cluster_known_nodes"]) == count

    def _whole(self, server: RedisServer) -> bool:
        with server.client() as client:
            info = client.info("replication")
            linked = info["role"] == "master" or info["master_link_status"] == "up"
            return linked and client.execute_command("CLUSTER INFO")["cluster_state"] == "ok"


def back(ask: Callable[[], Any], seconds: float = BACK_SECONDS) -> Any:
    """What it answers once the store is there again, which it must be in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
