"""Mending of what the integration's sanitiser broke, and of what no file can hold.

The integration of 2022 made `_` of each of `. < > * # % & + ? /`, and `.` of each `_` between two digits. `%` came as `_`,
`km/h` as `km_h`, `1e+16` as `1e_16`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.states.vocabulary.facts import unit_repairs

NUL: Final = "\x00"
REPLACEMENT: Final = "\ufffd"
_ESCAPED_NUL: Final = b"\\u0000"

_UNITS: Final = (
    "unit_of_measurement",
    "temperature_unit",
    "pressure_unit",
    "wind_speed_unit",
    "visibility_unit",
    "precipitation_unit",
)
_NUMBER: Final = r"\A([+-]?[0-9]+(?:\.[0-9]+)?[eE])_([0-9]+)\z"
_TIME: Final = r"\A([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?)\.([0-9]{2}:[0-9]{2})\z"
_SANITISED_TIME: Final = re.compile(rb"\.[0-9]{2}:[0-9]{2}")


def mend_states(states: pa.StringArray) -> pa.StringArray:
    """Give numbers and times their `+` again, and replace NUL. states: each once."""
    data = states.buffers()[2]
    text = b"" if data is None else data.to_pybytes()
    if b"e_" in text or b"E_" in text:
        states = pc.replace_substring_regex(states, _NUMBER, r"\1+\2")
    if _SANITISED_TIME.search(text):
        states = pc.replace_substring_regex(states, _TIME, r"\1+\2")
    return without_nul(states)


def mend_attributes(attributes: Sequence[Any], lines: bytes) -> bool:
    """Mend units and replace NUL, in their place; return whether there were any. lines: the attributes as JSON."""
    is_mended = False
    for name in _UNITS:
        if name.encode() in lines:
            for found in attributes:
                unit = getattr(found, name, None)
                if unit is not None and "_" in unit:
                    setattr(found, name, mend_unit(unit))
                    is_mended = True
    return (_ESCAPED_NUL in lines and _replace_nul(attributes)) or is_mended


def mend_unit(unit: str) -> str:
    """Return the unit that the sanitiser changed into this one; the same unit if that is not beyond doubt."""
    return unit_repairs().get(unit, unit)


def without_nul(texts: pa.StringArray) -> pa.StringArray:
    """Replace NUL, which no CSV can hold, by U+FFFD."""
    data = texts.buffers()[2]
    if data is None or not data.size or np.frombuffer(data, np.uint8).all():
        return texts
    return pc.replace_substring(texts, NUL, REPLACEMENT)


def _replace_nul(attributes: Sequence[Any]) -> bool:
    for found in attributes:
        for name in found.__struct_fields__ if found is not None else ():
            value = getattr(found, name)
            if isinstance(value, str):
                setattr(found, name, value.replace(NUL, REPLACEMENT))
            elif isinstance(value, list):
                setattr(found, name, [one.replace(NUL, REPLACEMENT) if isinstance(one, str) else one for one in value])
    return True
