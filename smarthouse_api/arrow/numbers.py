"""Columns of numbers, read from text and written as text."""

from __future__ import annotations

from typing import Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

_NUMBER: Final = r"\A[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\z"


def read_numbers(texts: pa.StringArray) -> pa.DoubleArray:
    """Read decimal numbers as float64. A dot and an exponent are optional. Any other text, or one out of range, gives null."""
    codes = texts.dictionary_encode()
    unique = codes.dictionary
    looks = pc.match_substring_regex(unique, _NUMBER)
    values = pc.if_else(looks, unique, pa.scalar(None, pa.string())).cast(pa.float64())
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64())).take(codes.indices)


def write_numbers(values: pa.DoubleArray) -> pa.StringArray:
    """Write each number as the shortest text that reads back as the same number; null for NaN and the infinities."""
    floats = values.fill_null(np.nan).to_numpy(zero_copy_only=False)
    if not len(floats):
        return pa.array([], pa.string())
    told = orjson.dumps(floats, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    commas, texts = np.flatnonzero(np.frombuffer(told, np.uint8) == ord(",")), told.replace(b",", b"")
    ends = np.concatenate([[0], commas - np.arange(len(commas)), [len(texts)]]).astype(np.int32)
    written = pa.StringArray.from_buffers(len(floats), pa.py_buffer(ends), pa.py_buffer(texts))
    is_number = np.isfinite(floats)
    return written if is_number.all() else pc.if_else(pa.array(is_number), written, pa.scalar(None, pa.string()))
