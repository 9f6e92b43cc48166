"""Columns of texts as views: many rows share one text. They take a few bytes a row where plain texts take all of theirs."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

_VIEW: Final = np.dtype("V16")


def with_views(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Turn plain and dictionary-encoded texts into views. Other columns stay as they are."""
    return pa.RecordBatch.from_arrays([_viewed(column) for column in rows.columns], names=rows.schema.names)


def without_views(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Turn views of text, which may hold far more text than they show, into plain text."""
    plain = [column.cast(pa.string()) if pa.types.is_string_view(column.type) else column for column in rows.columns]
    return pa.RecordBatch.from_arrays(plain, names=rows.schema.names)


def _viewed(column: pa.Array) -> pa.Array:
    if pa.types.is_string(column.type):
        return column.cast(pa.string_view())
    return _shared(column) if pa.types.is_dictionary(column.type) else column


def _shared(column: pa.DictionaryArray) -> pa.Array:
    """Have each row view its text in the dictionary. Arrow has no such cast."""
    texts = column.dictionary.cast(pa.string_view())
    _, views, *text = texts.buffers()
    view_of = np.append(np.frombuffer(views, _VIEW, len(texts)) if len(texts) else np.zeros(0, _VIEW), np.zeros(1, _VIEW))
    found = view_of[column.indices.fill_null(len(texts)).to_numpy()]
    validity = column.indices.is_valid().buffers()[1] if column.null_count else None
    return pa.Array.from_buffers(pa.string_view(), len(column), [validity, pa.py_buffer(found.tobytes()), *text])
