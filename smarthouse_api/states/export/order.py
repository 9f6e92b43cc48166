"""The order of an export's rows: by day of arrival, bucket, home, entity, time, arrival, and then by every other column.

Home Assistant repeats a `last_changed` whenever an attribute changes, so the other columns matter: rows of one snapshot always
have the same order, whichever engine found them.

Rows are sorted here and not by the engine. Their texts are dictionary-encoded for writing anyway, and integers are sorted and
moved at a quarter of the cost of texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.states.records.schema import ROWS, bucket_of

_BEFORE_ALL_TIMES = -1 << 62  # and so little that the distance to any of them is a number too

_TIE_BREAKERS = ("received", "last_updated", "state", "attributes", "last_changed", "unit", "device_class", "value", "type")
"""What orders rows of one home, entity and time: every other column. Nulls come first."""

Codes = npt.NDArray[np.int64]
Bits = npt.NDArray[np.bool_]


def ordered(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch | None:
    """Sort all rows of `batches` into one batch with the columns of `ROWS`, texts dictionary-encoded; None if there are none.

    batches: the columns of `ROWS`, `home` being internal keys, and `time`.
    """
    found = [batch for batch in batches if batch.num_rows]
    if not found:
        return None
    table = pa.Table.from_batches(found)
    columns = {name: _encoded(table.column(name)) for name in ROWS.names}
    moved = _order(columns, table.column("time").combine_chunks())
    if moved is not None:
        columns = {name: column.take(moved) for name, column in columns.items()}
    return pa.RecordBatch.from_pydict(columns)


def _encoded(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece, with each different text once."""
    if not pa.types.is_string(column.type) and not pa.types.is_string_view(column.type):
        return column.combine_chunks()
    encoded = column.dictionary_encode().combine_chunks()
    return pa.DictionaryArray.from_arrays(encoded.indices, encoded.dictionary.cast(pa.string()))


def _order(columns: Mapping[str, pa.Array], time: pa.Array) -> pa.Array | None:
    """Return the places of the rows in order; None if the rows are in order already."""
    home, entity = columns["home"], columns["entity_id"]
    keys = home.dictionary.to_pylist()
    by_bucket = np.argsort(np.lexsort((np.array(keys), np.array([bucket_of(key) for key in keys]))))
    entities = np.argsort(pc.array_sort_indices(entity.dictionary).to_numpy())
    at = _microseconds(time)
    group = _microseconds(columns["received"]) // DAY_US
    group = (group - group.min()) * len(keys) + by_bucket[home.indices.to_numpy()]
    group = group * len(entities) + entities[entity.indices.to_numpy()]
    # The lake keeps rows nearly in order: long runs make this sort cheap, and most often it is all that is needed.
    moved = np.argsort(group, kind="stable")
    other_group, later = np.diff(group[moved]) != 0, np.diff(at[moved])
    if np.any(~other_group & (later < 0)):
        moved = np.lexsort((at, group))
        later = np.diff(at[moved])
    _break_ties(moved, other_group | (later != 0), columns)
    return None if np.array_equal(moved, np.arange(len(moved))) else pa.array(moved)


def _break_ties(moved: Codes, differs: Bits, columns: Mapping[str, pa.Array]) -> None:
    """Put the rows that are tied in order, in place, and touch no others.

    moved: rows in an order. differs: whether each but the first of them differs from the one before.
    """
    places, rows = np.arange(len(moved)), moved
    for name in _TIE_BREAKERS:
        begins = np.append(True, differs)
        tied = ~(begins & np.append(differs, True))
        if not tied.any():
            return
        places, rows, runs = places[tied], rows[tied], np.cumsum(begins)[tied]
        ranks = _ranks(columns[name].take(pa.array(rows)))
        other_run, higher = np.diff(runs) != 0, np.diff(ranks)
        if np.any(~other_run & (higher < 0)):
            order = np.lexsort((ranks, runs))
            rows = moved[places] = rows[order]
            higher = np.diff(ranks[order])
        differs = other_run | (higher != 0)


def _ranks(column: pa.Array) -> Codes:
    """Number the values in their order, equal values alike; null is the least."""
    if pa.types.is_timestamp(column.type):
        return _microseconds(column.fill_null(_BEFORE_ALL_TIMES))
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    ranks: Codes = pc.rank(plain, tiebreaker="dense").to_numpy().astype(np.int64)
    ranks[plain.is_null().to_numpy(zero_copy_only=False)] = 0
    return ranks


def _microseconds(times: pa.Array) -> Codes:
    microseconds: Codes = times.cast(pa.int64()).to_numpy()
    return microseconds
