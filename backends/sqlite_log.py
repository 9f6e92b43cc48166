"""Tell whether SQLite's log belongs to its file and is whole, before SQLite reads it.

SQLite takes what it finds: it replays the log of another file, and ignores a log that was emptied. After processes were killed,
the index of the log, `-shm`, is left. It says how many frames of the log were committed, and how many of them the file has.
See "WAL-Index Header" in SQLite's description of the format. What it tells is compared with both files:

1. The log must be whole up to the last committed frame. It may be missing if the file has all frames.
2. A page whose last frame the file has must be the same in both. If no frame was ever copied, the file must be the older one.

Nothing is told by an index of before the machine's last start: after a power cut it may be ahead of the log. Nor is anything
told while another process has the file open.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Final

from backends.ports import StoreDamaged

_HEADER_BYTES: Final = 48
_INDEX: Final = struct.Struct("=IIIBBHII2I8s2I")
_CHECKPOINT: Final = struct.Struct("=I")
_COPIED_AT: Final = 96
_TRIED_AT: Final = 128
_OPEN_AT: Final = 128
"""The byte that each process with the file open holds a lock of."""

_LOG_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_MAGIC: Final = 0x377F0682
_WORD: Final = 0xFFFFFFFF
_WAIT_SECONDS: Final = 5.0
_LOCK: Final = struct.Struct("hhqqi")

_GO_ON: Final = "to go on with what is left, stop the service and run `smarthouse restore --keep-wal`"
_looking = threading.Lock()
_looked = set[tuple[int, str]]()


@dataclass(frozen=True, slots=True)
class _Index:
    """What the index of a log tells. committed: frames; pages: of the file then; copied: frames that the file has."""

    page_bytes: int
    committed: int
    pages: int
    checksum: tuple[int, int]
    salt: bytes
    copied: int
    tried: int


def look(path: str) -> bool:
    """Compare the log of a file with it, once in this process; whether there was one. Raises `StoreDamaged`, `OSError`.

    Call it before this process opens the file: to close a file that SQLite has open would end SQLite's locks.
    """
    path = os.path.realpath(path)
    with _looking:
        if (os.getpid(), path) in _looked:
            return False
        is_there = False
        with _alone(f"{path}-shm") as shm:
            if shm is not None and (index := _index_of(shm)) is not None and index.committed:
                _compare(path, index)
                is_there = True
        _looked.add((os.getpid(), path))
        return is_there


def accept(path: str) -> None:
    """Go on with what is left of the log, and take it for the file's. Raises `StoreDamaged` if the two make no whole.

    Does nothing while another process has the file open, and nothing once this process has had it open.
    """
    path = os.path.realpath(path)
    with _looking:
        if (os.getpid(), path) in _looked:
            return
        with _alone(f"{path}-shm") as shm:
            if shm is None:
                return
            if (index := _index_of(shm)) is not None and index.committed:
                _accept(path, index)
            os.unlink(f"{path}-shm")


def _accept(path: str, index: _Index) -> None:
    fault, last = _read(path, index)
    if fault is None or (last and _can_follow(index, last)):
        return
    if index.copied < index.committed and not _can_follow(index, last):
        raise StoreDamaged(_lost(path, index, fault, last))
    with suppress(FileNotFoundError):
        os.unlink(f"{path}-wal")  # a part of it would take the file back


def _can_follow(index: _Index, last: dict[int, int]) -> bool:
    """Tell whether the file is of no later time than the part of the log that is whole.

    A page is copied to the file once, from its last frame: in between, the file alone is of no time.
    """
    return max(last.values(), default=0) >= max(index.copied, index.tried)


@contextmanager
def _alone(name: str) -> Iterator[BinaryIO | None]:
    """Open the index, and keep every process from opening SQLite's file meanwhile. None: it is not there, or is in use."""
    try:
        shm = open(name, "r+b", buffering=0)  # noqa: SIM115
    except FileNotFoundError:
        yield None
        return
    with shm:
        yield shm if _is_ours(shm) else None


