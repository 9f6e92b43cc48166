"""The files of an installation: its objects and those of its tables. Copies them, a few at a time, with their SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import Final, TypeVar

import msgspec

from backends.ports import NoSuchObject, ObjectInfo, ObjectStore
from smarthouse_api.archives.model import PREFIX as ARCHIVES
from smarthouse_api.coordination.store_ages import AGE
from smarthouse_api.errors import Invalid
from smarthouse_api.states.contents.bundles import PREFIX as CONTENTS
from smarthouse_api.states.jobs.model import PREFIX as JOBS

_OF_ONE_STORE: Final = {"installation/held", AGE}
"""The mark by which an installation is held back, and the store's age. They are no content: each copy has its own."""

_MADE: Final = (CONTENTS, JOBS, ARCHIVES)
_AT_ONCE: Final = 8
_PAGE: Final = 512

Answer = TypeVar("Answer")
Told = Callable[[str, int, int], None]
"""Is told of progress: what is being done, how much of it is done, and of how much."""


class File(msgspec.Struct, frozen=True, array_like=True):
    """Describes a file. table: the table that it belongs to; empty for an object. modified_at: in its source, since 1970.

    stored: the object that holds it in a place of backups; empty if that has it under its own name.
    """

    table: str
    path: str
    size_bytes: int
    modified_at: float
    sha256: str = ""
    stored: str = ""

    @property
    def place(self) -> tuple[str, str]:
        return self.table, self.path

    @property
    def resting_place(self) -> tuple[str, str]:
        """Name where its bytes are in a place of backups."""
        return ("", self.stored) if self.stored else self.place

    @property
    def is_log(self) -> bool:
        """Whether it is of a table's log, without which the table is not there."""
        return bool(self.table) and self.path.startswith("_delta_log/")

    @property
    def shown(self) -> str:
        table, path = self.resting_place
        return f"tables/{table}/{path}" if table else path

    def looks_like(self, other: File | None) -> bool:
        """Tell whether the other is of the same size and time."""
        return other is not None and (self.size_bytes, self.modified_at) == (other.size_bytes, other.modified_at)


def objects_of(store: ObjectStore, prefix: str = "") -> list[File]:
    """List the objects of an installation, but for what is made from the others."""
    return [_file("", info) for info in store.list(prefix) if info.key not in _OF_ONE_STORE and not info.key.startswith(_MADE)]


def files_of_table(store: ObjectStore, table: str) -> list[File]:
    """List the files of a table, its log last."""
    found = [_file(table, info) for info in store.list_table(table)]
    return sorted(found, key=lambda file: (file.path.startswith("_delta_log/"), file.path))


def copy(source: ObjectStore, target: ObjectStore, file: File, stored: str = "") -> File | None:
    """Copy a file; what was copied, or None if it is not there any more. Raises `Invalid` if its SHA-256 is not as told.

    stored: the object to write it as; empty for its own name.
    """
    digest, size_bytes = hashlib.sha256(), 0

    def chunks() -> Iterator[bytes]:
        nonlocal size_bytes
        for chunk in read(source, file):
            digest.update(chunk)
            size_bytes += len(chunk)
            yield chunk
        if file.sha256 not in ("", digest.hexdigest()):
            raise Invalid(f"The backup is damaged: {file.shown} is not what was written")

    try:
        if file.table and not stored:
            target.put_table(file.table, file.path, chunks())
        else:
            target.put(stored or file.path, chunks())
    except NoSuchObject:
        return None
    return msgspec.structs.replace(file, size_bytes=size_bytes, sha256=digest.hexdigest(), stored=stored)


def read(store: ObjectStore, file: File) -> Iterator[bytes]:
    """Read a file. Raises `NoSuchObject`."""
    table, path = file.resting_place
    return store.stream_table(table, path) if table else store.stream(path)


def sha256_of(store: ObjectStore, file: File) -> str | None:
    """Hash a file as it is there; None if it is not."""
    digest = hashlib.sha256()
    with suppress(NoSuchObject):
        for chunk in read(store, file):
            digest.update(chunk)
        return digest.hexdigest()
    return None


def remove(store: ObjectStore, files: Iterable[File]) -> None:
    """Remove files."""
    by_table = dict[str, list[str]]()
    for file in files:
        by_table.setdefault(file.table, []).append(file.path)
    store.delete(by_table.pop("", []))
    for table, paths in by_table.items():
        store.sweep_table(table, paths)


def each(files: Iterable[File], act: Callable[[File], Answer]) -> Iterator[Answer]:
    """Do something with each file, several at a time; the answers in the order of the files."""
    waiting = iter(files)
    with ThreadPoolExecutor(_AT_ONCE, "copying") as pool:
        while page := [*islice(waiting, _PAGE)]:
            yield from pool.map(act, page)


def _file(table: str, info: ObjectInfo) -> File:
    return File(table, info.key, info.size_bytes, info.modified_at.timestamp())
