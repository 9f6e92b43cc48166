"""Rows as lines of text: all text formats are written by this vectorised code.

A column is a few different texts and each row's place among them, or one text for each row. The texts are escaped, wrapped in
what the format puts around a value, and taken by their places. One join then makes a line for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.readable import octets, within_limit

Chunk = bytes | memoryview
"""Some bytes of a file. Those of many rows are a view of what Arrow holds: a copy would hold up all other threads."""


def joined(*parts: pa.StringArray | pa.Scalar | str, null_handling: str = "emit_null", separator: str = "") -> pa.StringArray:
    """Join the texts of each row, where a plain text stands for one in every row.

    Arrow looks for modules that may not be installed, each time it guesses the type of a plain text. So the type is told here.
    """
    told = [pa.scalar(part, pa.string()) if isinstance(part, str) else part for part in (*parts, separator)]
    return pc.binary_join_element_wise(*told, null_handling=null_handling)


@dataclass(frozen=True, slots=True)
class TextColumn:
    """Holds one column as text, each different text once, so that a format escapes a repeated text only once.

    texts: null for null. places: for each row, the place of its text in `texts`; None if `texts` has one text for each row.
    is_free: whether a text can hold what a format must escape; a number and a time cannot.
    """

    texts: pa.StringArray
    places: pa.Array | None = None
    is_free: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """Writes the values of one column in one format: escaped, and with what the format puts around a value.

    before, after: what stands around a value. null: what stands in the place of a null. dirty: matches the texts that must be
    escaped; None if no text must be. escape: escapes those texts. is_limited: cut a text that is too long for Python's `csv`.
    """

    before: str = ""
    after: str = ""
    null: str = ""
    dirty: str | None = None
    escape: Callable[[pa.StringArray], pa.StringArray] | None = None
    is_limited: bool = False

    def written(self, column: TextColumn | None) -> pa.StringArray | pa.Scalar:
        """Return the text of each row, null for an empty one. A column of nulls alone (None) gives one text for all rows."""
        if column is None:
            return pa.scalar(self.null, pa.string())
        texts = self._escaped(column.texts) if column.is_free else column.texts
        if self.before or self.after:
            texts = joined(self.before, texts, self.after)
        if self.null and texts.null_count:
            texts = pc.fill_null(texts, self.null)
        return texts if column.places is None else self._taken(texts, column.places)

    def _escaped(self, texts: pa.StringArray) -> pa.StringArray:
        if self.is_limited:
            texts = within_limit(texts)
        if self.dirty is None or self.escape is None:
            return texts
        dirty = pc.match_substring_regex(texts, self.dirty)
        if not dirty.true_count:
            return texts
        dirty = dirty.fill_null(False)
        return pc.replace_with_mask(texts, dirty, self.escape(texts.filter(dirty)))

    def _taken(self, texts: pa.StringArray, places: pa.Array) -> pa.StringArray:
        if self.null and places.null_count:
            places = pc.fill_null(places, pa.scalar(len(texts), places.type))
            texts = pa.concat_arrays([texts, pa.array([self.null], pa.string())])
        return texts.take(places)


def framed(cells: Sequence[Cell], start: str, end: str) -> list[Cell]:
    """Put the start of a row into its first cell, and the end of a row into its last. cells: at least one."""
    row = list(cells)
    row[0] = replace(row[0], before=start + row[0].before, null=start + row[0].null)
    row[-1] = replace(row[-1], after=row[-1].after + end, null=row[-1].null + end)
    return row


def lines(count: int, columns: Sequence[TextColumn | None], cells: Sequence[Cell], separator: str) -> memoryview:
    """Write `count` rows as text, one line for each."""
    written = [cell.written(column) for column, cell in zip(columns, cells, strict=True)]
    if isinstance(written[-1], pa.Scalar):
        written[-1] = pa.repeat(written[-1], count)
    return octets(joined(*written, separator=separator, null_handling="replace")).data


def flat(texts: pa.StringArray) -> bytes:
    """Join the texts, one after the other."""
    return octets(texts).tobytes()
