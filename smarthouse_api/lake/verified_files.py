"""The files of a table that this process has read and found whole: the next export need not read them for that.

1. A file is known by its path, its size and the time of its last change, as the store lists them. If one of these changes, it
   is read again.
2. A disk can turn bits without changing that time. So a file is read again an hour after it was last found whole.
3. The engine's own reading cannot be summed: it reads parts of files, inside another library or on another machine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from itertools import islice, takewhile
from typing import Final

import msgspec
from isal import isal_zlib

from backends.ports import NoSuchObject, ObjectDamaged, ObjectInfo, ObjectStore

_AGE_SECONDS: Final = 3600.0
_MOST: Final = 20_000
"""Files that are remembered of one table. Each takes up about half a KiB."""


class FileSum(msgspec.Struct, frozen=True, array_like=True):
    """Tells what a file must be: its size in bytes, and the CRC-32 of its bytes."""

    size: int
    crc: int


UNREADABLE: Final = FileSum(-1, 0)
"""The sum of a file that is there, and that the store cannot read."""


class VerifiedFiles:
    """Reads files of one table, and remembers for an hour which were whole. Many threads may use it at once."""

    def __init__(self, objects: ObjectStore, table: str) -> None:
        self._objects, self._table = objects, table
        self._known = dict[str, tuple[ObjectInfo, float]]()
        self._changing = threading.Lock()

    def sum(self, path: str) -> FileSum | None:
        """Read a file; None if it is missing, `UNREADABLE` if only this file cannot be read."""
        size, crc = 0, 0
        try:
            for chunk in self._objects.stream_table(self._table, path):
                size, crc = size + len(chunk), isal_zlib.crc32(chunk, crc)
        except ObjectDamaged:
            return UNREADABLE
        except NoSuchObject:
            return None
        return FileSum(size, crc)

    def listed(self, paths: Collection[str]) -> Mapping[str, ObjectInfo]:
        """List files as they are now, among them those of these paths that exist."""
        if not paths:
            return {}
        ends = zip(min(paths), max(paths), strict=False)
        prefix = "".join(one for one, _ in takewhile(lambda both: both[0] == both[1], ends))
        return {info.key: info for info in self._objects.list_table(self._table, prefix)}

    def is_known(self, found: ObjectInfo | None) -> bool:
        """Tell whether a file was found whole within the last hour, and has not changed since. found: as it was listed."""
        known = None if found is None else self._known.get(found.key)
        return known is not None and known[0] == found and time.monotonic() - known[1] < _AGE_SECONDS

    def remember(self, found: ObjectInfo) -> None:
        """Remember that a file is whole. found: as it was listed before it was read."""
        with self._changing:
            self._known.pop(found.key, None)  # the oldest come first
            self._known[found.key] = found, time.monotonic()
            for path in list(islice(self._known, max(len(self._known) - _MOST, 0))):
                del self._known[path]

    def forget(self) -> None:
        """Forget what was found whole."""
        with self._changing:
            self._known.clear()
