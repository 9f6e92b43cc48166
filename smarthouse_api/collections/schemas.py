"""JSON Schema for the records of a collection: which schemas are taken, and what is wrong with a record.

A schema comes from an operator and the records from anybody, so what a schema may cost is settled before the first record
comes: its references stay inside it, its patterns are matched in linear time, and how often it looks at one value is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, Final

import jsonschema_rs
import orjson

from smarthouse_api.collections.messages import MASK, complaint, words
from smarthouse_api.collections.schema_cost import DEPTH, DIALECT, Parts, Schema
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


def compile(schema: dict[str, Any] | bool) -> Checker:
    """What checks records against a schema of draft 2020-12. Raises Invalid, with the place in words.

    Nothing is ever fetched: a reference leads to another part of the same schema, by pointer or anchor; an `$id` may stand at
    its root alone. `format` is checked, for every format of the draft. A pattern is a regular expression without lookaround
    and backreferences, of a bounded size. Beyond 64 KiB, 64 levels, a bounded effort for a value: Invalid.
    """
    plain = _plain(schema)
    try:
        _meta().validate(plain)
    except ValueError as error:
        raise Invalid(complaint(error)) from error
    if isinstance(plain, bool):
        return Checker(_compiled(plain), 1, 0)
    parts = Parts(plain)
    looks = parts.most_looks()
    plain.pop("$id", None)
    plain.pop("$schema", None)
    return Checker(_compiled(plain), looks, looks if parts.has_choices else 0)


class Checker:
    """Checks records against one schema. Safe to share among threads.

    looks: how often it looks at a value at most; choice_looks: the same, or 0 where it has no `anyOf` and `oneOf`.
    """

    __slots__ = ("_choice_looks", "_chunk", "_validator")

    def __init__(self, validator: jsonschema_rs.Draft202012Validator, looks: int, choice_looks: int) -> None:
        self._validator = validator
        self._chunk = max(8, min(_CHUNK, _CHUNK_LOOKS // looks))
        self._choice_looks = choice_looks

    def faults_of(self, records: list[dict[str, Any]]) -> dict[int, str]:
        """The first fault of each record that has one, by its index: what and where, in at most 300 characters.

        Records have up to 64 levels.
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
    """Says why records fail a schema, as `Checker.faults_of` does; nothing without a schema. Schemas are compiled once."""
    return {} if schema is None else _checker(orjson.dumps(schema)).faults_of(records)


@lru_cache(_MOST_COMPILED)
def _checker(schema: bytes) -> Checker:
    return compile(orjson.loads(schema))


@cache
def _meta() -> jsonschema_rs.Draft202012Validator:
    """What schemas are checked against. The library's own check would fetch whatever `$schema` names."""
    return jsonschema_rs.Draft202012Validator({"$ref": DIALECT}, mask=MASK, offline=True)


def _compiled(plain: Schema) -> jsonschema_rs.Draft202012Validator:
    """The validator of an array of records."""
    items = plain if isinstance(plain, bool) else {"$ref": _RECORD}
    kept = {} if isinstance(plain, bool) else {"record": {**plain, "$id": _RECORD}}
    try:
        return jsonschema_rs.Draft202012Validator(
            {"$id": "urn:records", "items": items, "$defs": kept},
            validate_formats=True,
            mask=MASK,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES, dfa_size_limit=4 * _PATTERN_BYTES),
        )
    except ValueError as error:
        raise Invalid(complaint(error)) from error


def _plain(schema: object) -> Schema:
    """A copy as JSON, of a bounded size."""
    if not isinstance(schema, dict | bool):
        raise Invalid("schema: a JSON Schema is an object, true or false")
    level: list[Any] = [schema]
    for _ in range(DEPTH + 1):
        level = [inner for value in level if isinstance(value, dict | list) for inner in _inside(value)]
    if level:
        raise Invalid(f"schema: nested deeper than {DEPTH} levels")
    try:
        text = orjson.dumps(schema)
    except TypeError as error:
        raise Invalid(f"schema: cannot be taken: {error}") from error
    if len(text) > _SCHEMA_BYTES:
        raise Invalid(f"schema: {len(text)} bytes of JSON; at most {_SCHEMA_BYTES}")
    plain: Schema = orjson.loads(text)
    return plain


def _inside(value: dict[Any, Any] | list[Any]) -> Iterator[Any]:
    return iter(value.values() if isinstance(value, dict) else value)
