"""Texts that every common reader takes at its defaults.

1. No text holds a NUL, which PostgreSQL, and so CKAN's store, refuses: U+FFFD stands for it, as in XML.
2. JSON text is on one line for every reader: U+0085, U+2028 and U+2029, at which some split lines, are escaped.
3. A text of a row has at most `LONGEST_TEXT` characters.

Whole buffers are looked through first. So only a text that must change costs anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

LONGEST_TEXT: Final = 131_072
"""Characters in one field that Python's `csv` reads at its default limit."""

REPLACEMENT: Final = "\ufffd"
CUT: Final = "…"
"""Ends a text that was cut."""

LINE_SEPARATORS: Final = {0x85: r"\u0085", 0x2028: r"\u2028", 0x2029: r"\u2029"}
"""Characters that end a line for some readers of JSON lines, and their escapes in JSON."""

_BREAKS: Final = LINE_SEPARATORS | {ord("\r"): " ", ord("\n"): " "}
_NUL_IN_JSON: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_DIRTY_JSON: Final = r"[\r\n\x{85}\x{2028}\x{2029}]|\\u0000"

Octets = npt.NDArray[np.uint8]
Ends = npt.NDArray[np.signedinteger[Any]]


def readable(column: pa.Array, *, is_json: bool = False) -> pa.Array:
    """Make a column of an answer's rows readable: rules 1 and 3 for texts, all three for texts of JSON objects.

    A text that is too long is cut, and ends in `…`. A JSON object that is too long becomes `{}`, as in Home Assistant's own
    recorder. A column of another type, or one that is readable already, is returned as it is.
    """
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    if pa.types.is_dictionary(column.type):
        texts = readable(column.dictionary, is_json=is_json)
        return column if texts is column.dictionary else pa.DictionaryArray.from_arrays(column.indices, texts)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    if is_json:
        texts = readable_json(column)
        return _changed(texts, _too_long(texts), lambda long: ["{}"] * len(long))
    return within_limit(without_nul(column))


def readable_columns(batch: pa.RecordBatch, names: Iterable[str], *, is_json: bool = False) -> pa.RecordBatch:
    """Make some columns of a batch readable."""
    for name in names:
        batch = batch.set_column(batch.schema.names.index(name), name, readable(batch.column(name), is_json=is_json))
    return batch


def without_nul(texts: pa.Array) -> pa.Array:
    """Replace each NUL by U+FFFD. texts: of type string or large string, here and below."""
    found = octets(texts)
    return texts if not found.size or found.min() else pc.replace_substring(texts, "\0", REPLACEMENT)


def within_limit(texts: pa.Array) -> pa.Array:
    """Cut texts that Python's `csv` would refuse."""
    return _changed(texts, _too_long(texts), lambda long: [text[: LONGEST_TEXT - 1] + CUT for text in long])


def readable_json(texts: pa.Array) -> pa.Array:
    """Put JSON texts on one line for every reader, and replace each escaped NUL.

    A line break between tokens becomes a space.
    """
    found = octets(texts)
    if not found.size or not (found.min() < ord(" ") or _has_separator(found) or (found == ord("\\")).any()):
        return texts
    dirty = pc.match_substring_regex(texts, _DIRTY_JSON)
    return _changed(texts, dirty, lambda found: list(map(_mended, found)))


def octets(texts: pa.Array) -> Octets:
    """Return the UTF-8 of all texts, one after the other, without copying it."""
    data = texts.buffers()[2]
    if data is None or not len(texts):
        return np.empty(0, np.uint8)
    ends = _ends(texts)
    return np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]


def _ends(texts: pa.Array) -> Ends:
    """Return where in the UTF-8 the first text begins and each text ends."""
    if not len(texts):
        return np.zeros(1, np.int64)
    ends: Ends = np.frombuffer(texts.buffers()[1], np.int64 if pa.types.is_large_string(texts.type) else np.int32)
    return ends[texts.offset : texts.offset + len(texts) + 1]


def _changed(texts: pa.Array, chosen: pa.BooleanArray | None, change: Callable[[list[str]], list[str]]) -> pa.Array:
    """Change the chosen texts. chosen: null for a null; None if no text is chosen."""
    if chosen is None or not chosen.true_count:
        return texts
    chosen = chosen.fill_null(False)
    return pc.replace_with_mask(texts, chosen, pa.array(change(texts.filter(chosen).to_pylist()), texts.type))


def _too_long(texts: pa.Array) -> pa.BooleanArray | None:
    """Find the texts that are too long; None if no text is, even counted in bytes."""
    is_any = np.diff(_ends(texts)).max(initial=0) > LONGEST_TEXT
    return pc.greater(pc.utf8_length(texts), LONGEST_TEXT) if is_any else None


def _has_separator(found: Octets) -> bool:
    if found.max() < 0x80:
        return False
    first, second = found[:-1], found[1:]
    if ((first == 0xC2) & (second == 0x85)).any():
        return True
    begins = (first[:-1] == 0xE2) & (second[:-1] == 0x80)
    return bool((begins & ((found[2:] & 0xFE) == 0xA8)).any())


def _mended(text: str) -> str:
    return _NUL_IN_JSON.sub(rf"\1{REPLACEMENT}", text.translate(_BREAKS))
