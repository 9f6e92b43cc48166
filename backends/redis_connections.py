"""Connect to Redis: a client for each process, made on first use, that never repeats a write by itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import NoScriptError, OutOfMemoryError, RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from backends.ports import StoreError, StoreFull, StoreUnavailable
from backends.redis_scripts import Script
from backends.redis_urls import RedisUrl

Client = redis.Redis | RedisCluster
Address = tuple[str, int]


class RedisClients:
    """Gives each process a client of its own for one store. Safe in any thread, and in a child beside its parent."""

    def __init__(self, url: RedisUrl) -> None:
        self.url = url
        # By process: a child leaves its parent's clients alone, whose locks other threads may have held at the fork.
        self._here: dict[int, _Process] = {}

    def ask(self, *words: bytes | str | float, repeat: bool = True) -> Any:
        """Send one command; its answer. repeat: send it once more if the connection turns out to be broken."""
        with self.translated():
            client = self.client()
            try:
                return client.execute_command(*words)
            except redis.ConnectionError as error:
                # Its subclasses are answers, and another would be the same.
                if not repeat or type(error) is not redis.ConnectionError:
                    raise
                return client.execute_command(*words)

    def run(self, script: Script, keys: Sequence[bytes | str], *arguments: bytes | str | float, repeat: bool = True) -> Any:
        """Run a script; its answer. Without `repeat`, it runs at most once."""
        try:
            return self.ask("EVALSHA", script.sha, len(keys), *keys, *arguments, repeat=repeat)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        return self.ask("EVAL", script.text, len(keys), *keys, *arguments, repeat=repeat)

    def client(self) -> Client:
        """Return this process's client. A cluster's connects when it is made. Raises what the driver raises."""
        here = self._here.get(os.getpid()) or self._here.setdefault(os.getpid(), _Process())
        attempt = here.attempts
        if here.client is None:
            with here.making:
                if here.client is None:
                    if here.attempts > attempt and here.fault is not None:
                        raise StoreUnavailable(str(here.fault))  # of the attempt that this one has waited for
                    try:
                        here.client = connect(self.url)
                    except Exception as fault:
                        here.fault = StoreUnavailable(_told(fault))
                        raise
                    finally:
                        here.attempts += 1
        return here.client

    def close(self) -> None:
        """Close the connections that no thread is using."""
        here = self._here.pop(os.getpid(), None)
        if here is not None and here.client is not None:
            for one in _clients(here.client):
                one.connection_pool.disconnect(inuse_connections=False)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what the driver raises into what the port promises.

        This is around the driver's calls, and not around the port's methods as in `backends.faults`: RedisCluster raises
        errors of any kind (KeyError, AttributeError, RuntimeError), and around a method our own faults would look the same.
        Such an error also ends this process's client.
        """
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            if not isinstance(error, redis.RedisError | OSError):
                # Of a cluster that it finds nowhere any more: the next use begins with the servers of the URL again.
                self._here.pop(os.getpid(), None)
            told = str(error)
            full = isinstance(error, OutOfMemoryError) or ("MISCONF" in told and "No space left" in told)
            secrets = filter(None, (self.url.password, self.url.sentinel_password))
            cause = None if any(secret in told for secret in secrets) and not isinstance(error, NoScriptError) else error
            raise (StoreFull if full else StoreUnavailable)(_told(error, hide=cause is None)) from cause


@dataclass(slots=True, eq=False)
class _Process:
    """Holds the client of one process, and how the attempts to make it went."""

    making: threading.Lock = field(default_factory=threading.Lock)
    client: Client | None = None
    attempts: int = 0
    fault: StoreUnavailable | None = None


def connect(url: RedisUrl) -> Client:
    """Make a client for `url`. A cluster's asks for the layout at once; the others connect when they are used."""
    if url.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in url.servers]
        cluster = RedisCluster(startup_nodes=nodes, retry=_once(), require_full_coverage=False, **_settings(url))
        _look_alone(cluster)
        return cluster
    if url.kind == "sentinel":
        master: redis.Redis = sentinel(url).master_for(url.master, db=url.database, retry=_once(), **_settings(url))
        return master
    return client_of(url, url.servers[0])


def _look_alone(cluster: RedisCluster) -> None:
    """Let one thread at a time ask for the cluster's layout again, which takes long if no server answers.

    redis-py makes every thread that lost a connection ask, one after another. Here the others raise their error at once.
    """
    manager: Any = cluster.nodes_manager
    look, looking = manager.initialize, threading.Lock()

    def look_unless_another_does(*args: Any, **options: Any) -> None:
        if looking.acquire(blocking=False):
            try:
                look(*args, **options)
            finally:
                looking.release()

    manager.initialize = look_unless_another_does


def client_of(url: RedisUrl, address: Address) -> redis.Redis:
    """Make a client for the one server at `address`."""
    host, port = address
    return redis.Redis(host=host, port=port, db=url.database, retry=_once(), **_settings(url))


def sentinel(url: RedisUrl) -> Sentinel:
    """Make a client for the sentinels that `url` names."""
    login = {"username": url.sentinel_username, "password": url.sentinel_password}
    made: Sentinel = Sentinel(url.servers, sentinel_kwargs={**_settings(url), **login, "retry": _once()})
    return made


def _once() -> Retry:
    # redis-py would repeat a command whose answer was lost: a second append of the same.
    return Retry(NoBackoff(), 0)


def _settings(url: RedisUrl) -> dict[str, Any]:
    tls = {
        "ssl": True,
        "ssl_ca_certs": url.ca,
        "ssl_certfile": url.cert,
        "ssl_keyfile": url.key,
        "ssl_check_hostname": True,
    }
    return {
        "username": url.username,
        "password": url.password,
        "socket_timeout": url.timeout_seconds,
        "socket_connect_timeout": url.timeout_seconds,
        "socket_keepalive": True,
        "max_connections": 1 << 16,  # more than threads
        "protocol": 2,  # whose connections are known to be broken when there is anything to read before a command
        **(tls if url.tls else {}),
    }


def _clients(client: Client) -> list[redis.Redis]:
    if isinstance(client, RedisCluster):
        return [node.redis_connection for node in client.get_nodes() if node.redis_connection]
    return [client]


def _told(error: Exception, *, hide: bool = False) -> str:
    """Put the error into words, without any part that may repeat a command, which holds data."""
    if isinstance(error, RedisClusterException) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    words = isinstance(error, redis.RedisError | OSError) and not hide
    told = str(error).partition(", with args")[0].partition("\n")[0] if words else ""
    return f"Redis: {told or type(error).__name__}"
