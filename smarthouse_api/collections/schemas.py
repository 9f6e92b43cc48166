"""JSON Schema for the records of a collection: which schemas are taken, and what is wrong with a record.

A schema comes from an operator and the records from anybody, so what a schema may cost is settled before the first record
comes: its references stay inside it, its patterns are matched in linear time, and how often it looks at one value is bounded.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any, Final
from urllib.parse import unquote

import jsonschema_rs
import orjson

from smarthouse_api.errors import Invalid

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SCHEMA_BYTES: Final = 64 << 10
_DEPTH: Final = 64
"""Of a schema's JSON, and of a record's."""

_LOOKS: Final = 1_000
"""How often a schema may look at one value of a record; most look less than ten times."""

_STEPS: Final = 32
"""References and combinations between two values: times 64 levels, what a thread's stack of 2 MB holds."""

_ANALYSIS: Final = 300_000
"""Steps in which the looks are to be counted: half a second."""

_PATTERNS: Final = 100
_PATTERN_BYTES: Final = 48 << 10
"""Of a compiled pattern: the time that it takes is at worst this, times the text. `^\\p{L}+$` has 43 KiB, a UUID's 3."""

_CHUNK: Final = 1_000
"""Records that are checked while no other thread runs: the library never lets go of the interpreter's lock."""

_CHUNK_LOOKS: Final = 20_000
_TOLD: Final = 128 << 10
"""The characters of a record, times the looks of a schema with alternatives, up to which its fault is told."""

_TOLD_AT_ONCE: Final = 16 << 20
_UNTOLD: Final = "it does not match the schema"
_MASK: Final = "\ufffc"
_RECORD: Final = "urn:record"

_ONE: Final = (
    *("not", "if", "then", "else", "propertyNames", "contains", "items"),
    *("additionalProperties", "unevaluatedProperties", "unevaluatedItems"),
)
_LISTED: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED: Final = ("$defs", "definitions", "properties", "patternProperties", "dependentSchemas", "dependencies")
_SAME_VALUE: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")

_APPLYING: Final = ("$ref", "$dynamicRef", "contains", *_SAME_VALUE)

_Part = dict[str, Any] | bool


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
        raise Invalid(_complaint(error)) from error
    if isinstance(plain, bool):
        return Checker(_compiled(plain), 1, 0)
    parts = _Parts(plain)
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

    def fault_of(self, record: dict[str, Any]) -> str | None:
        """The first fault of a record of up to 64 levels: what and where, in at most 300 characters. None: it has none."""
        return self.faults_of([record]).get(0)

    def faults_of(self, records: list[dict[str, Any]]) -> dict[int, str]:
        """The first fault of each record that has one, by its index."""
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
            return _words(error, 1)
        return _UNTOLD


@cache
def _meta() -> jsonschema_rs.Draft202012Validator:
    """What schemas are checked against. The library's own check would fetch whatever `$schema` names."""
    return jsonschema_rs.Draft202012Validator({"$ref": _DIALECT}, mask=_MASK, offline=True)


def _compiled(plain: _Part) -> jsonschema_rs.Draft202012Validator:
    """The validator of an array of records."""
    items = plain if isinstance(plain, bool) else {"$ref": _RECORD}
    kept = {} if isinstance(plain, bool) else {"record": {**plain, "$id": _RECORD}}
    try:
        return jsonschema_rs.Draft202012Validator(
            {"$id": "urn:records", "items": items, "$defs": kept},
            validate_formats=True,
            mask=_MASK,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES, dfa_size_limit=4 * _PATTERN_BYTES),
        )
    except ValueError as error:
        raise Invalid(_complaint(error)) from error


def _plain(schema: object) -> _Part:
    """A copy as JSON, of a bounded size."""
    if not isinstance(schema, dict | bool):
        raise Invalid("schema: a JSON Schema is an object, true or false")
    level: list[Any] = [schema]
    for _ in range(_DEPTH + 1):
        level = [inner for value in level if isinstance(value, dict | list) for inner in _inside(value)]
    if level:
        raise Invalid(f"schema: nested deeper than {_DEPTH} levels")
    try:
        text = orjson.dumps(schema)
    except TypeError as error:
        raise Invalid(f"schema: not JSON: {error}") from error
    if len(text) > _SCHEMA_BYTES:
        raise Invalid(f"schema: {len(text)} bytes of JSON; at most {_SCHEMA_BYTES}")
    plain: _Part = orjson.loads(text)
    return plain


