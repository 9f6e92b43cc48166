"""Decompression: from a body's bytes to its JSON text, whichever coding it has, and never more than the limits allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeAlias

import zstandard
from isal import isal_zlib

from config.groups import RequestSettings
from smarthouse_api.errors import TooLarge

BOM: Final = b"\xef\xbb\xbf"
GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"

CODINGS: Final = ("gzip", "deflate", "zstd")
"""What a `Content-Encoding` may name."""

RATIO_FLOOR: Final = 4 << 20
"""Decoded bytes below which no ratio is asked for: a short upload of a quiet home may repeat itself as it likes.

A real home's upload stays below a ratio of 60; deflate cannot pass 1032.
"""

_MOST_TINY_MEMBERS: Final = 1000
_TINY_BYTES: Final = 1024
"""Members of gzip and frames of zstd that hold less than this on average are tiny: opening one costs more than its bytes."""

_EXPANSION: Final = 2
_EXPANSION_FLOOR: Final = 1 << 20
"""A body of more compressed bytes may be at most so many times as large as what it holds.

Blocks that hold nothing take time, and give no bytes. No program that compresses writes such.
"""

_CHUNK: Final = 1 << 20
_FEED: Final = 1 << 16
_ZSTD_FEED: Final = 1 << 8  # zstd's densest block makes 128 KiB of four bytes, and its decoder cannot be told to stop
_ZSTD_WINDOW: Final = 8 << 20  # what RFC 9659 lets a content coding ask for
_LAYERS: Final = 4
_IsalError: Final[type[Exception]] = isal_zlib.IsalError  # type: ignore[assignment]  # its stub declares an instance


class Undecodable(Exception):
    """Refuses a body that cannot be decoded; the message tells the client why.

    fault: "decoding" if its bytes are no text, "structure" if its text is not the JSON that it should be.
    """

    def __init__(self, message: str, fault: str = "decoding") -> None:
        super().__init__(message)
        self.fault = fault


class UnknownCoding(Undecodable):
    """Refuses a coding that `Content-Encoding` names and nobody here knows."""


Pieces: TypeAlias = Iterator[tuple[bytes, int]]
"""Decoded pieces, each with the bytes consumed so far."""


def unpack(body: bytes, content_encoding: str | None, settings: RequestSettings) -> bytes:
    """Decompress a body to its UTF-8 text, without a byte order mark. Raises `TooLarge` and `Undecodable`.

    The codings named by `content_encoding` are undone first, then zlib, gzip and zstd wherever they are recognised.
    """
    text = undo_codings(body, content_encoding, settings)
    for _ in range(_LAYERS):
        opener = _recognised(text)
        if opener is None:
            return _checked(text, settings)
        text = _undo(opener, text, len(body), settings)
    raise Undecodable(f"The body is compressed more than {_LAYERS} times over.")


def undo_codings(body: bytes, content_encoding: str | None, settings: RequestSettings) -> bytes:
    """Undo the codings named by `content_encoding`, the last one first. Raises `TooLarge`, `Undecodable`, `UnknownCoding`."""
    text, codings = body, _codings(content_encoding)
    if len(codings) > _LAYERS:
        raise Undecodable(f"Content-Encoding names {len(codings)} codings; at most {_LAYERS} are undone.")
    for coding in reversed(codings):
        text = _undo(_named(coding, text), text, len(body), settings)
    return text


def known_codings(content_encoding: str | None) -> tuple[str, ...] | None:
    """Return the codings that `Content-Encoding` names, as `undo_codings` understands them; None if it refuses them."""
    codings = tuple("gzip" if coding == "x-gzip" else coding for coding in _codings(content_encoding))
    return codings if len(codings) <= _LAYERS and {*codings} <= {*CODINGS} else None


def _codings(content_encoding: str | None) -> list[str]:
    named = [coding.strip().lower() for coding in (content_encoding or "").split(",")]
    return [coding for coding in named if coding not in ("", "identity")]


def _named(coding: str, text: bytes) -> Callable[[bytes], Pieces]:
    if coding in ("gzip", "x-gzip"):
        return _gzip
    if coding == "deflate":
        return _zlib if _is_zlib(text) else partial(_isal, wbits=-15, name="deflate")
    if coding == "zstd":
        return _zstd
    raise UnknownCoding(f"Content-Encoding {coding[:40]!r} is not understood; accepted: {', '.join(CODINGS)}, identity.")


def _recognised(text: bytes) -> Callable[[bytes], Pieces] | None:
    if _is_zlib(text):
        return _zlib
    if text.startswith(GZIP):
        return _gzip
    return _zstd if text.startswith(ZSTD) else None


def _is_zlib(text: bytes) -> bool:
    # Any window size and level; no byte that may open a JSON object or array passes for the first of the two.
    return len(text) > 1 and text[0] & 0x8F == 0x08 and not text[1] & 0x20 and (text[0] << 8 | text[1]) % 31 == 0


def _undo(opener: Callable[[bytes], Pieces], text: bytes, received: int, settings: RequestSettings) -> bytes:
    pieces, size = [], 0
    for piece, consumed in opener(text):
        size += len(piece)
        if size > settings.max_decoded_bytes:
            raise TooLarge(f"The decompressed body exceeds {settings.max_decoded_bytes} bytes.")
        if size > RATIO_FLOOR and size > settings.max_compression_ratio * max(1, min(consumed, received)):
            raise TooLarge(f"The body decompresses to more than {settings.max_compression_ratio} times its size.")
        if consumed > _EXPANSION_FLOOR + _EXPANSION * size:
            raise TooLarge(f"The body is more than {_EXPANSION} times as large as what it holds; send that as it is.")
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class _Members:
    """Counts the parts of one stream, and refuses many tiny ones. size: of what they held so far, decoded."""

    def __init__(self, name: str) -> None:
        self._name, self._count, self.size = name, 0, 0

    def end_one(self) -> None:
        """Count a part that has ended. Raises `TooLarge`."""
        self._count += 1
        if self._count > _MOST_TINY_MEMBERS + self.size // _TINY_BYTES:
            told = f"more than {_MOST_TINY_MEMBERS} {self._name} of less than {_TINY_BYTES} bytes each"
            raise TooLarge(f"The body has {told}; compress it in one piece.")


def _isal(data: bytes, wbits: int, name: str) -> Pieces:
    """Decompress a zlib, gzip or raw deflate stream; only gzip may hold several members."""
    view, position, members = memoryview(data), 0, _Members("gzip members")
    while True:
        inflater = isal_zlib.decompressobj(wbits)
        while not inflater.eof:
            feed = inflater.unconsumed_tail or view[position : position + _FEED]
            if feed is not inflater.unconsumed_tail:
                position += len(feed)
            try:
                piece = inflater.decompress(feed, _CHUNK)
            except _IsalError as error:
                raise Undecodable(f"The {name} stream is damaged: {error}.") from None
            if not piece and not feed and not inflater.eof:
                raise Undecodable(f"The {name} stream is cut short.")
            yield piece, position - len(inflater.unconsumed_tail)
            members.size += len(piece)
        members.end_one()
        position -= len(inflater.unused_data)
        if position == len(data):
            return
        if name != "gzip" or data[position : position + 2] != GZIP:
            raise Undecodable(f"{len(data) - position} bytes follow the end of the {name} stream.")


_zlib: Final = partial(_isal, wbits=15, name="zlib")
_gzip: Final = partial(_isal, wbits=31, name="gzip")


def _zstd(data: bytes) -> Pieces:
    decoder, position = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW), 0
    members = _Members("zstd frames")
    while True:
        frame = decoder.decompressobj()
        while not frame.eof:
            feed = data[position : position + _ZSTD_FEED]
            if not feed:
                raise Undecodable("The zstd stream is cut short.")
            position += len(feed)
            try:
                piece = frame.decompress(feed)
            except zstandard.ZstdError as error:
                raise Undecodable(f"The zstd stream is damaged: {error}.") from None
            yield piece, position
            members.size += len(piece)
        members.end_one()
        position -= len(frame.unused_data)
        if position == len(data):
            return
        if data[position : position + 4] != ZSTD:
            raise Undecodable(f"{len(data) - position} bytes follow the end of the zstd stream.")


def _checked(text: bytes, settings: RequestSettings) -> bytes:
    if len(text) > settings.max_decoded_bytes:
        raise TooLarge(f"The body exceeds {settings.max_decoded_bytes} bytes.")
    text = text.removeprefix(BOM)
    if not text:
        raise Undecodable("The body is empty.")
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise Undecodable(f"The body is not UTF-8 text: byte {error.start} fits no character.") from None
    return text
