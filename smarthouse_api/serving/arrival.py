"""The arrival of a request: its bytes as they come, and when a thread may serve it without waiting for the client.

Nothing here decides where a request ends: gunicorn's parser does that, from the same bytes. A mistake would only cost a wait.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST_HEAD: Final = 1 << 16
_LONGEST_LINE: Final = 8192
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*(?=\r\n)")
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked")
_CONTINUE: Final = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)")


class Arrival:
    """Collects the bytes of one request. longest_body: a longer one is refused before it comes."""

    def __init__(self, longest_body: int) -> None:
        self.bytes = bytearray()
        self.size = 0
        """The number of bytes that have come, those included that a reader has taken out again."""
        self.has_head = False
        self.is_whole = False
        self.is_hopeless = False
        """The parser or the application refuses what has come: no more of it is needed."""
        self.waits_for_continue = False
        self._longest_body = longest_body
        self._searched = 0
        self._end: int | None = None
        """Where the request ends, or its next chunk begins."""
        self._is_chunked = False

    @property
    def is_ready(self) -> bool:
        return self.is_whole or self.is_hopeless

    def add(self, piece: bytes) -> None:
        """Take in bytes that have come."""
        self.bytes += piece
        self.size += len(piece)
        if not self.has_head:
            self._look_for_head()
        if self.has_head and not self.is_ready:
            self._look_for_end()

    def _look_for_head(self) -> None:
        head = self.bytes.find(b"\r\n\r\n", max(0, self._searched - 3))
        self._searched = len(self.bytes)
        if head < 0:
            first_line = self.bytes.find(b"\n", 0, _LONGEST_LINE)
            self.is_hopeless = (
                len(self.bytes) > LONGEST_HEAD
                or (first_line < 0 and len(self.bytes) > _LONGEST_LINE)
                or self.bytes.count(b"\n") != self.bytes.count(b"\r\n")
            )
            return
        self.has_head, lines = True, bytes(self.bytes[: head + 2]).lower()
        self.is_hopeless = head > LONGEST_HEAD
        self._end, length = head + 4, _LENGTH.search(lines)
        self._is_chunked = _CHUNKED.search(lines) is not None
        if length is not None and not self._is_chunked:
            self._end += int(length[1])
            self.is_hopeless |= int(length[1]) > self._longest_body
        self.waits_for_continue = _CONTINUE.search(lines) is not None

    def _look_for_end(self) -> None:
        assert self._end is not None
        if self._is_chunked:
            self._skip_chunks(self._end)
        else:
            self.is_whole = len(self.bytes) >= self._end

    def _skip_chunks(self, at: int) -> None:
        while (line_end := self.bytes.find(b"\r\n", at, at + _LONGEST_LINE)) >= 0:
            try:
                size = int(self.bytes[at:line_end].partition(b";")[0], 16)
            except ValueError:
                self.is_hopeless = True
                return
            if size <= 0:
                trailers = self.bytes[line_end : line_end + LONGEST_HEAD]
                self.is_whole = b"\r\n\r\n" in trailers
                self.is_hopeless = size < 0 or (not self.is_whole and len(trailers) == LONGEST_HEAD)
                break
            if len(self.bytes) < line_end + size + 4:
                break
            at = line_end + size + 4
        self._end = at
        self.is_hopeless |= len(self.bytes) > self._longest_body + LONGEST_HEAD
        self.is_hopeless |= line_end < 0 and len(self.bytes) - at >= _LONGEST_LINE
