"""Refuse what no store may be asked, before the store is reached: the checks that all backends share."""

from __future__ import annotations

import re

from backends.ports import Change

_SEGMENT = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._=-]{1,200}"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*", re.ASCII)
_PREFIX = re.compile(rf"(?:{_SEGMENT}/)*[A-Za-z0-9._=-]{{0,200}}", re.ASCII)
_LONGEST_KEY = 900
_LONGEST_NAME_BYTES = 512


class NotAllowed(ValueError):
    """Refuses a malformed name, key or range before a store is asked.

    It is a class of its own because a driver's `ValueError` means something else, and is translated.
    """


def check_key(key: str) -> str:
    """Return `key` if it is one as `ObjectStore` defines it. Raises `NotAllowed`."""
    if len(key) > _LONGEST_KEY or _KEY.fullmatch(key) is None:
        raise NotAllowed(f"not an object key: {key!r}")
    return key


def begins_keys(prefix: str) -> bool:
    """Tell whether any object key could start with `prefix`."""
    return len(prefix) <= _LONGEST_KEY and _PREFIX.fullmatch(prefix) is not None


def check_path(path: str) -> str:
    """Return `path` if it can be that of a file of a table. Raises `NotAllowed`."""
    if "\0" in path or any(segment in ("", ".", "..") for segment in path.split("/")):
        raise NotAllowed(f"not the path of a table's file: {path!r}")
    return path


def check_names(*names: str) -> None:
    """Check that each may name a space, a document or a log. Raises `NotAllowed`."""
    for name in names:
        if not 0 < len(name.encode()) <= _LONGEST_NAME_BYTES or "\0" in name:
            raise NotAllowed(f"not the name of a space, a document or a log: {name!r}")


def check_change(space: str, change: Change) -> None:
    """Check every name in a commit. Raises `NotAllowed`."""
    check_names(space, *change.expect, *(put.key for put in change.puts), *change.deletes)
    check_names(*(log for log, _ in change.appends), *(log for log, _ in change.drops))
    counters = [add.key for add in change.adds]
    check_names(*counters)
    if len({*counters}) < len(counters) or {*counters} & {*change.deletes, *(put.key for put in change.puts)}:
        raise NotAllowed("a counter may be written only once in a commit")


def check_range(start: int, length: int | None, chunk_bytes: int) -> None:
    """Check a part of an object: no size is negative, and a chunk has at least one byte. Raises `NotAllowed`."""
    if start < 0 or (length or 0) < 0 or chunk_bytes < 1:
        raise NotAllowed(f"not a part of an object: {length} bytes from {start}, {chunk_bytes} at a time")
