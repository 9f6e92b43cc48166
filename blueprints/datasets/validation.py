"""Validation of requests against their JSON Schemas, in the words of Obsrv's own server.

Those are the words of ajv 6: where in the schema the broken rule stands, and what it asks.
"""

from __future__ import annotations

from typing import Any, Final

from smarthouse_api.collections.fast_path import UniformRecords

Shape = dict[str, Any]

_ABSENT: Final = object()
LONGEST_MSGID: Final = 512
"""Limits the `msgid`, because it is stored with each part of its request's data."""

_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def fault_of_event(sent: Any) -> str | None:
    """Validate a request that brings data: its first fault in the order of its members, or None."""
    if type(sent) is not dict:
        return "#type should be object"
    for name in ("id", "ver", "ts"):
        if type(value := sent.get(name, _ABSENT)) is not str:
            return _missing(name) if value is _ABSENT else f"#/properties/{name}/type should be string"
        if name == "id" and value != "api.data.in":
            return "#/properties/id/enum should be equal to one of the allowed values"
    return _fault_of_params(sent.get("params", _ABSENT)) or _fault_of_data(sent.get("data", _ABSENT))


def _missing(name: str, where: str = "") -> str:
    return f"#{where}required should have required property '{name}'"


def _fault_of_params(params: Any) -> str | None:
    where = "/properties/params/"
    if type(params) is not dict:
        return _missing("params") if params is _ABSENT else f"#{where}type should be object"
    if "msgid" not in params:
        return _missing("msgid", where)
    if len(params) > 1:
        return f"#{where}additionalProperties should NOT have additional properties"
    if type(params["msgid"]) is not str:
        return f"#{where}properties/msgid/type should be string"
    if len(params["msgid"]) > LONGEST_MSGID:
        return f"#{where}properties/msgid/maxLength should NOT be longer than {LONGEST_MSGID} characters"
    return None


def _fault_of_data(data: Any) -> str | None:
    if type(data) in (dict, UniformRecords):
        return None
    if type(data) is not list:
        return _missing("data") if data is _ABSENT else "#/properties/data/oneOf/0/type should be object"
    if set(map(type, data)) <= {dict}:
        return None
    index = next(index for index, record in enumerate(data) if type(record) is not dict)
    return f"#/properties/data/oneOf/1/items/type should be object (data[{index}])"


def fault_of(sent: Any, shape: Shape) -> str | None:
    """Validate a request: its first fault in ajv's order, or None.

    The shape is a JSON Schema of the rules that this module knows.
    """
    found = _fault(sent, shape, "")
    return None if found is None else f"#{found}"


def _fault(value: Any, shape: Shape, where: str) -> str | None:
    if value is None and shape.get("nullable"):
        return None
    if (kind := shape.get("type")) is not None and not _is(value, kind):
        return f"{where}type should be {kind}"
    within = _fault_of_object if isinstance(value, dict) else _fault_of_items
    return within(value, shape, where) or _fault_of_value(value, shape, where)


def _is(value: Any, kind: str) -> bool:
    # Of JSON's true, Python says that it is an integer.
    return isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _fault_of_object(value: dict[str, Any], shape: Shape, where: str) -> str | None:
    shape = {**shape, **shape.get("x-rules", {})}
    for name in shape.get("required", ()):
        if name not in value:
            return f"{where}required should have required property '{name}'"
    if len(value) < (least := shape.get("minProperties", 0)):
        return f"{where}minProperties should NOT have fewer than {least} properties"
    properties: dict[str, Shape] = shape.get("properties", {})
    if shape.get("additionalProperties") is False and value.keys() - properties.keys():
        return f"{where}additionalProperties should NOT have additional properties"
    faults = (_fault(value[name], rule, f"{where}properties/{name}/") for name, rule in properties.items() if name in value)
    return next(filter(None, faults), None) or _fault_of_condition(value, shape, where)


def _fault_of_condition(value: dict[str, Any], shape: Shape, where: str) -> str | None:
    for name, needed in shape.get("x-when", {}).items():
        if value.get(name) is True and (fault := _fault_of_object(value, {"required": needed}, f"{where}then/")):
            return fault
    if "x-upsert" in shape and value["action"] == "upsert":
        return _fault_of_object(value["value"], {"required": shape["x-upsert"]}, f"{where}then/properties/value/")
    return None


def _fault_of_value(value: Any, shape: Shape, where: str) -> str | None:
    if isinstance(value, str) and len(value) < shape.get("minLength", 0):
        return f"{where}minLength should NOT be shorter than {shape['minLength']} characters"
    if isinstance(value, int | float) and (least := shape.get("minimum")) is not None:
        is_beyond = shape.get("exclusiveMinimum", False)
        if value < least or (is_beyond and value == least):
            return f"{where}minimum should be {'>' if is_beyond else '>='} {least}"
    if "enum" in shape and value not in shape["enum"]:
        return f"{where}enum should be equal to one of the allowed values"
    if "anyOf" in shape:
        faults = [_fault(value, one, f"{where}anyOf/{index}/") for index, one in enumerate(shape["anyOf"])]
        return faults[0] if None not in faults else None
    return None


def _fault_of_items(value: Any, shape: Shape, where: str) -> str | None:
    if not isinstance(value, list) or "items" not in shape:
        return None
    return next(filter(None, (_fault(one, shape["items"], f"{where}items/") for one in value)), None)
