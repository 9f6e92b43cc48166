"""Which schemas are taken, what is said of records that fail them, and which schemas are refused before they can do harm."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from smarthouse_api.collections.schemas import Checker
from smarthouse_api.errors import Invalid

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NUMBER = {"type": "number"}
READING = {
    "type": "object",
    "properties": {
        "timestamp": {"type": "string", "format": "date-time"},
        "value": NUMBER,
        "unit": {"type": ["string", "null"]},
    },
    "required": ["timestamp", "value"],
}


def reading(**others: Any) -> dict[str, Any]:
    return {"timestamp": "2025-01-01T12:00:00Z", "value": 1.5} | others


def nested(depth: int, innermost: Any = 1, *, as_list: bool = False) -> Any:
    value = innermost
    for _ in range(depth):
        value = [value] if as_list else {"a": value}
    return value


def chain(steps: int, link: Any, last: Any) -> dict[str, Any]:
    """Definitions of which each refers to the next in the way of `link`."""
    definitions = {f"d{step}": link({"$ref": f"#/$defs/d{step + 1}"}) for step in range(steps)}
    return {"$defs": {**definitions, f"d{steps}": last}, "$ref": "#/$defs/d0"}


def fault_of(checker: Checker, record: dict[str, Any]) -> str | None:
    return checker.faults_of([record]).get(0)


def refused(schema: Any) -> str:
    with pytest.raises(Invalid) as caught:
        Checker(schema)
    assert caught.value.detail.startswith("schema: ")
    assert len(caught.value.detail) <= 400
    assert caught.value.detail.isprintable()
    return caught.value.detail


@pytest.mark.parametrize(
    "record", [reading(), reading(value=-3), reading(unit=None), reading(other={"x": [1]}), reading(value=2**63)]
)
def test_a_record_that_fits_has_no_fault(record: dict[str, Any]) -> None:
    assert fault_of(Checker(READING), record) is None


@pytest.mark.parametrize(
    ("schema", "record", "fault"),
    [
        (READING, reading(value="abc"), '"abc" is not of type "number" at /value'),
        (READING, {"value": 1}, '"timestamp" is a required property'),
        (READING, reading(unit=[1, "x"]), '[1, "x"] is not of types "null", "string" at /unit'),
        (READING, reading(timestamp="yesterday"), '"yesterday" is not a "date-time" at /timestamp'),
        ({"properties": {"a/b": {"items": {"properties": {"~": NUMBER}}}}}, {"a/b": [{}, {"~": "x"}]}, "at /a~1b/1/~0"),
        ({"additionalProperties": False, "properties": {"a": True}}, {"a": 1, "b": 2}, "('b' was unexpected)"),
        ({"additionalProperties": False}, {"b": 2}, "2 is not allowed"),
        ({"properties": {"a": False}}, {"a": None}, "null is not allowed at /a"),
        ({"propertyNames": {"maxLength": 2}}, {"abc": 1}, 'the name "abc" is longer than 2 characters'),
        ({"properties": {"a": {"contains": True, "maxContains": 1}}}, {"a": [1, 2]}, "[1, 2] has too many items"),
        ({"properties": {"a": {"anyOf": [NUMBER, {"type": "null"}]}}}, {"a": "x"}, '"x" is not valid under any of the schemas'),
        ({"properties": {"a": {"enum": ["x", None]}}}, {"a": 1}, '1 is not one of "x" or null at /a'),
        ({"properties": {"a": {"pattern": "^b+$"}}}, {"a": "\n"}, '"\\n" does not match "^b+$" at /a'),
        ({"unevaluatedProperties": False, "allOf": [{"properties": {"a": True}}]}, {"a": 1, "z": 1}, "'z' was unexpected"),
        ({"allOf": [False]}, {"a": 1}, '{"a": 1} is not allowed'),
    ],
)
def test_a_fault_is_told_with_its_place(schema: Any, record: dict[str, Any], fault: str) -> None:
    assert fault in (fault_of(Checker(schema), record) or "")


@pytest.mark.parametrize("format_", ["date-time", "date", "time", "uuid", "email", "uri", "ipv4", "hostname", "duration"])
def test_formats_are_checked(format_: str) -> None:
    assert fault_of(Checker({"properties": {"a": {"format": format_}}}), {"a": "no such thing"}) is not None
    assert fault_of(Checker({"properties": {"a": {"format": format_}}}), {"a": 5}) is None


def test_an_unknown_format_is_no_constraint() -> None:
    assert fault_of(Checker({"properties": {"a": {"format": "license-plate"}}}), {"a": "x"}) is None


@pytest.mark.parametrize(
    "record",
    [
        {"a": "x" * 100_000},
        {"a": list(range(100_000))},
        {"a": {str(index): nested(60) for index in range(1_000)}},
        {"a": "\x00\u202e\n" * 1_000},
        {"a": True, "y" * 10_000: {"z" * 10_000: "x"}},
    ],
)
def test_a_fault_is_short_and_printable_whatever_the_record_holds(record: dict[str, Any]) -> None:
    schema = {"properties": {"a": NUMBER}, "additionalProperties": {"additionalProperties": NUMBER}}
    fault = fault_of(Checker(schema), record)
    assert fault is not None
    assert len(fault) <= 300
    assert fault.isprintable()


def test_a_long_text_is_quoted_in_part() -> None:
    fault = fault_of(Checker({"properties": {"a": NUMBER}}), {"a": "x" * 150})
    assert fault == f'"{"x" * 97}…" is not of type "number" at /a'


def test_the_faults_of_many_records_are_told_by_index() -> None:
    records = [reading() for _ in range(2_500)]
    records[0] = records[1_234] = records[2_499] = reading(value="x")
    fault = '"x" is not of type "number" at /value'
    assert Checker(READING).faults_of(records) == {0: fault, 1_234: fault, 2_499: fault}
    assert Checker(READING).faults_of([]) == {}
    assert Checker({}).faults_of(records) == {}
    assert len(Checker({"not": {}}).faults_of(records)) == 2_500


def test_a_large_record_that_fails_many_alternatives_is_a_fault_without_its_place() -> None:
    checker = Checker({"anyOf": [{"required": [f"z{index}"]} for index in range(100)]})
    assert fault_of(checker, {f"key{index}": index for index in range(20_000)}) == "it does not match the schema"
    assert "is not valid under any of the schemas" in (fault_of(checker, {"a": 1}) or "")


def test_of_many_records_that_fail_alternatives_the_first_are_told_why() -> None:
    checker = Checker({"anyOf": [{"required": [f"z{index}"]} for index in range(100)]})
    faults = checker.faults_of([{"a": "x" * 1_000} for _ in range(300)])
    assert len(faults) == 300
    assert "anyOf" in faults[0]
    assert faults[299] == "it does not match the schema"


TREE = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "value": NUMBER}}
EXPRESSION = {
    "oneOf": [
        NUMBER,
        {"type": "object", "properties": {"args": {"type": "array", "items": {"$ref": "#/$defs/e"}}}, "required": ["args"]},
    ]
}
JSON = {"anyOf": [{"type": ["number", "string"]}, {"type": "object", "additionalProperties": {"$ref": "#/$defs/j"}}]}
DYNAMIC = {"$dynamicAnchor": "node", "type": "object", "properties": {"a": {"$dynamicRef": "#node"}}}
BY_ID = {
    "$id": "https://example.org/s",
    "properties": {"a": {"$ref": "https://example.org/s#/$defs/n"}},
    "$defs": {"n": NUMBER},
}
EXTENDED = {
    "$defs": {"base": {"properties": {"id": NUMBER}}},
    "allOf": [{"$ref": "#/$defs/base"}],
    "properties": {"parts": {"items": {"$ref": "#"}}},
    "unevaluatedProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (TREE, {"left": {"right": {"value": 1}}}, {"left": {"right": {"value": "x"}}}),
        ({"$defs": {"e": EXPRESSION}, "$ref": "#/$defs/e"}, {"args": [1, {"args": []}]}, {"args": [1, {"args": ["x"]}]}),
        ({"$defs": {"j": JSON}, "properties": {"a": {"$ref": "#/$defs/j"}}}, {"a": {"b": {"c": 1}}}, {"a": {"b": {"c": None}}}),
        (DYNAMIC, {"a": {"a": {}}}, {"a": {"a": 1}}),
        (EXTENDED, {"id": 1, "parts": [{"id": 2}]}, {"id": 1, "parts": [{"other": 2}]}),
        (BY_ID, {"a": 1}, {"a": "x"}),
        ({"$anchor": "top", "properties": {"a": {"$ref": "#top"}, "v": NUMBER}}, {"a": {"v": 1}}, {"a": {"v": "x"}}),
        ({"properties": {"a~b/c é": NUMBER, "d": {"$ref": "#/properties/a~0b~1c%20%C3%A9"}}}, {"d": 1}, {"d": "x"}),
        ({"definitions": {"n": NUMBER}, "properties": {"a": {"$ref": "#/definitions/n"}}}, {"a": 1}, {"a": "x"}),
        ({"$schema": f"{DIALECT}#", "properties": {"$id": NUMBER, "$ref": NUMBER}}, {"$id": 1, "$ref": 1}, {"$ref": "x"}),
        ({"const": {"$ref": "http://example.org", "$id": "x"}}, {"$ref": "http://example.org", "$id": "x"}, {}),
        ({"properties": {"a": {"enum": list(range(200))}}}, {"a": 199}, {"a": 200}),
        ({"oneOf": [{"properties": {"k": {"const": index}}, "required": ["k"]} for index in range(100)]}, {"k": 7}, {"k": 100}),
        ({"properties": {f"p{index}": NUMBER for index in range(1_500)}}, {"p1499": 1}, {"p1499": "x"}),
    ],
)
def test_recursive_and_large_schemas_of_ordinary_kinds_are_taken(schema: Any, good: Any, bad: Any) -> None:
    checker = Checker(schema)
    assert fault_of(checker, good) is None
    assert fault_of(checker, bad) is not None


@pytest.mark.parametrize(
    "schema", [TREE, DYNAMIC, {"additionalProperties": {"$ref": "#"}}, {"unevaluatedProperties": {"$ref": "#"}}]
)
def test_a_recursive_schema_takes_a_record_of_64_levels(schema: Any) -> None:
    assert fault_of(Checker(schema), nested(63, {})) is None


def test_the_callers_schema_stays_as_it_was() -> None:
    schema = {
        "$schema": DIALECT,
        "$id": "https://example.org/s",
        "$defs": {"a": NUMBER},
        "$ref": "https://example.org/s#/$defs/a",
    }
    before = repr(schema)
    Checker(schema)
    assert repr(schema) == before


REFERENCES = [
    *(
        "http://127.0.0.1:9/x.json",
        "https://example.org/s#/$defs/a",
        "file:///etc/passwd",
        "other.json",
        "//host/x",
        "/etc/passwd",
    ),
    *("urn:record", "urn:records", "http://[::bad", DIALECT, "http://json-schema.org/draft-07/schema#", "data:,{}", "%%%"),
]


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_to_the_outside_is_named_and_never_fetched(
    reference: str, keyword: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", None)
    said = refused({"properties": {"a": {keyword: reference}}})
    if reference != "%%%":
        assert reference in said
        assert "at /properties/a " in said


@pytest.mark.parametrize(
    "reference", ["#/$defs/none", "#none", "#/properties", "#/title", "#/enum/0", "#/x-own/a", "#/allOf/01", "#/%"]
)
def test_a_reference_to_nothing_is_refused(reference: str) -> None:
    schema = {"title": "t", "enum": [{}], "x-own": {"a": {}}, "allOf": [{}, {}], "properties": {"a": {"$ref": reference}}}
    refused(schema)


def test_an_address_under_schema_or_vocabulary_is_never_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/s"
        for schema in (
            {"$schema": address},
            {"$defs": {"a": {"$id": address, "$schema": address}}},
            {"$ref": address},
            {"$id": f"{address}/base", "$ref": "other"},
            {"properties": {"a": {"$dynamicRef": f"{address}#n"}}},
        ):
            refused(schema)
        Checker({"$vocabulary": {address: True}, "examples": [{"$ref": address}], "$comment": address})
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ([], "must be a JSON object"),
        ("{}", "must be a JSON object"),
        (None, "must be a JSON object"),
        ({"type": "text"}, '"text" is not valid under any'),
        ({"properties": {"a": {"type": 5}}}, "at /properties/a/type"),
        ({"required": "a"}, '"a" is not of type "array" at /required'),
        ({"minItems": -1}, "at /minItems"),
        ({"multipleOf": 0}, "at /multipleOf"),
        ({"items": [{}]}, "at /items"),
        ({"$id": "https://example.org/s#part"}, "at /$id"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, f"only {DIALECT} is understood"),
        ({"$schema": "https://example.org/mine"}, f"only {DIALECT} is understood"),
        ({"$defs": {"a": {"$id": "https://example.org/a"}}}, '"$id" at /$defs/a: only the root may have one'),
        ({"$defs": {"a": {"$anchor": "n"}, "b": {"$dynamicAnchor": "n"}}}, 'the anchor "n" at /$defs/a is there twice'),
        ({"maximum": float("nan")}, "at /maximum"),
        ({"title": "\ud800"}, "cannot be taken"),
        ({"minItems": 2**70}, "cannot be taken"),
        ({"title": object()}, "cannot be taken"),
        ({1: True}, "cannot be taken"),
        ({"title": "x" * 66_000}, "bytes of JSON; at most 65536"),
        (nested(65), "nested deeper than 64 levels"),
        (nested(100_000), "nested deeper than 64 levels"),
        ({"enum": [nested(80, as_list=True)]}, "nested deeper than 64 levels"),
    ],
)
def test_what_is_no_schema_is_refused_with_the_place(schema: Any, said: str) -> None:
    assert said in refused(schema)


@pytest.mark.parametrize(
    "pattern",
    [
        *("(?=a)b", "(?!a)b", "(?<=a)b", "(?<!a)b", r"(a)\1", "(a", "[z-a]", "a{2,1}", "*a"),
        *(
            r"^.{1,1000}$",
            "(a{1000}){1000}",
            "((a{100}){100}){100}",
            r"\p{L}{500}",
            r"^(\p{L}|\d|\w){900}$",
            "(" * 5_000 + "a" + ")" * 5_000,
        ),
    ],
)
def test_a_pattern_that_is_not_matched_in_linear_time_or_space_is_refused(pattern: str) -> None:
    assert "without lookaround and backreferences" in refused({"properties": {"a": {"pattern": pattern}}})
    assert "without lookaround and backreferences" in refused({"patternProperties": {pattern: True}})


def test_a_refused_pattern_is_named_with_its_place() -> None:
    said = refused({"properties": {"a": {"allOf": [True, {"pattern": "^(?!x)"}]}}})
    assert '"^(?!x)" at /properties/a/allOf/1/pattern is no pattern here' in said


@pytest.mark.parametrize(
    "pattern",
    [r"^(a+)+$", r"^(a|a)*$", r"^([a-z]+)*$", r"(.*)*(.*)*x", r"^(\w+\s?)*$", r"(x+x+)+y", r"^.{1,40}$", r"^\p{L}+$"],
)
def test_a_catastrophic_pattern_is_matched_all_the_same(pattern: str) -> None:
    assert fault_of(Checker({"properties": {"a": {"pattern": pattern}}}), {"a": "a" * 100_000 + "!\n"}) is not None


def test_more_than_a_hundred_patterns_are_refused() -> None:
    assert "101 patterns; at most 100" in refused({"allOf": [{"pattern": f"a{{{count}}}"} for count in range(101)]})


IN_PLACE = {
    "$ref": lambda to: to,
    "allOf": lambda to: {"allOf": [to]},
    "anyOf": lambda to: {"anyOf": [to]},
    "oneOf": lambda to: {"oneOf": [to]},
    "not": lambda to: {"not": to},
    "if": lambda to: {"if": to},
    "then": lambda to: {"if": True, "then": to},
    "else": lambda to: {"if": False, "else": to},
    "dependentSchemas": lambda to: {"dependentSchemas": {"a": to}},
    "dependencies": lambda to: {"dependencies": {"a": to}},
}


@pytest.mark.parametrize("keyword", IN_PLACE)
def test_a_reference_to_itself_that_goes_nowhere_is_refused(keyword: str) -> None:
    assert "refers to itself for the same value" in refused(IN_PLACE[keyword]({"$ref": "#"}))
    assert "refers to itself for the same value" in refused(chain(3, IN_PLACE[keyword], {"$ref": "#/$defs/d1"}))


@pytest.mark.parametrize("keyword", IN_PLACE)
def test_a_long_chain_of_references_is_refused(keyword: str) -> None:
    for steps in (40, 1_000):
        assert "more than 32 references" in refused(chain(steps, IN_PLACE[keyword], {"type": "object"}))


def test_references_within_one_another_up_to_the_limit_pass_through_64_levels() -> None:
    schema = chain(14, IN_PLACE["anyOf"], {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}})
    checker = Checker(schema)
    assert fault_of(checker, nested(63, {})) is None
    assert fault_of(checker, nested(63, 1)) is not None


def twice(to: Any) -> list[Any]:
    return [to, dict(to)]


BELOW = {"properties": {"a": {"$ref": "#"}}}
EXPONENTIAL = {
    "allOf of references, 30 levels": chain(30, lambda to: {"allOf": twice(to)}, True),
    "allOf of references, 10 levels": chain(10, lambda to: {"allOf": twice(to)}, True),
    "anyOf of references": chain(10, lambda to: {"anyOf": twice(to)}, False),
    "if, then and else": chain(10, lambda to: {"if": to, "then": dict(to), "else": dict(to)}, True),
    "members in two places": {"allOf": twice(BELOW)},
    "members or members": {"anyOf": [{**BELOW, "required": ["z"]}, BELOW]},
    "items in two places": {
        "properties": {"a": {"$ref": "#/$defs/l"}},
        "$defs": {"l": {"allOf": twice({"items": {"$ref": "#/$defs/l"}})}},
    },
    "items and contains": {"items": {"$ref": "#"}, "contains": {"$ref": "#"}},
    "members of any name": {"patternProperties": {"a": {"$ref": "#"}, ".": {"$ref": "#"}}},
    "members under a pattern and a name": {"patternProperties": {"a": {"$ref": "#"}}, "properties": {"a": {"$ref": "#"}}},
    "by way of others": chain(
        1, lambda to: {"allOf": twice({"properties": {"a": to}})}, {"properties": {"b": {"$ref": "#/$defs/d0"}}}
    ),
    "dynamic": {"$dynamicAnchor": "n", "allOf": twice({"properties": {"a": {"$dynamicRef": "#n"}}})},
    "unevaluated in one another": chain(
        12, lambda to: {"anyOf": [to], "unevaluatedProperties": False}, {"properties": {"a": True}}
    ),
    "unevaluated and recursive": {"anyOf": [BELOW], "unevaluatedProperties": False},
    "unevaluated items": {"anyOf": [{"items": {"$ref": "#"}}], "unevaluatedItems": False},
    "unevaluated beside another": {"anyOf": [{}], "unevaluatedProperties": {"$ref": "#"}},
    "a tree down the levels": chain(30, lambda to: {"allOf": twice({"properties": {"a": to}})}, True),
}


@pytest.mark.parametrize("name", EXPONENTIAL)
def test_a_schema_whose_effort_grows_exponentially_is_refused(name: str) -> None:
    said = refused(EXPONENTIAL[name])
    assert "would look at one value" in said or "more than 32 references" in said


@pytest.mark.parametrize(
    "schema",
    [
        {"items": {"enum": [{"a": index} for index in range(400)]}},
        {"enum": [index + 0.5 for index in range(300)]},
        {"anyOf": [True] * 1_500},
        {"oneOf": [{"$ref": "#/$defs/a"}] * 700, "$defs": {"a": {}}},
    ],
)
def test_a_schema_that_looks_too_often_is_refused(schema: Any) -> None:
    assert "would look at one value" in refused(schema)


def test_a_schema_too_intricate_to_be_counted_is_refused() -> None:
    part = {"allOf": [{"$ref": "#/$defs/shared"}]}
    schema = {
        "properties": {f"p{index}": part for index in range(1_000)},
        "$defs": {"shared": {"anyOf": [{} for _ in range(400)]}},
    }
    assert "too many parts that apply others" in refused(schema)
