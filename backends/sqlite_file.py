"""The file that SQLite has open must stay the one at its path: a connection would go on with a file that nobody finds again."""

from __future__ import annotations

import os

from backends.ports import StoreDamaged


class SqliteFile:
    """Notices that a database was removed under its connections, or that another file was put in its place.

    A look takes about two microseconds, so each call of the store can have one.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._opened: tuple[int, int] | None = None

    def is_there(self) -> bool:
        """Tell whether the store has a file, or had one."""
        return self._opened is not None or os.path.exists(self.path)

    def note(self) -> None:
        """Note which file a connection has just opened, or raise as `check` if it is not the one of the connections before."""
        if self._opened is None:
            found = os.stat(self.path)
            self._opened = found.st_dev, found.st_ino
        self.check()

    def check(self) -> None:
        """Raise `StoreDamaged` unless the file is the one that was opened first. A file that was put back is that one again."""
        if self._opened is None:
            return
        name = os.path.basename(self.path)
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            raise StoreDamaged(
                f"SQLite: {name} was removed while this process had it open; put it back, or restore a backup, then restart the"
                " service"
            ) from None
        if (found.st_dev, found.st_ino) != self._opened:
            raise StoreDamaged(
                f"SQLite: another file was put in the place of {name} while this process had it open; restart the service if it"
                " is the right one, else put the right one back"
            )

    def replace(self) -> None:
        """Expect another file from now on: this process puts one in its place."""
        self._opened = None

    def size_bytes(self) -> int:
        """Return the bytes of the file and its log."""
        files = filter(os.path.exists, (self.path, f"{self.path}-wal"))
        return sum(map(os.path.getsize, files))
