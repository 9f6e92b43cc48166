"""The uniformity of records: records of different shapes in one request give warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, Final

from smarthouse_api.collections.warning_texts import MOST_NAMED, and_more, quoted

Record = dict[str, Any]

_SHAPES: Final = 4
_TYPES: Final = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object"}


def uniformity(records: Sequence[Record]) -> list[str]:
    """Warn of records that differ from the first in their members' names, or in the JSON type that a member had before.

    A null is of every type. At most five warnings; the last one counts the rest.
    """
    if len(records) < 2 or _is_uniform(records):
        return []
    differing = list(_differing(records).items())
    warnings = [f"data[{first}]{and_more(count)}: {difference}" for difference, (first, count) in differing[:_SHAPES]]
    if rest := sum(count for _, (_, count) in differing[_SHAPES:]):
        warnings.append(f"data[{differing[_SHAPES][1][0]}]{and_more(rest)}: different in other ways")
    return warnings


def _is_uniform(records: Sequence[Record]) -> bool:
    """Whether all have the same members, each of one type. A column at a time is quicker than a record at a time."""
    first = records[0]
    if {len(first)} != set(map(len, records)):
        return False
    try:
        columns = (set(map(type, map(itemgetter(name), records))) for name in first)
        return all(len({_TYPES.get(kind) for kind in kinds} - {None}) <= 1 for kinds in columns)
    except KeyError:
        return False


def _differing(records: Sequence[Record]) -> dict[str, list[int]]:
    """The ways in which records differ: each with the first index and the count of its records."""
    first = records[0]
    types: dict[str, str] = {}
    told: dict[tuple[Any, ...], str] = {}
    differing: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        shape = (*record, *map(type, record.values()))
        difference = told.get(shape)
        if difference is None:
            difference = told[shape] = "; ".join(islice(_differences(first, record, types), MOST_NAMED))
        if difference:
            differing.setdefault(difference, [index, 0])[1] += 1
    return differing


def _differences(first: Record, record: Record, types: dict[str, str]) -> Iterator[str]:
    """How a record differs from the first, and from the types that members had before, which it adds to."""
    kinds = {name: kind for name, value in record.items() if (kind := _TYPES.get(type(value))) is not None}
    other = [(name, kind) for name, kind in kinds.items() if types.setdefault(name, kind) != kind]
    yield from (
        f"it has no {quoted(name)}, which data[0] has" for name in islice((n for n in first if n not in record), MOST_NAMED)
    )
    yield from (f"it has {quoted(name)}, which data[0] has not" for name in record if name not in first)
    yield from (f"{quoted(name)} is {kind}, before it was {types[name]}" for name, kind in other)
