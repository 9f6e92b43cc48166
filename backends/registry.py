"""The URL chooses: scheme -> "module:Class", imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from backends.ports import ObjectStore, StateStore

STATE_BACKENDS = {
    "memory": "backends.memory:MemoryState",
    "sqlite": "backends.sqlite:SqliteState",
}
OBJECT_BACKENDS = {
    "memory": "backends.memory:MemoryObjects",
    "file": "backends.filesystem:FilesystemObjects",
}


class UnknownScheme(ValueError):
    """No backend is registered for the URL's scheme; the message names those that are."""


def open_state(url: str) -> StateStore:
    """The state store for `url`: `memory://`, or `sqlite://` and a path (`sqlite:///srv/state.db`, `sqlite://var/state.db`)."""
    return _load(STATE_BACKENDS, url)(url)


def open_objects(url: str) -> ObjectStore:
    """The object store for `url`: `memory://`, or `file://` and a path (`file:///srv/objects`, `file://var/objects`)."""
    return _load(OBJECT_BACKENDS, url)(url)


def check_scheme(table: dict[str, str], url: str) -> None:
    """Raises `UnknownScheme` unless `table` has a backend for `url`."""
    scheme = urlsplit(url).scheme
    if scheme not in table:
        known = ", ".join(f"{name}://" for name in sorted(table))
        raise UnknownScheme(f"no backend for {scheme or 'a URL without a scheme'!r}; there are {known}")


def _load(table: dict[str, str], url: str) -> Any:
    check_scheme(table, url)
    module, _, name = table[urlsplit(url).scheme].partition(":")
    return getattr(import_module(module), name)