def _inside(value: dict[Any, Any] | list[Any]) -> Iterator[Any]:
    return iter(value.values() if isinstance(value, dict) else value)


class _Parts:
    """The parts of a schema by their places (JSON Pointers), and how often they look at a value."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.patterns: set[str] = set()
        self.has_choices = False
        self._parts: dict[str, _Part] = {}
        self._inside: dict[tuple[str, str], list[str]] = {}
        self._anchors: dict[str, str] = {}
        self._looks: dict[str, Counter[str]] = {}
        self._marks: dict[str, Counter[str]] = {}
        self._steps: dict[str, int] = {}
        self._spent = 0
        self._id = str(root.get("$id", ""))
        self._collect(root)
        self._weights = {place: _weight(part) for place, part in self._parts.items()}
        self._same = {place: list(self._same_value(place, part)) for place, part in self._parts.items()}

    def most_looks(self) -> int:
        """How often the schema looks at a value of a record at most, whatever comes. Raises Invalid beyond the limits."""
        most = 0
        seen: set[frozenset[tuple[str, int]]] = set()
        level = [frozenset({("", 1)})]
        for _ in range(_DEPTH + 1):
            following = []
            for start in level:
                looks: Counter[str] = Counter()
                for place, count in start:
                    _add(looks, self._looks_of(place), count)
                most = max(most, self._weigh(looks))
                for below in self._below(looks):
                    state = frozenset(below.items())
                    if state and state not in seen:
                        seen.add(state)
                        following.append(state)
            level = following
        return most

    def _collect(self, root: dict[str, Any]) -> None:
        todo: list[tuple[str, Any]] = [("", root)]
        while todo:
            place, part = todo.pop()
            if not isinstance(part, dict | bool):
                continue
            self._parts[place] = part
            if isinstance(part, bool):
                continue
            self._look_at(place, part)
            for keyword, value in part.items():
                inside = [(_under(place, keyword, *path), inner) for path, inner in _schemas_in(keyword, value)]
                self._inside[place, keyword] = [inner for inner, part in inside if isinstance(part, dict | bool)]
                todo += inside
        if len(self.patterns) > _PATTERNS:
            raise Invalid(f"schema: {len(self.patterns)} patterns; at most {_PATTERNS}")

    def _look_at(self, place: str, part: dict[str, Any]) -> None:
        if part.get("$schema", _DIALECT).rstrip("#") != _DIALECT:
            raise Invalid(f'schema: "$schema"{_at(place)} is {_quoted(part["$schema"])}; only {_DIALECT} is understood')
        if place and "$id" in part:
            raise Invalid(f'schema: "$id"{_at(place)}: only the root may have one; refer to parts by "#/$defs/name"')
        for anchor in {part[keyword] for keyword in ("$anchor", "$dynamicAnchor") if keyword in part}:
            if self._anchors.setdefault(anchor, place) != place:
                raise Invalid(f"schema: the anchor {_quoted(anchor)}{_at(place)} is there twice")
        self.has_choices |= "anyOf" in part or "oneOf" in part
        self.patterns |= {part["pattern"]} if "pattern" in part else set()
        self.patterns |= part.get("patternProperties", {}).keys()

    def _same_value(self, place: str, part: _Part) -> Iterator[str]:
        """The places of the parts that a part applies to its own value."""
        if isinstance(part, bool):
            return
        for keyword in ("$ref", "$dynamicRef"):
            if keyword in part:
                yield self._target(place, part, keyword)
        for keyword in _SAME_VALUE:
            yield from self._places(place, keyword)

    def _target(self, place: str, part: dict[str, Any], keyword: str) -> str:
        reference = part[keyword]
        base, _, fragment = reference.partition("#")
        if base and base != self._id.rstrip("#"):
            raise Invalid(
                f'schema: "{keyword}"{_at(place)} is {_quoted(reference)}; nothing is fetched, '
                'a reference leads to another part of the same schema, such as "#/$defs/name"'
            )
        part[keyword] = f"#{fragment}"
        name = unquote(fragment)
        target = name if name.startswith("/") or not name else self._anchors.get(name)
        if target not in self._parts:
            raise Invalid(f'schema: "{keyword}"{_at(place)} is {_quoted(reference)}, where no part of the schema is')
        return target

    def _places(self, place: str, keyword: str) -> list[str]:
        return self._inside.get((place, keyword), [])

    def _looks_of(self, place: str, above: tuple[str, ...] = ()) -> Counter[str]:
        """How often each part looks at a value that the part at `place` looks at once."""
        if place in above:
            raise Invalid(f"schema: the part{_at(place)} refers to itself for the same value")
        if place not in self._looks and len(above) <= _STEPS:
            looks = Counter({place: 1})
            for other in self._same[place]:
                _add(looks, self._looks_of(other, (*above, place)), 1)
                self._spend(len(self._looks[other]))
            if self._is_marking(place):
                _add(looks, self._marks_of(place), 1)
            self._weigh(looks)
            self._steps[place] = max((self._steps[other] + 1 for other in self._same[place]), default=0)
            self._looks[place] = looks
        if len(above) + self._steps.get(place, _STEPS) > _STEPS:
            raise Invalid(f"schema: more than {_STEPS} references and combinations within one another{_at((*above, place)[0])}")
        return self._looks[place]

    def _marks_of(self, place: str) -> Counter[str]:
        """The looks by which `unevaluatedProperties` or `unevaluatedItems` learns what the others looked at: all, once more."""
        if place not in self._marks:
            marks: Counter[str] = Counter()
            for other in self._same[place]:
                _add(marks, self._looks_of(other), 1)
                _add(marks, self._marks_of(other), 1)
                marks[other] += self._is_marking(other)
                self._spend(2 * len(marks))
            self._weigh(marks)
            self._marks[place] = marks
        return self._marks[place]

    def _is_marking(self, place: str) -> bool:
        part = self._parts[place]
        return isinstance(part, dict) and not part.keys().isdisjoint(("unevaluatedProperties", "unevaluatedItems"))

    def _weigh(self, looks: Counter[str]) -> int:
        self._spend(len(looks))
        weight = sum(count * self._weights[place] for place, count in looks.items())
        if weight > _LOOKS:
            raise Invalid(
                f"schema: would look at one value {weight} times or more, at most {_LOOKS}; "
                f"its parts apply one another too often, or an enum is too long{_at(min(looks, key=len))}"
            )
        return weight

    def _spend(self, steps: int) -> None:
        self._spent += steps
        if self._spent > _ANALYSIS:
            raise Invalid("schema: too many parts that apply others; use fewer of allOf, anyOf, oneOf and $ref")

    def _below(self, looks: Counter[str]) -> Iterator[Counter[str]]:
        """What looks at a value inside, for each kind of member and item that the parts distinguish."""
        self._spend(4 * len(looks))
        parts = [(place, part, count) for place, count in looks.items() if isinstance(part := self._parts[place], dict)]
        yield Counter({inner: count for place, _, count in parts for inner in self._places(place, "propertyNames")})
        for listed, always, otherwise, unevaluated in (
            ("properties", "patternProperties", "additionalProperties", "unevaluatedProperties"),
            ("prefixItems", "contains", "items", "unevaluatedItems"),
        ):
            usual: Counter[str] = Counter()
            special: dict[str, Counter[str]] = {}
            for place, part, count in parts:
                # What is left over for `unevaluated...` is looked at to learn whether it is, and looked at again if it fails.
                again = count * (1 + (unevaluated in part and not part.keys().isdisjoint(_APPLYING)))
                is_left = otherwise not in part
                rest: Counter[str] = Counter()
                for inner in self._places(place, unevaluated if is_left else otherwise):
                    rest[inner] += again if is_left else count
                for inner in self._places(place, always):
                    usual[inner] += again if always == "contains" else count
                _add(usual, rest, 1)
                for inner in self._places(place, listed):
                    change = special.setdefault(inner.rpartition("/")[2], Counter())
                    _add(change, rest, -1)
                    change[inner] += count
            yield from self._objects(usual, special)

    def _objects(self, usual: Counter[str], special: dict[str, Counter[str]]) -> Iterator[Counter[str]]:
        for change in (Counter[str](), *special.values()):
            looks = Counter(usual)
            _add(looks, change, 1)
            self._spend(1 + len(looks))
            yield Counter({place: count for place, count in looks.items() if count and isinstance(self._parts[place], dict)})


def _schemas_in(keyword: str, value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The schemas in a keyword's value, with their ways there."""
    if keyword in _ONE:
        yield (), value
    elif keyword in _LISTED and isinstance(value, list):
        yield from (((str(index),), inner) for index, inner in enumerate(value))
    elif keyword in _NAMED and isinstance(value, dict):
        yield from (((name,), inner) for name, inner in value.items())


