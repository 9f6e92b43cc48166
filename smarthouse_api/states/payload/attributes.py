"""The attributes of many states at once: from the JSON of each to lines of text, and to those that are kept, each read once."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.states.payload.repair import depth_of
from smarthouse_api.states.records.attributes import read_attributes, read_lines

ABOVE: Final = 3
"""A state's attributes lie in the state, in its entity's array, in the body's object."""

_write = msgspec.json.Encoder()

Bits = npt.NDArray[np.bool_]


def lines_of(raws: list[msgspec.Raw]) -> bytes:
    """Write the JSON of attributes, a line for each."""
    # One copy of them all costs a third of a copy of each. A line end inside one stands between its tokens.
    text = _write.encode_lines(raws)
    if text.count(b"\n") != len(raws):
        text = b"".join([bytes(raw).replace(b"\n", b"") + b"\n" for raw in raws])
    return text


def cut(text: bytes) -> pa.LargeBinaryArray:
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
    offsets = np.zeros(len(ends) + 1, np.int64)
    offsets[1:] = ends + 1
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def texts_of(lines: bytes) -> pa.StringArray:
    """Make a column of lines, without their ends."""
    return pc.ascii_rtrim(cut(lines).cast(pa.string()), "\n")


def read_distinct(lines: pa.DictionaryArray, allowed: int) -> tuple[Bits, list[Any]]:
    """Read lines of attributes, each different one once. Returns which of the different ones can be read, and what is there."""
    attributes = _read_lines(lines.dictionary, allowed)
    return np.array([found is not None for found in attributes], np.bool_), attributes


def _read_lines(lines: pa.LargeBinaryArray, allowed: int) -> list[Any]:
    _, offsets, data = lines.buffers()
    starts = np.frombuffer(offsets, np.int64, len(lines) + 1)
    text = memoryview(data)[: starts[-1]]
    # Few brackets cannot be deep. All lines at once, because one at a time costs more than the reading.
    brackets = np.flatnonzero(np.frombuffer(text, np.uint8) | 0x20 == ord("{"))
    suspicious = np.diff(np.searchsorted(brackets, starts)) > allowed
    if not suspicious.any():
        try:
            return read_lines(text)
        except ValueError:
            pass
    return [_read_shallow(line, allowed) for line in lines.to_pylist()]


def is_readable(raw: bytes, allowed: int) -> bool:
    """Return whether attributes can be read. An object whose keys hold no escape always can: it is not read to find out."""
    shallow = len(raw) <= 2 * allowed or raw.count(b"{") + raw.count(b"[") <= allowed
    if shallow and raw.startswith(b"{") and b"\\" not in raw:
        return True
    return _read_shallow(raw + b"\n", allowed) is not None


def _read_shallow(line: bytes, allowed: int) -> Any:
    """Read a line's attributes; None if it is no object, or nests deeper than allowed. Few brackets cannot be deep."""
    if line.count(b"{") + line.count(b"[") > allowed and depth_of(line) > allowed:
        return None
    try:
        return read_attributes(b"{}" if line == b"null\n" else line)
    except ValueError:
        return None
