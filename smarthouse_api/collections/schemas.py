"""JSON Schema for the records of a collection: says which schemas are accepted, and what is wrong with a record.

A schema comes from an operator and the records from anybody, so what a schema may cost is settled before the first record
comes: its references stay inside it, its patterns are matched in linear time, and how often it looks at one value is bounded.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, Final

import jsonschema_rs
import orjson

from smarthouse_api.collections.messages import MASK, complaint, words
from smarthouse_api.collections.schema_cost import DEPTH, DIALECT, SchemaParts
from smarthouse_api.errors import Invalid

_SCHEMA_BYTES: Final = 64 << 10
_PATTERN_BYTES: Final = 48 << 10
"""Of a compiled pattern: the time that it takes is at worst this, times the text. `^\\p{L}+$` has 43 KiB, a UUID's 3."""

_CHUNK: Final = 1_000
"""Records that are checked while no other thread runs: the library never lets go of the interpreter's lock."""

_CHUNK_LOOKS: Final = 20_000
_TOLD: Final = 128 << 10
"""The characters of a record, times the looks of a schema with alternatives, up to which its fault is told."""

_TOLD_AT_ONCE: Final = 16 << 20
_MOST_COMPILED: Final = 1000
_UNTOLD: Final = "it does not match the schema"
_RECORD: Final = "urn:record"


class Checker:
    """Checks records against a JSON Schema of draft 2020-12. Safe to share among threads. Raises `Invalid`, with the place.

    1. Nothing is ever fetched: a reference leads to another part of the same schema, by pointer or anchor.
    2. Only the root may have an `$id`.
    3. `format` is checked, for every format of the draft.
    4. A pattern is a regular expression without lookaround and backreferences, of a bounded size.
    5. The schema has at most 64 KiB and 64 levels, and looks at one value a bounded number of times.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        plain = _plain(schema)
        try:
            _meta().validate(plain)
        except ValueError as error:
            raise Invalid(complaint(error)) from error
        parts = SchemaParts(plain)
        looks = parts.most_looks()
        plain.pop("$id", None)
        plain.pop("$schema", None)
        self._validator = _compiled(plain)
        self._chunk = max(8, min(_CHUNK, _CHUNK_LOOKS // looks))
        self._choice_looks = looks if parts.has_choices else 0

    def faults_of(self, records: list[dict[str, Any]]) -> dict[int, str]:
        """Return the first fault of each faulty record, by the record's index: what is wrong and where.

        A fault has at most 300 characters. Records have up to 64 levels.
        """
        faults: dict[int, str] = {}
        left = _TOLD_AT_ONCE
        for start in range(0, len(records), self._chunk):
            chunk = records[start : start + self._chunk]
            if self._validator.is_valid(chunk):
                continue
            for index, record in enumerate(chunk, start):
                if len(chunk) == 1 or not self._validator.is_valid([record]):
                    # For each alternative, the library copies every value that fails it: gigabytes for a large record.
                    effort = self._choice_looks * len(repr(record)) if self._choice_looks else 0
                    left -= effort
                    faults[index] = self._told(record) if effort <= _TOLD and left >= 0 else _UNTOLD
        return faults

    def _told(self, record: dict[str, Any]) -> str:
        try:
            self._validator.validate([record])
        except jsonschema_rs.ValidationError as error:
            return words(error, 1)
        return _UNTOLD


def faults_of(schema: dict[str, Any] | None, records: list[dict[str, Any]]) -> dict[int, str]:
    """Return what `Checker.faults_of` finds in records; nothing if there is no schema. A schema is compiled once."""
    return {} if schema is None else _checker(orjson.dumps(schema)).faults_of(records)


@lru_cache(_MOST_COMPILED)
def _checker(schema: bytes) -> Checker:
    return Checker(orjson.loads(schema))


@cache
def _meta() -> jsonschema_rs.Draft202012Validator:
    """What schemas are checked against. The library's own check would fetch whatever `$schema` names."""
    return jsonschema_rs.Draft202012Validator({"$ref": DIALECT}, mask=MASK, offline=True)


def _compiled(plain: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """The validator of an array of records."""
    try:
        return jsonschema_rs.Draft202012Validator(
            {"$id": "urn:records", "items": {"$ref": _RECORD}, "$defs": {"record": {**plain, "$id": _RECORD}}},
            validate_formats=True,
            mask=MASK,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES, dfa_size_limit=4 * _PATTERN_BYTES),
        )
    except ValueError as error:
        raise Invalid(complaint(error)) from error


def _plain(schema: object) -> dict[str, Any]:
    """A copy as JSON, of a bounded size."""
    if not isinstance(schema, dict):
        raise Invalid("schema: must be a JSON object")
    level: list[Any] = [schema]
    for _ in range(DEPTH + 1):
        above = [value for value in level if isinstance(value, dict | list)]
        level = [inner for value in above for inner in (value.values() if isinstance(value, dict) else value)]
    if level:
        raise Invalid(f"schema: nested deeper than {DEPTH} levels")
    try:
        text = orjson.dumps(schema)
    except TypeError as error:
        raise Invalid(f"schema: cannot be taken: {error}") from error
    if len(text) > _SCHEMA_BYTES:
        raise Invalid(f"schema: {len(text)} bytes of JSON; at most {_SCHEMA_BYTES}")
    plain: dict[str, Any] = orjson.loads(text)
    return plain
