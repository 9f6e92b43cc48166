"""Names of members of records, as definitions have them: a name, or a path of names that are joined by dots.

A name may hold dots itself, as `PM2.5` does. At each step, the longest name that the object has wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any


def member_of(record: Any, name: str, default: Any = None) -> Any:
    """Return the value of the member with this name; the default if there is none."""
    path = _path(record, name)
    for step in path or ():
        record = record[step]
    return default if path is None else record


def values_of(records: Sequence[dict[str, Any]], name: str) -> list[Any]:
    """List the values of a member; None for each record that does not have it."""
    try:
        return list(map(itemgetter(name), records))
    except KeyError:
        return [member_of(record, name) if "." in name else record.get(name) for record in records]


def replaced(record: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return the record with another value of this member; what does not change is shared with the given record."""
    path = _path(record, name) or [name]
    return _replaced(record, path, value)


def _path(record: Any, name: str) -> list[str] | None:
    """The names that lead to the member, each as the object at that step has it; None if there is no such member."""
    path = list[str]()
    while isinstance(record, dict):
        if name in record:
            return [*path, name]
        if (step := _longest(record, name)) is None:
            return None
        path.append(step)
        record, name = record[step], name[len(step) + 1 :]
    return None


def _longest(record: dict[str, Any], name: str) -> str | None:
    step = name
    while "." in step:
        step = step.rpartition(".")[0]
        if step in record:
            return step
    return None


def _replaced(record: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    first, *rest = path
    return {**record, first: _replaced(record[first], rest, value) if rest else value}
