"""Attributes as they were uploaded, for an export that leaves nothing out: the lake keeps their text beside what rules publish.

1. The text is JSON that every reader takes: compact, and without a member whose value cannot be read, such as `1e400`.
2. A home's UUID is its deletion secret, and an integration may have put it among the attributes: no text holds a UUID.
3. A text that exports would not take either, because it is too long, is not kept.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.readable import LONGEST_TEXT
from smarthouse_api.states.payload.attributes import texts_of
from smarthouse_api.states.records.uuids import without_uuids

_AT_ONCE: Final = 1 << 20
"""Bytes of text that are read at once: once read, they may take up many times their size."""

_read = msgspec.json.Decoder(dict[str, Any] | None)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_any = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder()

Bits = npt.NDArray[np.bool_]


def uploaded(lines: pa.LargeBinaryArray, readable: Bits, kept: pa.StringArray) -> pa.StringArray:
    """Return the text of attributes as uploaded; null where that is what the lake keeps anyway.

    lines: JSON, a line for each, as `cut` makes them. readable: which of them are attributes. kept: what is kept of each.
    """
    told = readable & (pc.binary_length(lines).to_numpy() <= LONGEST_TEXT)
    if not told.all():
        lines = pc.if_else(pa.array(told), lines, pa.scalar(b"null\n", pa.large_binary()))
    _, offsets, data = lines.buffers()
    starts = np.frombuffer(offsets, np.int64, len(lines) + 1)
    ends = [*(np.flatnonzero(np.diff(starts[1:] // _AT_ONCE)) + 1).tolist(), len(lines)]
    text = b"".join(_rewritten(memoryview(data)[starts[a] : starts[b]]) for a, b in zip([0, *ends], ends, strict=False))
    texts = without_uuids(texts_of(text))
    return pc.if_else(pc.or_(pc.equal(texts, kept), pc.equal(texts, "null")), pa.scalar(None, pa.string()), texts)


def _rewritten(lines: memoryview) -> bytes:
    try:
        return _write.encode_lines(_read.decode_lines(lines))
    except (ValueError, RecursionError):
        return b"".join(_write.encode(_readable(line)) + b"\n" for line in bytes(lines).split(b"\n")[:-1])


def _readable(line: bytes) -> dict[str, Any]:
    found = {}
    for name, value in _members(line).items() if line != b"null" else ():
        try:
            found[name] = _any(value)
        except (ValueError, RecursionError):
            continue
    return found
