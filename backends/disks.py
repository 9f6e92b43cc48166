"""Disks: how much room there is below a folder, and a file that keeps some of it aside."""

from __future__ import annotations

import os
from contextlib import suppress


def free_bytes(folder: str) -> int:
    """Return how many bytes this process may still write below a folder, which need not exist yet."""
    while True:
        try:
            found = os.statvfs(folder or ".")
        except FileNotFoundError:
            folder = os.path.dirname(folder)
        else:
            return found.f_bavail * found.f_frsize


class ReserveFile:
    """Keeps room aside on a disk: a file of zeros, which is removed when the room is needed."""

    def __init__(self, path: str) -> None:
        self._path = path

    def keep(self, size_bytes: int) -> None:
        """Let the file have this size, or a greater one, if the disk has twice as much room as that takes."""
        try:
            missing = size_bytes - os.stat(self._path).st_size
        except FileNotFoundError:
            missing = size_bytes
        folder = os.path.dirname(self._path)
        if missing <= 0 or free_bytes(folder) < 2 * missing:
            return
        os.makedirs(folder, exist_ok=True)
        handle = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(handle, 0, size_bytes)
        except BaseException:  # of a disk that another has just filled, the part that was had goes too
            self.spend()
            raise
        finally:
            os.close(handle)

    def spend(self) -> bool:
        """Remove the file; False if there is none."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)
            return True
        return False

    def spend_some(self, size_bytes: int) -> bool:
        """Make the file so much smaller; False if it has not as much."""
        with suppress(FileNotFoundError):
            left = os.stat(self._path).st_size - size_bytes
            if left >= 0:
                os.truncate(self._path, left)
                return True
        return False