def _is_ours(shm: BinaryIO) -> bool:
    """Take the lock that each process with the file open shares. Waits for others that only look."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        with suppress(BlockingIOError, PermissionError):
            fcntl.lockf(shm, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _OPEN_AT)
            return True
        asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _OPEN_AT, 1, 0)
        if _LOCK.unpack(fcntl.fcntl(shm, fcntl.F_GETLK, asked))[0] == fcntl.F_RDLCK:
            return False
        if time.monotonic() > deadline:
            raise TimeoutError(f"another process keeps {os.path.basename(shm.name)} locked")
        time.sleep(0.005)


def _index_of(shm: BinaryIO) -> _Index | None:
    """Read the index; None if it tells nothing."""
    if os.fstat(shm.fileno()).st_mtime < time.time() - time.clock_gettime(time.CLOCK_BOOTTIME):
        return None
    told = shm.read(_TRIED_AT + 4)
    header = told[:_HEADER_BYTES]
    if len(told) < _TRIED_AT + 4 or header != told[_HEADER_BYTES : 2 * _HEADER_BYTES]:
        return None
    _, _, _, is_made, _, size, committed, pages, *checksum, salt, one, two = _INDEX.unpack(header)
    if not is_made or _summed(header[:40], "=", (0, 0)) != (one, two):
        return None
    copied, tried = (_CHECKPOINT.unpack_from(told, at)[0] for at in (_COPIED_AT, _TRIED_AT))
    return _Index((size & 0xFE00) | (size & 1) << 16, committed, pages, (checksum[0], checksum[1]), salt, copied, tried)


def _compare(path: str, index: _Index) -> None:
    fault, last = _read(path, index)
    if fault is None:
        _compare_file(path, index, last)
    elif fault not in ("is missing", "is empty") or index.copied < index.committed:
        raise StoreDamaged(_lost(path, index, fault, last))


def _lost(path: str, index: _Index, fault: str, last: dict[int, int]) -> str:
    told = (
        f"SQLite: {os.path.basename(path)}-wal {fault}; it had {index.committed} pages, and what was acknowledged last may"
        " be in no other file: put it back, or restore a backup"
    )
    return f"{told}; {_GO_ON}" if _can_follow(index, last) or index.copied >= index.committed else told


def _read(path: str, index: _Index) -> tuple[str | None, dict[int, int]]:
    """Read the log; what is wrong with it, and the last frame of each page before that."""
    last = dict[int, int]()
    try:
        with open(f"{path}-wal", "rb") as log:
            return _fault_of(log, index, last), last
    except FileNotFoundError:
        return "is missing", last


def _fault_of(log: BinaryIO, index: _Index, last: dict[int, int]) -> str | None:
    """Say what is wrong with the log; None for nothing. last: takes the last frame of each page."""
    header = log.read(_LOG_HEADER_BYTES)
    if not header:
        return "is empty"
    if len(header) < _LOG_HEADER_BYTES:
        return "is too short"
    magic, _, page_bytes, _, salt, *_ = struct.unpack(">IIII8sII", header)
    if magic & ~1 != _MAGIC or page_bytes != index.page_bytes or salt != index.salt:
        return "is of another file or of another time"
    order = ">" if magic & 1 else "<"
    summed = _summed(header[:24], order, (0, 0))
    for number in range(1, index.committed + 1):
        frame = log.read(_FRAME_HEADER_BYTES + page_bytes)
        if len(frame) < _FRAME_HEADER_BYTES + page_bytes:
            return "is too short"
        page, _, its_salt, one, two = struct.unpack_from(">II8sII", frame)
        summed = _summed(frame[_FRAME_HEADER_BYTES:], order, _summed(frame[:8], order, summed))
        if its_salt != salt or summed != (one, two):
            return "is damaged"
        last[page] = number
    return None if summed == index.checksum else "is damaged"


def _compare_file(path: str, index: _Index, last: dict[int, int]) -> None:
    name, page_bytes = os.path.basename(path), index.page_bytes
    other = (
        f"SQLite: {name} and {name}-wal do not belong together, or {name} is damaged; the safe way is to restore a backup; if"
        f" you put {name} back from a backup, remove {name}-wal and {name}-shm, and run `smarthouse restore`; to go on with"
        " both as they are, run `smarthouse restore --keep-wal`, which compares all that results with its checksums"
    )
    try:
        with open(path, "rb") as file, open(f"{path}-wal", "rb") as log:
            size, written_ns = os.fstat(file.fileno()).st_size, os.fstat(file.fileno()).st_mtime_ns
            is_newer = not index.copied and not index.tried and written_ns > os.fstat(log.fileno()).st_mtime_ns
            if size < page_bytes or is_newer:
                raise StoreDamaged(other)
            for page, number in last.items():
                if number <= index.copied and page <= index.pages:
                    file.seek((page - 1) * page_bytes)
                    log.seek(_LOG_HEADER_BYTES + number * (_FRAME_HEADER_BYTES + page_bytes) - page_bytes)
                    if file.read(page_bytes) != log.read(page_bytes):
                        raise StoreDamaged(other)
    except FileNotFoundError:
        raise StoreDamaged(
            f"SQLite: {name} is missing, and {name}-wal is there; put the file back, or restore a backup"
        ) from None


def _summed(data: bytes, order: str, before: tuple[int, int]) -> tuple[int, int]:
    """Go on with SQLite's checksum."""
    one, two = before
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for first, second in zip(words, words, strict=True):
        one = (one + first + two) & _WORD
        two = (two + second + one) & _WORD
    return one, two
