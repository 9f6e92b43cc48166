"""A zip that is made while it is read: bounded memory, a prompt first byte, and no end unless all before it went well."""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from isal import isal_zlib
from stream_zip import ZIP_32, ZIP_64, stream_zip

MODE: Final = 0o100644
READ_AHEAD_BYTES: Final = 8 << 20

Chunk = TypeVar("Chunk")


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the zip. `packed`: its bytes are compressed already and are only stored."""

    name: str
    chunks: Iterable[bytes]
    packed: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What went into the zip under a name: uncompressed bytes, and their SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


def archive(
    members: Iterable[Member],
    *,
    modified_at: datetime,
    trailer: Callable[[list[Written]], Iterable[Member]] | None = None,
    zip64: bool = True,
) -> Generator[bytes]:
    """The bytes of a zip with these members, then those that `trailer` makes of what was written.

    Producing a member runs in a thread of its own, ahead of the deflating. A fault in a member or in the trailer is raised
    here, before the zip's directory: no reader takes what came out for a whole zip. Closing the iterator stops the thread.

    `modified_at` has a time zone. `zip64=False`, for a zip that is certain to stay below 4 GiB, is understood by older
    tools too; `zip64=True`, for any size, by Info-ZIP 6, Python, 7-Zip and Windows since Vista.
    """
    packed = False

    # stream_zip asks for a compressor at the start of each member, in turn.
    def compressor() -> Any:
        return zlib.compressobj(level=0, wbits=-zlib.MAX_WBITS) if packed else isal_zlib.compressobj(level=1, wbits=-15)

    with ExitStack() as running:

        def entries() -> Iterator[tuple[str, datetime, int, Any, Iterable[bytes]]]:
            nonlocal packed
            written: list[Written] = []
            for member in members:
                packed = member.packed
                chunks = running.enter_context(closing(read_ahead(member.chunks)))
                yield member.name, modified_at, MODE, method, _noted(member.name, chunks, written) if trailer else chunks
            for member in trailer(written) if trailer else ():
                packed = member.packed
                yield member.name, modified_at, MODE, method, member.chunks

        method = ZIP_64 if zip64 else ZIP_32
        yield from stream_zip(entries(), get_compressobj=compressor)


def _noted(name: str, chunks: Iterable[bytes], written: list[Written]) -> Iterator[bytes]:
    size, digest = 0, hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        digest.update(chunk)
        yield chunk
    written.append(Written(name, size, digest.hexdigest()))


def read_ahead(
    chunks: Iterable[Chunk],
    max_bytes: int = READ_AHEAD_BYTES,
    size_of: Callable[[Chunk], int] = len,  # type: ignore[assignment]
) -> Generator[Chunk]:
    """The same chunks, made in a thread that runs ahead by at most `max_bytes` and the chunk that it is making.

    The thread starts with the first chunk asked for. What it raises is raised here. When this iterator is closed, the thread
    finishes the chunk that it is making, closes `chunks`, and is joined.
    """
    ahead = _Ahead(max_bytes, size_of)
    thread = threading.Thread(target=ahead.fill, args=(chunks,), name="read-ahead", daemon=True)
    thread.start()
    try:
        yield from ahead.drain()
    finally:
        ahead.stop()
        thread.join()


class _Ahead(Generic[Chunk]):
    """The chunks between the thread that makes them and the one that takes them."""

    def __init__(self, max_bytes: int, size_of: Callable[[Chunk], int]) -> None:
        self._size_of = size_of
        self._changed = threading.Condition()
        self._chunks: deque[Chunk] = deque()
        self._room = max_bytes
        self._ended = self._stopped = False
        self._fault: BaseException | None = None

    def fill(self, chunks: Iterable[Chunk]) -> None:
        try:
            iterator = iter(chunks)
            try:
                while not self._stopped and self._put(next(iterator, None)):
                    pass
            finally:
                if hasattr(iterator, "close"):
                    iterator.close()
        except BaseException as fault:  # whatever it is, the reader must not take it for the end
            self._fault = fault
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _put(self, chunk: Chunk | None) -> bool:
        """Whether another chunk is wanted. Waits for room."""
        if chunk is None:
            return False
        with self._changed:
            self._chunks.append(chunk)
            self._room -= self._size_of(chunk)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._room > 0 or self._stopped)
            return not self._stopped

    def drain(self) -> Iterator[Chunk]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._chunks or self._ended)
                if not self._chunks:
                    break
                chunk = self._chunks.popleft()
                self._room += self._size_of(chunk)
                self._changed.notify_all()
            yield chunk
        if self._fault is not None:
            raise self._fault

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