def _weight(part: _Part) -> int:
    """What a look of a part costs, apart from the parts in it: 1, and more for what is compared one by one."""
    if isinstance(part, bool):
        return 1
    options = part.get("enum", ())
    if all(isinstance(option, str | None) for option in options):
        options = ()  # looked up at once
    return 1 + 4 * len(options) + len(part.get("patternProperties", ())) + len(part.get("dependentRequired", ())) // 8


def _add(total: Counter[str], looks: Counter[str], times: int) -> None:
    for place, count in looks.items():
        total[place] += count * times


def _under(place: str, *names: str) -> str:
    return "/".join((place, *(name.replace("~", "~0").replace("/", "~1") for name in names)))


def _complaint(error: ValueError) -> str:
    """Why a schema is none."""
    if not isinstance(error, jsonschema_rs.ValidationError):
        return f"schema: {_cut(str(error), 200)}"
    if error.message.endswith(' is not a "regex"'):
        return (
            f"schema: {_quoted(error.instance)}{_at(_pointer(error, 0))} is no pattern here: a regular expression "
            "without lookaround and backreferences, and without large repetitions (`maxLength` bounds a text)"
        )
    return f"schema: {_words(error, 0)}"


def _words(error: jsonschema_rs.ValidationError, above: int) -> str:
    """What is wrong and where. above: how many steps of its path lead to what is checked."""
    message = error.message
    if error.kind.name == "falseSchema":
        message = f"{_MASK} is not allowed"
    elif error.kind.name == "propertyNames":
        message = f"the name {message}"
    elif error.schema_path and error.schema_path[-1] == "maxContains":
        message = f"{_MASK} has too many items of the kind that it should contain"
    if _MASK in message:
        message = message.replace(_MASK, _quoted(error.instance), 1)
    return _cut(message, 200) + _at(_pointer(error, above))


def _pointer(error: jsonschema_rs.ValidationError, above: int) -> str:
    return _under("", *map(str, error.instance_path[above:])) if len(error.instance_path) > above else ""


def _at(place: str) -> str:
    return f" at {_cut(place, 90)}" if place else ""


def _quoted(value: Any) -> str:
    """A value as JSON, as far as it is short."""
    if isinstance(value, dict | list) and len(value) > 8:
        return "{…}" if isinstance(value, dict) else "[…]"
    text = json.dumps(value[:100] if isinstance(value, str) else value, ensure_ascii=False, default=str)
    if isinstance(value, dict | list) and len(text) > 100:
        return "{…}" if isinstance(value, dict) else "[…]"
    return text if len(text) <= 100 else f'{text[:98]}…"' if isinstance(value, str) else _cut(text, 100)


def _cut(text: str, length: int) -> str:
    """At most so many characters of a text, and none of them invisible."""
    short = text if len(text) <= length else f"{text[: length - 1]}…"
    if short.isprintable():
        return short
    return _cut("".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in short), length)
