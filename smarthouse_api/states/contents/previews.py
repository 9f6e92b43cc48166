"""Chooses rows to look at before a download, spread over homes, over types and over entities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pyarrow as pa

_MOST_LOOKED: Final = 500_000
"""After so many rows no more are read, if rows of all homes are among them."""

_Numbers = np.ndarray[Any, np.dtype[np.int64]]


def preview_of(batches: Iterable[pa.RecordBatch], homes: int, limit: int) -> pa.Table | None:
    """Choose rows: as many of each home, there of each type, and there of each entity, if there are. None if no row is there.

    batches: in the order of an export, in which the chosen rows stay. homes: how many have rows.
    """
    known: dict[str, dict[str | None, int]] = {"home": {}, "type": {}, "entity_id": {}}
    kept, numbers, looked = list[pa.RecordBatch](), list[_Numbers](), 0
    for batch in batches:
        of_batch = np.stack([_numbered(batch.column(name), found) for name, found in known.items()])
        places = np.flatnonzero(_place_in_run(of_batch) < limit)
        kept.append(_plain(batch.take(pa.array(places))))
        numbers.append(of_batch[:, places])
        looked += batch.num_rows
        if looked >= _MOST_LOOKED and len(known["home"]) >= homes:
            break
    if not kept:
        return None
    chosen = _spread(*np.concatenate(numbers, axis=1), limit=limit)
    return pa.Table.from_batches(kept).take(pa.array(chosen)) if len(chosen) else None


def _numbered(column: pa.Array, known: dict[str | None, int]) -> _Numbers:
    """Number the texts of a column: in each batch by the same numbers."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    texts = [*encoded.dictionary.to_pylist(), None]
    of_texts = np.array([known.setdefault(text, len(known)) for text in texts], np.int64)
    found: _Numbers = of_texts[encoded.indices.fill_null(len(texts) - 1).to_numpy()]
    return found


def _spread(home: _Numbers, type_: _Numbers, entity: _Numbers, *, limit: int) -> _Numbers:
    """Find the places to choose: one of each group in turn, beginning with another one in each home."""
    kind, of_home = _turns(home, type_)
    thing, of_kind = _turns(kind, entity)
    of_thing = _ranks(thing, np.arange(len(home)))
    in_kind = _ranks(kind, of_thing, of_kind)
    in_home = _ranks(home, in_kind, of_home)
    return np.sort(np.lexsort((home, in_home))[:limit])


def _turns(group: _Numbers, member: _Numbers) -> tuple[_Numbers, _Numbers]:
    """Number the pairs of group and member, and the members of each group from 0: in each group another one is the first."""
    both = max(1, int(member.max(initial=0)) + 1)
    pairs, pair = np.unique(group * both + member, return_inverse=True)
    groups = pairs // both
    first = np.searchsorted(groups, groups)
    count = np.searchsorted(groups, groups, side="right") - first
    return pair, ((np.arange(len(pairs)) - first - groups) % count)[pair]


def _ranks(group: _Numbers, *order: _Numbers) -> _Numbers:
    """Count the rows of each group from 0, in an order."""
    sorted_ = np.lexsort((*order[::-1], group))
    ranks = np.empty(len(group), np.int64)
    ranks[sorted_] = _place_in_run(group[None, sorted_])
    return ranks


def _place_in_run(numbers: _Numbers) -> _Numbers:
    """Count the columns of each run of equal ones from 0."""
    here = np.arange(numbers.shape[1])
    begins = np.ones(len(here), bool)
    begins[1:] = (numbers[:, 1:] != numbers[:, :-1]).any(axis=0)
    return here - np.maximum.accumulate(np.where(begins, here, 0))


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [one.dictionary_decode() if pa.types.is_dictionary(one.type) else one for one in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
