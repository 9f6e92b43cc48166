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
    texts = orjson.dumps(floats, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",") if len(floats) else []
    return pa.array(texts, pa.string(), mask=~np.isfinite(floats))
