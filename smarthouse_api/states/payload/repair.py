"""JSON that is not quite JSON: what Home Assistant's own encoder and the integration's sanitiser let through.

Python writes `NaN` and lone surrogates, the sanitiser turns the `+` of `1e+16` into `_`, and a client may nest without end.
Here the text becomes JSON, with a mark in place of each fault: so a fault costs its state, and not the whole body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import numpy as np
import numpy.typing as npt

NOT_A_NUMBER: Final = b"-9.9e99999"
"""In place of NaN and the infinities: a JSON number that no float holds."""

NOT_A_CHARACTER: Final = "\uffff"
"""In place of a lone surrogate: Unicode promises that it will never be a character."""

_ESCAPED_MARK: Final = b"\\uffff"
_LONE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_SHORT: Final = 4096  # below, the columns below cost more than reading it
_CHUNK: Final = 1 << 20

Bytes = npt.NDArray[np.uint8]


def repair(text: bytes, max_depth: int) -> bytes:
    """Make JSON of UTF-8 text that has the faults named above; other text stays as it is.

    What lies deeper than `max_depth` arrays and objects is emptied, so that it is still too deep, but no longer deep.
    """
    pieces = []
    for piece, inside, step, depth in _structure(_without_lone_surrogates(text)):
        repaired = piece.copy()
        repaired[(piece == ord("_")) & ~inside] = ord("+")
        # No UTF-8 text holds these two bytes, so they keep a string's letters out of the replacing below.
        repaired[(piece == ord("N")) & inside] = 0xFF
        repaired[(piece == ord("I")) & inside] = 0xFE
        pieces.append(repaired[(depth <= max_depth) | ((depth == max_depth + 1) & (step == 1))].tobytes())
    joined = b"".join(pieces)
    for literal in (b"NaN", b"-Infinity", b"Infinity"):
        joined = joined.replace(literal, NOT_A_NUMBER)
    return joined.replace(b"\xff", b"N").replace(b"\xfe", b"I")


def marked(raw: bytes) -> bool:
    """Return whether a piece of repaired text holds one of the marks."""
    return NOT_A_NUMBER in raw or _ESCAPED_MARK in raw or NOT_A_CHARACTER.encode() in raw


def entries_of(text: bytes, levels: int = 2) -> int:
    """Count the values of a body, to within one: its members, and the entries of the members that are arrays.

    levels: how many arrays and objects deep the count goes.
    """
    return sum(len(places) for places in _places(text, ",", levels))


def count_members(text: bytes) -> int:
    """Count the members of an object, and each of a name that comes twice."""
    if len(text) < _SHORT:
        with suppress(ValueError, RecursionError):
            return len(json.loads(text, object_pairs_hook=list))
    return sum(len(places) for places in _places(text, ":", 1))


def split_members(text: bytes) -> Iterator[bytes]:
    """Cut the text of an object into its members, each as an object of its own."""
    start = text.index(b"{") + 1
    for places in _places(text, ",", 1):
        for place in places.tolist():
            yield b"{%b}" % text[start:place]
            start = place + 1
    yield b"{%b}" % text[start : text.rindex(b"}")]


def _places(text: bytes, character: str, levels: int) -> Iterator[npt.NDArray[np.int64]]:
    """The places of a character outside of strings, so many levels deep at most, a chunk at a time."""
    start = 0
    for piece, inside, _, depth in _structure(text):
        yield np.flatnonzero((piece == ord(character)) & ~inside & (depth <= levels)) + start
        start += len(piece)


def depth_of(raw: bytes) -> int:
    """Measure how deep arrays and objects are nested in JSON text."""
    return max((int(depth.max()) for _, _, _, depth in _structure(raw)), default=0)


def words_of(fault: ValueError, text: bytes) -> str:
    """Say what is wrong with JSON text that a decoder refused, and where.

    A decoder may take a lone surrogate for the end of the text.
    """
    if "surrogate" in str(fault) or "truncated" in str(fault):
        lone = next(_lone_surrogates(text), None)
        # Without a quote after it, the text may well end in the middle of a pair.
        if lone is not None and b'"' in text[lone.end() :]:
            return f"{lone[0].decode()} at byte {lone.start()} is only half of a surrogate pair; send both halves, or neither"
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 text: byte {error.start} fits no character"
    return "a number is too large for JSON readers; send it as text" if "out of range" in str(fault) else str(fault)


def _structure(text: bytes) -> Iterator[tuple[Bytes, npt.NDArray[np.bool_], npt.NDArray[np.int8], npt.NDArray[np.int32]]]:
    """Yield chunks of the text: its bytes, which are in a string, what each adds to the depth, and the depth after it."""
    plain = np.frombuffer(_without_escapes(text), np.uint8)
    original = np.frombuffer(text, np.uint8)
    in_string, deep = False, 0
    for start in range(0, len(text), _CHUNK):
        piece = plain[start : start + _CHUNK]
        inside = np.bitwise_xor.accumulate(piece == ord('"')) ^ in_string
        folded = piece | 0x20  # "[" and "{" differ in this bit only, and so do "]" and "}"
        step = ((folded == ord("{")) & ~inside).astype(np.int8) - ((folded == ord("}")) & ~inside).astype(np.int8)
        depth = np.cumsum(step, dtype=np.int32) + np.int32(deep)
        in_string, deep = bool(inside[-1]), int(depth[-1])
        yield original[start : start + _CHUNK], inside, step, depth


def _without_escapes(text: bytes) -> bytes:
    return text.replace(b"\\\\", b"__").replace(b'\\"', b"__")


def _without_lone_surrogates(text: bytes) -> bytes:
    if b"\\u" not in text:
        return text
    repaired = bytearray(text)
    for found in _lone_surrogates(text):
        repaired[found.start() : found.end()] = _ESCAPED_MARK
    return bytes(repaired)


def _lone_surrogates(text: bytes) -> Iterator[re.Match[bytes]]:
    """Find each escape of a surrogate that is no half of a pair, such as `\\ud83d` alone."""
    return _LONE.finditer(text.replace(b"\\\\", b"__"))
