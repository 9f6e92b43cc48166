"""Rows of states in order, each state change once.

The order is by day, home, entity and time. Rows that agree in all of `KEY` are repeats of one state change: of these, the one
that arrived first stays, with the first offset that one of them tells. A state change without a time is one of its day of
arrival. Rows of one time are ordered by what else tells them apart, so that rows of one snapshot come in one order, whichever
engine found them.

Sorted here and not by the engine: the texts are dictionary-encoded anyway, for the writing that follows, and integers sort and
move at a quarter of the cost of texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.states.records.entered import ENTERED, of_repeats
from smarthouse_api.states.records.schema import KEY

_BEFORE_ALL_TIMES: Final = -1 << 62  # and so little that the distance to any of them is a number too
_AMONG_REPEATS: Final = ("received", "utc_offset", "unit", "device_class", "value", "type", "attributes_uploaded")
"""What orders repeats: their arrival, and for those that one commit brought whatever else may tell them apart."""

_FEW: Final = 1 << 16
_MOST_COUNTED: Final = 1 << 18

Codes = npt.NDArray[np.int64]
Bits = npt.NDArray[np.bool_]


def encoded(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch | None:
    """Put batches together as one, with each different text only once; None if they hold no row.

    batches: all of them plain, or all of them encoded.
    """
    found = [batch for batch in batches if batch.num_rows]
    if not found:
        return None
    table = pa.Table.from_batches(found).unify_dictionaries()
    return pa.RecordBatch.from_arrays([_encoded(column) for column in table.columns], names=table.column_names)


def encoded_at_most(batches: Iterable[pa.RecordBatch], most_bytes: int) -> tuple[pa.RecordBatch | None, bool]:
    """Put batches together as `encoded` does, and encode each as it comes. Tell whether they are so many bytes at most."""
    found, size = list[pa.RecordBatch](), 0
    for batch in batches:
        if (one := encoded([batch])) is not None:
            found.append(one)
            size += one.nbytes
        if size > most_bytes:
            return None, False
    return encoded(found), True


def in_order(rows: pa.RecordBatch, home: str = "home", entity: str = "entity_id") -> pa.RecordBatch:
    """Sort rows, and leave out the repeats of a state change.

    rows: as `encoded` makes them, with the columns of `KEY`, `time`, `received` and `utc_offset`. home, entity: the
    dictionary-encoded columns by which homes and entities are ordered.
    """
    rows = _timeless_once(rows)
    columns = dict(zip(rows.schema.names, rows.columns, strict=True))
    at = _microseconds(columns["time"])
    group = _grouped(at // DAY_US, columns[home], columns[entity])
    # In the lake the rows of an entity lie in order of time: most often this sort is all that is needed.
    moved = np.argsort(group, kind="stable")
    other_group, later = np.diff(group[moved]) != 0, np.diff(at[moved])
    if np.any(~other_group & (later < 0)):
        moved = np.lexsort((at, group))
        later = np.diff(at[moved])
    repeats, begins = _tied(np.arange(len(moved)), np.append(True, other_group | (later != 0)))
    if len(repeats):
        repeats, begins = _put_ties_in_order(moved, repeats, begins, columns)
        rows = _with_entered(_with_offsets(rows, moved[repeats], begins), moved[repeats], begins)
        moved = np.delete(moved, repeats[~begins])
    return rows if np.array_equal(moved, np.arange(len(at))) else rows.take(pa.array(moved))


def _encoded(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece: its texts only as often as they differ."""
    if not pa.types.is_string(column.type) and not pa.types.is_string_view(column.type):
        return column.combine_chunks()
    codes = column.dictionary_encode().combine_chunks()
    return pa.DictionaryArray.from_arrays(codes.indices, codes.dictionary.cast(pa.string()))


def _grouped(day: Codes, home: pa.DictionaryArray, entity: pa.DictionaryArray) -> npt.NDArray[np.integer[Any]]:
    """Number the groups of rows of one day, home and entity, in their order."""
    width = len(entity.dictionary)
    pairs, pair = distinct(_codes(home) * width + _codes(entity))
    homes, entities = pairs // width, pairs % width
    ranks = np.empty(len(pairs), np.int64)
    ranks[np.lexsort((_ranks(entity.dictionary)[entities], _ranks(home.dictionary)[homes]))] = np.arange(len(pairs))
    group: Codes = (day - day.min()) * len(pairs) + ranks[pair]
    return group.astype(np.uint16) if group.max() < _FEW else group  # numpy sorts short numbers many times as fast


def distinct(codes: Codes) -> tuple[Codes, Codes]:
    """Return the different numbers, none of them negative, and each row's place among them."""
    most = int(codes.max(initial=0))
    if most < _MOST_COUNTED:  # a table of all numbers is ten times as fast as one of hashes
        is_there = np.zeros(most + 1, np.bool_)
        is_there[codes] = True
        return np.flatnonzero(is_there), (np.cumsum(is_there) - 1)[codes]
    found = pa.array(codes).dictionary_encode()
    return found.dictionary.to_numpy(), found.indices.to_numpy().astype(np.int64)


