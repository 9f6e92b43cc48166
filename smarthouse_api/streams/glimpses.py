"""Glimpses of packets, for people: when each came, how large it is, and what its first bytes say."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from smarthouse_api.streams.heads import Heads
from smarthouse_api.streams.model import LARGEST_INDEX, Packet, Stream
from smarthouse_api.streams.packet_store import PacketStore
from smarthouse_api.streams.reading import PacketReader

_TEXT_BYTES: Final = 2000
_JSON_CHARACTERS: Final = 4000
_DUMPED_BYTES: Final = 128
_LINE_BYTES: Final = 8
_READ_BYTES: Final = 8 << 20
_UNSEEN: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that let text look as if it stood in another order."""


@dataclass(frozen=True, slots=True)
class Glimpse:
    """Shows a packet. kind: `json`, `text`, `bytes` or `empty`. text: what to show. is_cut: there is more than is shown."""

    index: int
    received_at: datetime
    size: int
    kind: str
    text: str
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """Holds some glimpses in order, and from where the next ones begin. end: the index after the highest ever given."""

    glimpses: list[Glimpse]
    following: int
    end: int


class Glimpses:
    """Reads the packets of streams for people, some at a time."""

    def __init__(self, heads: Heads, store: PacketStore, reader: PacketReader) -> None:
        self._heads, self._store, self._reader = heads, store, reader

    def from_index(self, stream: Stream, start: int, limit: int) -> Seen:
        """Show the first packets from an index on: at most `limit`, and no more once some MB are read.

        Raises `NotFound` when the stream was deleted, `DamagedPackets`.
        """
        end = self._heads.look(stream).head.next
        found, size = list[Glimpse](), 0
        for packet in self._packets(stream, start, end, limit):
            found.append(glimpse(packet))
            size += len(packet.data)
            if len(found) == limit or size >= _READ_BYTES:
                return Seen(found, packet.index + 1, end)
        return Seen(found, max(start, end), end)

    def _packets(self, stream: Stream, start: int, end: int, limit: int) -> Iterator[Packet]:
        """The packets from `start`, at least one if there is any below `end`, but not all of a long stream."""
        while start < end:
            stop = min(start + limit, end) - 1
            for block in self._reader.blocks(stream, start, stop):
                yield from block.packets()
            if stop + 1 == end:
                return
            start = self._next(stream, stop + 1)

    def _next(self, stream: Stream, start: int) -> int:
        """The index of the next packet, behind a gap if there is one; the highest index there is if no packet is left."""
        for segment in self._store.segments(stream, start):
            if (first := self._first(stream, start, segment.last)) is not None:
                return first
        found = self._first(stream, start, LARGEST_INDEX)
        return LARGEST_INDEX if found is None else found

    def _first(self, stream: Stream, start: int, stop: int) -> int | None:
        return next((block.first for block in self._reader.blocks(stream, start, stop)), None)


def glimpse(packet: Packet) -> Glimpse:
    """Show a packet: as JSON if it is JSON, as text if it is text, else as the first bytes in hexadecimal digits."""
    kind, text, is_cut = _shown(packet.data)
    return Glimpse(packet.index, packet.received_at, len(packet.data), kind, text, is_cut)


def _shown(data: bytes) -> tuple[str, str, bool]:
    if not data:
        return "empty", "", False
    if (text := _text(data)) is None:
        return "bytes", _dump(data[:_DUMPED_BYTES]), len(data) > _DUMPED_BYTES
    is_cut = len(data) > _TEXT_BYTES
    pretty = None if is_cut else _pretty(data)
    return ("text", text, is_cut) if pretty is None else ("json", pretty, False)


def _text(data: bytes) -> str | None:
    """The first bytes as text; None if they are none, or would not look like what they are."""
    try:
        # A character that is cut in two is not shown.
        text = codecs.getincrementaldecoder("utf-8")().decode(data[:_TEXT_BYTES], final=len(data) <= _TEXT_BYTES)
    except UnicodeDecodeError:
        return None
    return text if all(character in "\t\r\n" or _is_shown(character) for character in text) else None


def _is_shown(character: str) -> bool:
    return character.isprintable() or (unicodedata.category(character) in ("Zs", "Cf") and character not in _UNSEEN)


def _pretty(data: bytes) -> str | None:
    """An object or an array of JSON over several lines; None for all else, and if that would be too long."""
    if data.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        pretty = msgspec.json.format(data, indent=2).decode()
    except (msgspec.DecodeError, RecursionError):
        return None
    return pretty if len(pretty) <= _JSON_CHARACTERS else None


def _dump(data: bytes) -> str:
    lines = (data[at : at + _LINE_BYTES] for at in range(0, len(data), _LINE_BYTES))
    return "\n".join(
        f"{number * _LINE_BYTES:04x}  {line.hex(' '):<{3 * _LINE_BYTES - 1}}  {_letters(line)}"
        for number, line in enumerate(lines)
    )


def _letters(line: bytes) -> str:
    return "".join(chr(one) if 0x20 <= one < 0x7F else "." for one in line)
