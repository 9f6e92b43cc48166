"""Keep objects as files below one folder.

A key is a path. The folders below the root are `objects`, `tables` (deltalake's) and `written` (unfinished puts). The file
`reserve` keeps room aside.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from backends.checks import begins_keys, check_key, check_path, check_range
from backends.disks import ReserveFile, free_bytes
from backends.faults import TranslatesFaults
from backends.own_files import OwnFile, ShowsFiles, chunks_of, files_below
from backends.ports import Conflict, KeepsReserve, NoSuchObject, ObjectInfo, ObjectStore, StoreUnavailable, TableLocation
from backends.urls import chosen, path_and_options

_RESERVE_BYTES = 16 << 20
_OPTIONS = {"fsync": "0"}
_NO_FILE = (FileNotFoundError, IsADirectoryError)
# Each try that fails has lost a race against a delete.
_TRIES = 100
# How object_store names a file until it is whole, and delta-rs a commit until it has its number.
_HALF_WRITTEN = re.compile(r".*#\d+|_commit_.*\.json\.tmp")


class FilesystemObjects(TranslatesFaults, ObjectStore, KeepsReserve, ShowsFiles):
    """Keeps objects in the files of one machine: `file://path?fsync=0`.

    fsync: `1`, a put waits for the disk; `0`, a power cut may lose it, a crash of the process does not.
    """

    def __init__(self, url: str) -> None:
        root, options = path_and_options(url, _OPTIONS)
        self._fsync = chosen(options, "fsync", ("0", "1")) == "1"
        self._root, self._opened = root, (0, 0)
        self._objects = os.path.join(root, "objects")
        self._written = os.path.join(root, "written")
        self._tables = os.path.join(root, "tables")
        self._reserve = ReserveFile(os.path.join(root, "reserve"))

    def put(self, key: str, chunks: Iterable[bytes], *, if_absent: bool = False) -> int:
        return self._put(os.path.join(self._objects, check_key(key)), chunks, if_absent)

    def get(self, key: str) -> bytes:
        return b"".join(self.stream(key, chunk_bytes=1 << 30))

    def stream(self, key: str, start: int = 0, length: int | None = None, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        check_range(start, length, chunk_bytes)
        return _opened(os.path.join(self._objects, check_key(key)), key, start, length, chunk_bytes)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        if begins_keys(prefix):
            folder, _, _ = prefix.rpartition("/")
            yield from _walk(self._objects, f"{folder}/" if folder else "", prefix)

    def delete(self, keys: Iterable[str]) -> None:
        paths = [os.path.join(self._objects, check_key(key)) for key in keys]
        for path in paths:
            with suppress(*_NO_FILE):
                os.unlink(path)
        for folder in sorted({os.path.dirname(path) for path in paths}, reverse=True):
            self._sync(folder)
            self._prune(folder, self._objects)

    def sweep(self) -> int:
        removed = 0
        with suppress(FileNotFoundError), os.scandir(self._written) as entries:
            for entry in entries:
                removed += _remove_if_abandoned(entry.path)
        return removed

    def missing(self) -> str | None:
        return None if os.path.isdir(self._root) else f"the folder {self._root} does not exist: correct its name"

    def check(self) -> str:
        handle, temporary = self._begin()
        try:
            _write(handle, b"check")
            if self._fsync:
                os.fsync(handle)
        finally:
            os.unlink(temporary)
            os.close(handle)
        return f"{shutil.disk_usage(self._written).free >> 20} MiB are free"

    def table_location(self, name: str) -> TableLocation:
        return TableLocation(Path(os.path.join(self._tables, check_key(name))).as_uri())

    def sweep_table(self, name: str, dead: Iterable[str] = ()) -> int:
        table = os.path.join(self._tables, check_key(name))
        folders = set[str]()
        for path in dead:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(table, path))
            folders.add(os.path.dirname(os.path.join(table, path)))
        for folder in folders:
            self._prune(folder, self._tables)
        half_written = [
            os.path.join(folder, name)
            for folder, _, names in os.walk(table, onerror=_raise_unless_missing)
            for name in names
            if _HALF_WRITTEN.fullmatch(name)
        ]
        for path in half_written:
            with suppress(FileNotFoundError):
                os.unlink(path)
        return len(half_written)

    def list_table(self, name: str, prefix: str = "") -> Iterator[ObjectInfo]:
        folder, _, _ = prefix.rpartition("/")
        found = _walk(os.path.join(self._tables, check_key(name)), f"{folder}/" if folder else "", prefix)
        yield from (info for info in found if not _HALF_WRITTEN.fullmatch(os.path.basename(info.key)))

    def stream_table(self, name: str, path: str, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        check_range(0, None, chunk_bytes)
        return _opened(os.path.join(self._tables, check_key(name), check_path(path)), path, 0, None, chunk_bytes)

    def put_table(self, name: str, path: str, chunks: Iterable[bytes]) -> int:
        return self._put(os.path.join(self._tables, check_key(name), check_path(path)), chunks)

    def own_files(self, tables: Collection[str]) -> Iterator[OwnFile]:
        listed = [os.path.join(self._tables, check_key(name), "") for name in tables]
        for path in files_below(self._root):
            is_object = path.startswith(os.path.join(self._objects, ""))
            is_of_table = path.startswith(tuple(listed)) and not _HALF_WRITTEN.fullmatch(os.path.basename(path))
            name = path.removeprefix(os.path.join(self._root, ""))
            if path.endswith("/"):
                yield OwnFile(name)
            elif not (is_object or is_of_table):
                yield OwnFile(name, chunks_of(path))

    def free_bytes(self) -> int:
        return free_bytes(self._objects)

    def keep_reserve(self) -> None:
        self._reserve.keep(_RESERVE_BYTES)

    def spend_reserve(self) -> bool:
        return self._reserve.spend()

    def _put(self, target: str, chunks: Iterable[bytes], if_absent: bool = False) -> int:
        handle, temporary = self._begin()
        try:
            size_bytes = 0
            for chunk in chunks:
                size_bytes += len(chunk)
                _write(handle, chunk)
            self._finish(handle, temporary, target, if_absent)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        finally:
            os.close(handle)
        return size_bytes

    def _begin(self) -> tuple[int, str]:
        """Begin a new file that no sweep removes, because its writer holds the lock on it."""
        for _ in range(_TRIES):
            temporary = os.path.join(self._written, os.urandom(12).hex())
            try:
                handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:
                self._make(self._written)
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                # A sweep may have been faster than the lock.
                if os.fstat(handle).st_nlink:
                    self._opened = self._opened if any(self._opened) else self._identity()
                    return handle, temporary
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)
        raise FileNotFoundError(errno.ENOENT, "no file can be begun", self._written)

    def _finish(self, handle: int, temporary: str, target: str, if_absent: bool) -> None:
        if self._fsync:
            os.fsync(handle)
        folder = os.path.dirname(target)
        for _ in range(_TRIES):
            try:
                if if_absent:
                    os.link(temporary, target)
                    os.unlink(temporary)
                else:
                    os.rename(temporary, target)
                break
            except FileExistsError:
                raise Conflict(f"there is an object already: {os.path.relpath(target, self._objects)!r}") from None
            except FileNotFoundError:
                # The folder is new, or was pruned by a delete.
                self._make(folder)
        else:
            raise FileNotFoundError(errno.ENOENT, "no file can be put", target)
        self._sync(folder)

    def _make(self, folder: str) -> None:
        if any(self._opened) and self._identity() != self._opened:
            raise StoreUnavailable(
                f"the folder of the objects, {os.path.basename(self._root)}, was removed, or another put in its place, while"
                " this process had it open; put it back, or restart the service if it is the right one"
            )
        # Either error is a race against a delete that prunes; the caller tries again, and then meets what is really wrong.
        with suppress(FileNotFoundError, FileExistsError):
            os.makedirs(folder, exist_ok=True)
        while folder not in (self._objects, self._written, self._tables):
            folder = os.path.dirname(folder)
            self._sync(folder)
        self._sync(os.path.dirname(folder))

    def _identity(self) -> tuple[int, int]:
        """Tell which folder the root is now; zeros for none. One that was moved is not made anew: it would be empty."""
        try:
            found = os.stat(self._root)
        except FileNotFoundError:
            return 0, 0
        return found.st_dev, found.st_ino

    def _sync(self, folder: str) -> None:
        """Wait until the names in the folder are on the disk; a folder that is gone has none."""
        if self._fsync:
            with suppress(FileNotFoundError):
                handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)

    def _prune(self, folder: str, root: str) -> None:
        """Remove the folder and those above it that are empty, below the root."""
        while folder != root:
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                pass
            except OSError:
                return
            folder = os.path.dirname(folder)


def _walk(root: str, above: str, prefix: str) -> Iterator[ObjectInfo]:
    """List the files whose path below `root` starts with `prefix`, in the folder that the paths' beginning `above` names."""
    for name in _names(os.path.join(root, above)):
        key = above + name
        if not key.startswith(prefix):
            continue
        if name.endswith("/"):
            yield from _walk(root, key, prefix)
            continue
        try:
            status = os.stat(os.path.join(root, key))
        except _NO_FILE:
            continue
        yield ObjectInfo(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _names(folder: str) -> Iterable[str]:
    """List the last segments of the paths right below `folder`, in the order of the whole paths: a folder's is `name/`."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries)
    return ()


def _opened(path: str, key: str, start: int, length: int | None, chunk_bytes: int) -> Iterator[bytes]:
    """Open the file of `key`, so that its bytes come though it be replaced. Raises `NoSuchObject`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NoSuchObject(key) from error
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        os.close(handle)
        raise NoSuchObject(key)
    chunks = _chunks(handle, start, length, chunk_bytes)
    next(chunks)  # From here on the generator closes the file, even if nobody asks it for a chunk.
    return chunks


def _write(handle: int, chunk: bytes) -> None:
    written = os.write(handle, chunk)
    while written < len(chunk):
        written += os.write(handle, memoryview(chunk)[written:])


def _chunks(handle: int, start: int, length: int | None, chunk_bytes: int) -> Iterator[bytes]:
    try:
        yield b""
        size_bytes = os.fstat(handle).st_size
        end = size_bytes if length is None else min(start + length, size_bytes)
        while start < end:
            chunk = os.pread(handle, min(chunk_bytes, end - start), start)
            if not chunk:
                raise StoreUnavailable("the file is shorter than it was")
            start += len(chunk)
            yield chunk
    finally:
        os.close(handle)


def _remove_if_abandoned(path: str) -> bool:
    """Remove the file unless its writer lives."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
        return True
    except (BlockingIOError, FileNotFoundError):
        return False
    finally:
        os.close(handle)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
