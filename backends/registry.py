"""Open the stores that URLs name. Each scheme has a row `"module:Class"`; the module is imported on first use."""

from __future__ import annotations

import os
import tempfile
from importlib import import_module
from typing import Any, Protocol

from backends.ports import ObjectStore, StateStore, StoreDamaged, StoreError, StoreUnfit

STATE_BACKENDS = {
    "memory": "backends.memory:MemoryState",
    "sqlite": "backends.sqlite:SqliteState",
    "redis": "backends.redis:RedisState",
    "rediss": "backends.redis:RedisState",
    "redis+cluster": "backends.redis:RedisState",
    "rediss+cluster": "backends.redis:RedisState",
    "redis+sentinel": "backends.redis:RedisState",
    "rediss+sentinel": "backends.redis:RedisState",
}
OBJECT_BACKENDS = {
    "memory": "backends.memory:MemoryObjects",
    "file": "backends.filesystem:FilesystemObjects",
    "minio": "backends.minio:MinioObjects",
}


class StoreUrls(Protocol):
    """Names the two stores to use, by their URLs, as `config.groups.StoreSettings` does."""

    @property
    def state_url(self) -> str: ...

    @property
    def objects_url(self) -> str: ...


def open_state(url: str) -> StateStore:
    """Open the state store at `url`: `memory://`, or `sqlite://` and a path (`sqlite:///srv/state.db`, `sqlite://var/state.db`).

    Connects to nothing. Raises `ValueError`.
    """
    store: StateStore = _load(STATE_BACKENDS, url)(url)
    return store


def open_objects(url: str) -> ObjectStore:
    """Open the object store at `url`: `memory://`, or `file://` and a path (`file:///srv/objects`, `file://var/objects`).

    Connects to nothing. Raises `ValueError`.
    """
    store: ObjectStore = _load(OBJECT_BACKENDS, url)(url)
    return store


def faults(urls: StoreUrls) -> list[str]:
    """Report URLs that name no store, a line for each. Connects to none."""
    told = []
    for name, open_store in (("state_url", open_state), ("objects_url", open_objects)):
        try:
            if url := getattr(urls, name):
                open_store(url)
                refuse_misplaced(url)
        except ValueError as fault:
            told.append(f"SMARTHOUSE_{name.upper()}: {fault}")
    return told


def refuse_misplaced(url: str) -> None:
    """Raise `ValueError` if a store on this machine would lie below a file, or its file is a folder."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("sqlite", "file"):
        return
    path = os.path.abspath(rest.partition("?")[0])
    if scheme == "sqlite" and os.path.isdir(path):
        raise ValueError(f"{path} is a folder, and must be a file, such as {os.path.join(path, 'state.db')}")
    folder = os.path.dirname(path) if scheme == "sqlite" else path
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise ValueError(f"{folder} is a file, and must be a folder, as SMARTHOUSE_DATA_DIR names one")


def unwritable(urls: StoreUrls) -> list[str]:
    """Report stores on this machine whose folder cannot be made, or not written to, a line for each. Leaves nothing there."""
    told = []
    for name in ("state_url", "objects_url"):
        scheme, _, rest = getattr(urls, name).partition("://")
        if scheme in ("sqlite", "file"):
            path = os.path.abspath(rest.partition("?")[0])
            folder = there = os.path.dirname(path) if scheme == "sqlite" else path
            while not os.path.exists(there):
                there = os.path.dirname(there)
            try:
                tempfile.TemporaryDirectory(prefix="smarthouse", dir=there).cleanup()
            except OSError as fault:
                why = f"no file can be made in {there} ({fault.strerror})"
                told.append(f"SMARTHOUSE_{name.upper()}: nothing can be stored in {folder}: {why}")
    return told


def unfit(urls: StoreUrls) -> list[str]:
    """Report stores whose set-up would break a promise, a line for each. A store that does not answer is not reported, nor is
    one that is damaged.
    """
    told = []
    for name, store in (("state_url", open_state(urls.state_url)), ("objects_url", open_objects(urls.objects_url))):
        try:
            store.check()
        except StoreError as fault:
            if isinstance(fault, StoreUnfit) and not isinstance(fault, StoreDamaged):
                told.append(f"SMARTHOUSE_{name.upper()}: {fault}")
        finally:
            store.close()
    return told


def shared(urls: StoreUrls) -> bool:
    """Whether other processes find what this one stores: not so with `memory://`."""
    return not any(url.startswith("memory:") for url in (urls.state_url, urls.objects_url))


def shown(url: str) -> str:
    """Write the URL of a store without its secrets: its scheme, its place, and its prefix if it shares a server."""
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    if scheme in ("sqlite", "file"):
        return f"{scheme}://{os.path.abspath(place)}"
    prefix = "".join(f"?{option}" for option in query.split("&") if option.startswith("prefix="))
    return f"{scheme}://{place.rpartition('@')[2]}{prefix}"


def kind(url: str) -> str:
    """Name the technology of the store at `url`: `redis` for all of its schemes."""
    scheme = url.partition("://")[0].partition("+")[0]
    return "redis" if scheme == "rediss" else scheme


def _load(table: dict[str, str], url: str) -> Any:
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme not in table:
        known = ", ".join(f"{name}://" for name in sorted(table))
        raise ValueError(f"no store for {scheme or 'a URL without a scheme'!r}; there are {known}")
    module, _, name = table[scheme].partition(":")
    return getattr(import_module(module), name)
