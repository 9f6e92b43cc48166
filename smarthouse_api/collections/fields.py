"""The members that records have: what a table of them is made of.

The document `fields` in the collection's space says so of every record in the lake, and perhaps of some that are not there yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, Final

import msgspec
import orjson
import pyarrow as pa
import pyarrow.compute as pc

FIELDS: Final = "fields"
"""The document."""

MOST: Final = 1000
_MOST_BYTES: Final = 256 << 10
_TYPES: Final = {type(None): "null", bool: "bool", int: "int", float: "float", str: "string"}
_PERHAPS_LARGE: Final = "[0-9]{19}"
_LEAST_INT, _LARGEST_INT = -(1 << 63), (1 << 63) - 1

Signature = tuple[tuple[str, ...], tuple[type, ...]]


class Fields:
    """types: name -> `null`, `bool`, `int` (of 64 bits with a sign), `float`, `string`, or `json` for what is nested or mixed,
    in the order in which the names first came; of the first `MOST` names, or fewer very long ones.
    """

    def __init__(self, types: dict[str, str] | None = None) -> None:
        self.types = dict(types or {})
        self._bytes = sum(map(len, self.types))
        self._seen = set[Signature]()

    @classmethod
    def decoded(cls, value: bytes) -> Fields:
        return cls(msgspec.json.decode(value, type=dict[str, str]))

    def encoded(self) -> bytes:
        return msgspec.json.encode(self.types)

    def note(self, records: Iterable[dict[str, Any]], *, with_large: bool) -> None:
        """Take in the members of records. with_large: an integer may have more than 64 bits."""
        seen = self._seen
        for record in records:
            signature = tuple(record), tuple(map(type, record.values()))
            if with_large:
                for name, value in record.items():
                    self._add(name, _type_of(value))
            elif signature not in seen:
                seen.add(signature)
                for name, kind in zip(*signature, strict=True):
                    self._add(name, _TYPES.get(kind, "json"))

    def note_texts(self, texts: pa.StringArray) -> None:
        """The same of records that are only at hand as JSON."""
        self.note(map(orjson.loads, texts.to_pylist()), with_large=perhaps_large(texts))

    def merged(self, *others: Fields) -> Fields:
        """These, and then those of others."""
        whole = Fields(self.types)
        for name, type_ in chain.from_iterable(other.types.items() for other in others):
            whole._add(name, type_)
        return whole

    def _add(self, name: str, type_: str) -> None:
        before = self.types.get(name)
        if before is not None:
            self.types[name] = _of_both(before, type_)
        elif len(self.types) < MOST and self._bytes + len(name) <= _MOST_BYTES:
            self.types[name] = type_
            self._bytes += len(name)


def perhaps_large(texts: pa.StringArray) -> bool:
    """Whether JSON texts may hold an integer of more than 64 bits."""
    return bool(pc.any(pc.match_substring_regex(texts, _PERHAPS_LARGE)).as_py())


def _type_of(value: Any) -> str:
    if type(value) is int and not _LEAST_INT <= value <= _LARGEST_INT:
        return "json"
    return _TYPES.get(type(value), "json")


def _of_both(one: str, other: str) -> str:
    """The type that values of either have."""
    if one == other or other == "null":
        return one
    if one == "null":
        return other
    return "float" if {one, other} == {"int", "float"} else "json"
