"""Schema cost: refuses a schema that could look at one value of a record too often, before the schema is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

from smarthouse_api.collections.messages import at, quoted, under
from smarthouse_api.errors import Invalid

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
DEPTH: Final = 64
"""Of a schema's JSON, and of a record's."""

_LOOKS: Final = 1_000
"""How often a schema may look at one value of a record; most look less than ten times."""

_STEPS: Final = 32
"""References and combinations between two values: times 64 levels, what a thread's stack of 2 MB holds."""

_ANALYSIS: Final = 300_000
"""Steps in which the looks are to be counted: half a second."""

_PATTERNS: Final = 100
_ONE: Final = (
    *("not", "if", "then", "else", "propertyNames", "contains", "items"),
    *("additionalProperties", "unevaluatedProperties", "unevaluatedItems"),
)
_LISTED: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED: Final = ("$defs", "definitions", "properties", "patternProperties", "dependentSchemas", "dependencies")
_SAME_VALUE: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")
_APPLYING: Final = ("$ref", "$dynamicRef", "contains", *_SAME_VALUE)

Schema = dict[str, Any] | bool


class SchemaParts:
    """Finds out what a schema may cost: counts how often its parts look at one value of a record.

    A part is named by its place in the schema, a JSON Pointer.
    """

    def __init__(self, root: dict[str, Any]) -> None:
        self.patterns: set[str] = set()
        self.has_choices = False
        self._parts: dict[str, Schema] = {}
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
        """Return how often the schema looks at one value of any record at most. Raises `Invalid` if that is over the limit."""
        most = 0
        seen: set[frozenset[tuple[str, int]]] = set()
        level = [frozenset({("", 1)})]
        for _ in range(DEPTH + 1):
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
                inside = [(under(place, keyword, *path), inner) for path, inner in _schemas_in(keyword, value)]
                self._inside[place, keyword] = [inner for inner, part in inside if isinstance(part, dict | bool)]
                todo += inside
        if len(self.patterns) > _PATTERNS:
            raise Invalid(f"schema: {len(self.patterns)} patterns; at most {_PATTERNS}")

    def _look_at(self, place: str, part: dict[str, Any]) -> None:
        if part.get("$schema", DIALECT).rstrip("#") != DIALECT:
            raise Invalid(f'schema: "$schema"{at(place)} is {quoted(part["$schema"])}; only {DIALECT} is understood')
        if place and "$id" in part:
            raise Invalid(f'schema: "$id"{at(place)}: only the root may have one; refer to parts by "#/$defs/name"')
        for anchor in {part[keyword] for keyword in ("$anchor", "$dynamicAnchor") if keyword in part}:
            if self._anchors.setdefault(anchor, place) != place:
                raise Invalid(f"schema: the anchor {quoted(anchor)}{at(place)} is there twice")
        self.has_choices |= "anyOf" in part or "oneOf" in part
        self.patterns |= {part["pattern"]} if "pattern" in part else set()
        self.patterns |= part.get("patternProperties", {}).keys()

    def _same_value(self, place: str, part: Schema) -> Iterator[str]:
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
                f'schema: "{keyword}"{at(place)} is {quoted(reference)}; nothing is fetched, '
                'a reference leads to another part of the same schema, such as "#/$defs/name"'
            )
        part[keyword] = f"#{fragment}"
        name = unquote(fragment)
        target = name if name.startswith("/") or not name else self._anchors.get(name)
        if target not in self._parts:
            raise Invalid(f'schema: "{keyword}"{at(place)} is {quoted(reference)}, where no part of the schema is')
        return target

    def _places(self, place: str, keyword: str) -> list[str]:
        return self._inside.get((place, keyword), [])

    def _looks_of(self, place: str, above: tuple[str, ...] = ()) -> Counter[str]:
        """How often each part looks at a value that the part at `place` looks at once."""
        if place in above:
            raise Invalid(f"schema: the part{at(place)} refers to itself for the same value")
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
            raise Invalid(f"schema: more than {_STEPS} references and combinations within one another{at((*above, place)[0])}")
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
                f"its parts apply one another too often, or an enum is too long{at(min(looks, key=len))}"
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


def _weight(part: Schema) -> int:
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
