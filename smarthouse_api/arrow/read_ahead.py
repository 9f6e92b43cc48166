"""Reading ahead: a thread makes the next chunks while the reader works on the last one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final, Generic, TypeVar

READ_AHEAD_BYTES: Final = 8 << 20

Chunk = TypeVar("Chunk")


def read_ahead(
    chunks: Iterable[Chunk],
    max_bytes: int = READ_AHEAD_BYTES,
    size_of: Callable[[Chunk], int] = len,  # type: ignore[assignment]
) -> Generator[Chunk]:
    """Yield the same chunks, made in a thread that runs ahead by at most `max_bytes` and the chunk that it is making.

    The thread starts when the first chunk is asked for. An exception in the thread is raised here. When this iterator is
    closed, the thread finishes the chunk that it is making, closes `chunks`, and is joined.
    """
    ahead = _Ahead(max_bytes, size_of)
    thread = threading.Thread(target=ahead.fill, args=(chunks,), name="read-ahead", daemon=True)
    thread.start()
    try:
        yield from ahead.drain()
    finally:
        ahead.stop()
        if thread is not threading.current_thread():  # which may collect an iterator that nobody holds any more
            thread.join()


class _Ahead(Generic[Chunk]):
    """Passes chunks from the thread that makes them to the one that takes them, and stops the first if it is too far ahead."""

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
        """Pass on a chunk, and wait for room. Returns whether another chunk is wanted."""
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
