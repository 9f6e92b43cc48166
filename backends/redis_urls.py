"""The URLs of Redis taken apart. What is wrong with one is told without repeating any of it: it may hold a password."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import unquote

from backends.urls import StoreUrl, seconds

Kind = Literal["one", "sentinel", "cluster"]

_COMMON = {"prefix": "smarthouse", "timeout_seconds": "2", "scrub_seconds": "120"}
_TLS = {"ca": "", "cert": "", "key": ""}
_SENTINEL = {"sentinel_username": "", "sentinel_password": ""}
_SCHEME = re.compile(r"redis(s?)(\+sentinel|\+cluster|)")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_PREFIX = re.compile(r"[A-Za-z0-9._:/-]+")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Place:
    """Which servers, and how to talk to them. servers: host and port; of Sentinel, its own. master: what Sentinel calls it."""

    kind: Kind
    tls: bool
    servers: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None = field(repr=False)
    database: int
    master: str
    prefix: str
    timeout_seconds: float
    scrub_seconds: float
    ca: str
    cert: str
    key: str
    sentinel_username: str | None
    sentinel_password: str | None = field(repr=False)


def place_of(url: str) -> Place:
    """The place that `url` names; raises `ValueError`."""
    parts = StoreUrl.of(url)
    scheme = parts.scheme
    if (known := _SCHEME.fullmatch(scheme)) is None:
        raise ValueError("not a URL of Redis: it begins with redis://, rediss://, redis+sentinel:// or redis+cluster://")
    tls, kind = bool(known[1]), _kind(known[2])
    options = _options(parts, _COMMON | (_TLS if tls else {}) | (_SENTINEL if kind == "sentinel" else {}))
    database, master = _database_and_master(scheme, kind, parts.path)
    return Place(
        kind,
        tls,
        _servers(scheme, kind, parts.hosts),
        _decoded(scheme, parts.username),
        _decoded(scheme, parts.password),
        database,
        master,
        options["prefix"],
        _seconds(options, "timeout_seconds"),
        _seconds(options, "scrub_seconds"),
        options.get("ca", ""),
        options.get("cert", ""),
        options.get("key", ""),
        options.get("sentinel_username") or None,
        options.get("sentinel_password") or None,
    )


def _kind(suffix: str) -> Kind:
    return "sentinel" if suffix == "+sentinel" else "cluster" if suffix == "+cluster" else "one"


def _servers(scheme: str, kind: Kind, hosts: str) -> tuple[tuple[str, int], ...]:
    found = [_SERVER.fullmatch(one) for one in hosts.split(",")]
    servers = tuple(
        (one[1].strip("[]"), int(one[2] or (26379 if kind == "sentinel" else 6379))) for one in found if one is not None
    )
    if len(servers) < len(found) or (kind == "one" and len(servers) > 1) or any(port > 65535 for _, port in servers):
        some = "host:port" if kind == "one" else "host:port,host:port"
        raise ValueError(
            f"{scheme}:// names no server as it should: [user:password@]{some}, with what is special in a password "
            "written as %2F"
        )
    return servers


def _database_and_master(scheme: str, kind: Kind, path: str) -> tuple[int, str]:
    master, _, database = path.partition("/") if kind == "sentinel" else ("", "", path)
    if kind == "sentinel" and (not master or master.isdigit()):
        raise ValueError(f"{scheme}:// names no master: it ends in /mymaster, or in /mymaster/0 with a database's number")
    if kind == "cluster" and path not in ("", "0"):
        raise ValueError(f"{scheme}:// names a database, but a cluster has none")
    if not re.fullmatch("[0-9]{0,5}", database):
        raise ValueError(f"{scheme}:// names a database that is not a number")
    return int(database or 0), unquote(master)


def _decoded(scheme: str, text: str) -> str | None:
    if _NO_ESCAPE.search(text):
        raise ValueError(f"{scheme}:// has a % in its user or password that is not written as %25")
    return unquote(text) or None


def _options(parts: StoreUrl, defaults: dict[str, str]) -> dict[str, str]:
    scheme, known = parts.scheme, ", ".join(sorted(defaults))
    # A plus stands for itself, in a password too.
    options = replace(parts, query=parts.query.replace("+", "%2B")).options(
        defaults,
        unknown=lambda _: f"{scheme}:// has an unknown option",
        unreadable=f"{scheme}:// has options that cannot be read; they are name=value, joined by &: {known}",
    )
    if not _PREFIX.fullmatch(options["prefix"]):
        raise ValueError("the option prefix of a store's URL is made of letters, digits and . _ : / -")
    return options


def _seconds(options: dict[str, str], name: str) -> float:
    told = f"the option {name} of a store's URL is a number of seconds above 0"
    return seconds(options, name, told, fits=lambda number: 0 < number < math.inf)
