"""Remembers how far an import has come, in a small file, so that it goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from smarthouse_api.recorder.faults import ImportFault
from smarthouse_api.recorder.tables import Entry, Table

_TOLERANCE_SECONDS: Final = 0.001


class Mark(msgspec.Struct, frozen=True):
    """The last row that the service holds for certain. time: the row's, in seconds since 1970, to know the row again."""

    id: int
    time: float | None


class Progress:
    """The marks of one import, by table.

    1. The file's name stands for the home, the service, the database and the filters. Another import has another file.
    2. A mark moves on only after the service's 200, and is on the disk before the next chunk is read.
    3. A row that is not the one of the mark shows that the database was replaced. Then the import begins anew. The service
       knows repeats, so that costs time and nothing else.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Reads the marks of the last run. Raises `ImportFault` if the file cannot be read."""
        self.path = folder / f"import-{name}.json"
        self._marks: dict[str, Mark] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._marks = msgspec.json.decode(self.path.read_bytes(), type=dict[str, Mark])
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError) as fault:
            raise ImportFault(
                f"{self.path}, the progress of the last run, cannot be read: {fault}; delete it to begin anew"
            ) from None

    def forget(self) -> None:
        """Begin anew."""
        self._marks = {}

    def after(self, table: Table) -> int:
        """The id after which the table is to be read; 0 for all of it."""
        mark = self._marks.get(table.noun)
        return mark.id if mark is not None and _is_known(table, mark) else 0

    def move(self, table: Table, last: Entry) -> None:
        """Note that the service holds everything up to this row. Raises `ImportFault` if that cannot be written."""
        self._marks[table.noun] = Mark(last.id, last.time)
        try:
            _replace(self.path, msgspec.json.encode(self._marks))
        except OSError as fault:
            raise ImportFault(f"{self.path}, the import's progress, cannot be written: {fault.strerror}") from None


def name_of(uuid: str, others: Sequence[object]) -> str:
    """Name an import. The UUID cannot be computed from the name, and guessing it costs as much as guessing a password."""
    salt = json.dumps(others).encode()
    return hashlib.scrypt(uuid.encode(), salt=salt, n=1 << 14, r=8, p=1, dklen=16).hex()


def _is_known(table: Table, mark: Mark) -> bool:
    found = table.find(mark.id)
    if found is None:  # purged, unless a new database has not yet come so far
        return table.last() >= mark.id
    if found.time is None or mark.time is None:
        return found.time is mark.time
    return abs(found.time - mark.time) < _TOLERANCE_SECONDS


def _replace(path: Path, text: bytes) -> None:
    """Write a file as a whole, or leave the old one; durable."""
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