def _timeless_once(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Leave out the repeats of state changes that have no time: on each day of arrival the first of them stays."""
    has_none = pc.and_(rows.column("last_changed").is_null(), rows.column("last_updated").is_null())
    places = np.flatnonzero(has_none.to_numpy(zero_copy_only=False))
    if len(places) < 2:
        return rows
    change = _microseconds(rows.column("received"))[places] // DAY_US
    for name in KEY:
        column = rows.column(name)
        if pa.types.is_dictionary(column.type):
            codes = _codes(column)[places]
            _, change = np.unique(change, return_inverse=True)
            change = change * (int(codes.max()) + 1) + codes
    order = np.argsort(change, kind="stable")
    moved, begins = places[order], np.append(True, np.diff(change[order]) != 0)
    _break_ties(
        moved, np.arange(len(moved)), begins, [rows.column(name) for name in _AMONG_REPEATS if name in rows.schema.names]
    )
    rows = _with_entered(rows, moved, begins)
    return rows.take(pa.array(np.sort(np.delete(np.arange(rows.num_rows), moved[~begins]))))


def _put_ties_in_order(moved: Codes, places: Codes, begins: Bits, columns: Mapping[str, pa.Array]) -> tuple[Codes, Bits]:
    """Order rows of one home, entity and time, in place, and return the places of those that are repeats.

    moved: rows in an order. places: the places in it of tied rows. begins: whether each of these is the first of its ties.
    """
    # Mostly all ties are repeats of one state change, which a look at neighbours tells.
    is_uniform = _same_as_before(moved[places], begins, columns)
    places, begins, mixed, mixed_begins = places[is_uniform], begins[is_uniform], places[~is_uniform], begins[~is_uniform]
    if len(mixed):
        mixed, mixed_begins = _break_ties(moved, mixed, mixed_begins, [columns[name] for name in KEY])
        order = np.argsort(np.append(places, mixed), kind="stable")
        places, begins = np.append(places, mixed)[order], np.append(begins, mixed_begins)[order]
    _break_ties(moved, places, begins, [columns[name] for name in _AMONG_REPEATS if name in columns])
    return places, begins


def _with_offsets(rows: pa.RecordBatch, repeats: Codes, begins: Bits) -> pa.RecordBatch:
    """Tell the first of some repeats the offset of the first repeat that has one: the same state may come without it, too.

    repeats: rows, those of one state change side by side. begins: whether each is the first of its state change.
    """
    offsets = rows.column("utc_offset")
    has_one = offsets.is_valid().to_numpy(zero_copy_only=False)
    if has_one[repeats].all() or not has_one[repeats].any():
        return rows
    first = np.flatnonzero(begins)
    nearest = np.minimum.reduceat(np.where(has_one[repeats], np.arange(len(repeats)), len(repeats)), first)
    first, nearest = first[nearest < len(repeats)], nearest[nearest < len(repeats)]
    told = offsets.fill_null(0).to_numpy().copy()
    told[repeats[first]], has_one = told[repeats[nearest]], has_one.copy()
    has_one[repeats[first]] = True
    return rows.set_column(rows.schema.names.index("utc_offset"), "utc_offset", pa.array(told, pa.int32(), mask=~has_one))


def _with_entered(rows: pa.RecordBatch, repeats: Codes, begins: Bits) -> pa.RecordBatch:
    """Tell the first of some repeats when their state change entered the lake, where rows tell that."""
    if ENTERED not in rows.schema.names:
        return rows
    told = of_repeats(rows.column(ENTERED), repeats, begins)
    return rows.set_column(rows.schema.names.index(ENTERED), ENTERED, told)


def _same_as_before(rows: Codes, begins: Bits, columns: Mapping[str, pa.Array]) -> Bits:
    """Tell the rows whose run of ties has nothing but repeats of one state change."""
    is_same = begins.copy()
    same = np.ones(len(rows) - 1, np.bool_)
    for name in KEY:
        codes = _codes(columns[name])[rows]
        same &= codes[1:] == codes[:-1]
    is_same[1:] |= same
    first = np.flatnonzero(begins)
    of_run: Bits = np.logical_and.reduceat(is_same, first)
    of_row: Bits = of_run[np.cumsum(begins) - 1]
    return of_row


def _break_ties(moved: Codes, places: Codes, begins: Bits, columns: Iterable[pa.Array]) -> tuple[Codes, Bits]:
    """Order tied rows by some columns, in place; what is still tied after that, as `places` and `begins`."""
    for column in columns:
        places, begins = _tied(places, begins)
        if not len(places):
            break
        ranks = _ranks(column.take(pa.array(moved[places])))
        order = np.lexsort((ranks, np.cumsum(begins)))
        moved[places] = moved[places][order]
        begins = begins | np.append(True, np.diff(ranks[order]) != 0)
    return _tied(places, begins)


def _tied(places: Codes, begins: Bits) -> tuple[Codes, Bits]:
    """Leave out the rows that are tied with no other."""
    tied = ~(begins & np.append(begins[1:], True))
    return places[tied], begins[tied]


def _ranks(column: pa.Array) -> Codes:
    """Return numbers in the order of the values, the same for the same value; null is the least."""
    if pa.types.is_timestamp(column.type):
        return _codes(column)
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    ranks: Codes = pc.rank(plain, tiebreaker="dense").to_numpy().astype(np.int64)
    ranks[plain.is_null().to_numpy(zero_copy_only=False)] = 0
    return ranks


def _codes(column: pa.Array) -> Codes:
    """Return numbers that are the same for the same value: places in a dictionary, times, whole numbers."""
    if pa.types.is_dictionary(column.type):
        column = column.indices
    codes: Codes = column.cast(pa.int64()).fill_null(_BEFORE_ALL_TIMES).to_numpy()
    return codes


def _microseconds(times: pa.Array) -> Codes:
    microseconds: Codes = times.cast(pa.int64()).to_numpy()
    return microseconds
