"""Parse the URLs of Redis. No message repeats any of one: it may hold a password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from backends.urls import options_of, seconds

_COMMON = {"prefix": "smarthouse", "timeout_seconds": "2", "scrub_seconds": "120"}
_TLS = {"ca": "", "cert": "", "key": ""}
_SENTINEL = {"sentinel_username": "", "sentinel_password": ""}
_SCHEME = re.compile(r"redis(s?)(?:\+(sentinel|cluster))?")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_PREFIX = re.compile(r"[A-Za-z0-9._:/-]+")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Says which servers of Redis to talk to, and how.

    kind: `one`, `sentinel` or `cluster`. servers: hosts and ports; with Sentinel, the sentinels'. master: its name at the
    sentinels. ca, cert, key: paths of PEM files.
    """

    kind: str
    tls: bool
    servers: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None = field(repr=False)
    database: int
    master: str
    prefix: str
    timeout_seconds: float
    scrub_seconds: float
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)


def redis_url(url: str) -> RedisUrl:
    """Parse `redis://...` and its relatives. Raises `ValueError`."""
    scheme, _, rest = url.partition("://")
    if (known := _SCHEME.fullmatch(scheme)) is None:
        raise ValueError("not a URL of Redis: it begins with redis://, rediss://, redis+sentinel:// or redis+cluster://")
    tls, kind = bool(known[1]), known[2] or "one"
    place, _, query = rest.partition("?")
    authority, _, path = place.partition("/")
    login, _, hosts = authority.rpartition("@")
    username, _, password = login.partition(":")
    its_own = (_TLS if tls else {}) | (_SENTINEL if kind == "sentinel" else {})
    options = options_of(query, _COMMON | its_own, f"{scheme}://")
    if not _PREFIX.fullmatch(options["prefix"]):
        raise ValueError("the option prefix of a store's URL must be made of letters, digits and . _ : / -")
    database, master = _database_and_master(scheme, kind, path)
    return RedisUrl(
        kind,
        tls,
        _servers(scheme, kind, hosts),
        _decoded(scheme, username),
        _decoded(scheme, password),
        database,
        master,
        options["prefix"],
        seconds(options, "timeout_seconds", above_least=True),
        seconds(options, "scrub_seconds", above_least=True),
        **{name: options[name] or None for name in its_own},
    )


def _servers(scheme: str, kind: str, hosts: str) -> tuple[tuple[str, int], ...]:
    found = [_SERVER.fullmatch(one) for one in hosts.split(",")]
    servers = tuple(
        (one[1].strip("[]"), int(one[2] or (26379 if kind == "sentinel" else 6379))) for one in found if one is not None
    )
    if len(servers) < len(found) or (kind == "one" and len(servers) > 1) or any(port > 65535 for _, port in servers):
        some = "host:port" if kind == "one" else "host:port,host:port"
        raise ValueError(
            f"{scheme}:// must name its servers as [user:password@]{some}, "
            "with special characters of the password percent-encoded, such as %2F"
        )
    return servers


def _database_and_master(scheme: str, kind: str, path: str) -> tuple[int, str]:
    master, _, database = path.partition("/") if kind == "sentinel" else ("", "", path)
    if kind == "sentinel" and (not master or master.isdigit()):
        raise ValueError(f"{scheme}:// names no master: it must end in /mymaster, or in /mymaster/0 with a database's number")
    if kind == "cluster" and path not in ("", "0"):
        raise ValueError(f"{scheme}:// names a database, but a cluster has none")
    if not re.fullmatch("[0-9]{0,5}", database):
        raise ValueError(f"{scheme}:// names a database that is not a number")
    return int(database or 0), unquote(master)


def _decoded(scheme: str, text: str) -> str | None:
    if _NO_ESCAPE.search(text):
        raise ValueError(f"{scheme}:// has a % in its user or password that must be written as %25")
    return unquote(text) or None
