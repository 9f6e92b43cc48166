"""Drafts a JSON Schema from records, for an operator to begin with: the types of members, and which ones each record has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from smarthouse_api.collections.schema_cost import DIALECT

_DEPTH: Final = 4
_MEMBERS: Final = 200
"""Of an object with more, the names are taken for data: they are left out."""

_KINDS: Final[dict[type, str]] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def draft_of(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Make a JSON Schema that all of these records pass. records: as JSON is read, at least one."""
    return {"$schema": DIALECT, **_of(records, _DEPTH)}


def _of(values: Sequence[Any], depth: int) -> dict[str, Any]:
    kinds = {_KINDS[type(value)]: None for value in values}
    if "number" in kinds:
        kinds.pop("integer", None)
    drafted: dict[str, Any] = {"type": next(iter(kinds)) if len(kinds) == 1 else [*kinds]}
    if depth and "object" in kinds:
        drafted |= _members([value for value in values if isinstance(value, dict)], depth - 1)
    items = [*chain.from_iterable(value for value in values if isinstance(value, list))]
    if depth and items:
        drafted["items"] = _of(items, depth - 1)
    return drafted


def _members(objects: Sequence[dict[str, Any]], depth: int) -> dict[str, Any]:
    names = {name: None for one in objects for name in one}
    if not names or len(names) > _MEMBERS:
        return {}
    properties = {name: _of([one[name] for one in objects if name in one], depth) for name in names}
    required = [name for name in names if all(name in one for one in objects)]
    return {"properties": properties} | ({"required": required} if required else {})
