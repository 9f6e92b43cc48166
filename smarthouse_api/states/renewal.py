"""Rows that an earlier version wrote, made what this version makes of the same upload."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.numbers import read_numbers
from smarthouse_api.states.payload.attributes import cut, read_distinct
from smarthouse_api.states.payload.decoding import attribute_columns
from smarthouse_api.states.payload.mending import mend_states, without_nul
from smarthouse_api.states.records.entered import ENTERED
from smarthouse_api.states.records.entities import identify
from smarthouse_api.states.records.placement import OWN_DAY, bucket_of
from smarthouse_api.states.records.rows import states_of
from smarthouse_api.states.records.schema import RECORDS, STATES

_DEEPEST = 64


def renewed(rows: pa.Table) -> pa.Table:
    """Renew the rows that an earlier version wrote, and leave the others as they are: the rows come in another order.

    rows: with the columns of `STATES`; the day may be missing. Renewed are ids and types, mangled units and numbers, NULs, the
    row's own time and its place.
    """
    rows = rows.cast(pa.schema([STATES.field(name) for name in rows.column_names]))  # Arrow filters no views
    is_old = pc.less(rows["bucket"], OWN_DAY)
    if not pc.any(is_old).as_py():
        return rows
    old = rows.filter(is_old)
    home, codes = _distinct(old["home"])
    share = pa.array([bucket_of(key) for key in home.to_pylist()], pa.int32()).take(codes)
    new = states_of(_records(old), home=home.take(codes), share=share, received=old["received"].combine_chunks())
    if ENTERED in rows.column_names:
        new = new.set_column(new.column_names.index(ENTERED), STATES.field(ENTERED), old[ENTERED])
    return pa.concat_tables([rows.filter(pc.invert(is_old)), new.select(rows.column_names)])


def _records(old: pa.Table) -> pa.Table:
    ids, id_codes = _distinct(old["entity_id"])
    identities = [identify(kept) for kept in without_nul(ids).to_pylist()]
    states, state_codes = _distinct(old["state"])
    states = mend_states(states)
    texts, attribute_codes = _distinct(old["attributes"])
    lines = cut("".join(f"{text}\n" for text in texts.to_pylist()).encode()).dictionary_encode()
    _, attributes = read_distinct(lines, _DEEPEST)
    columns = {
        **{name: old[name] for name in ("last_changed", "last_updated", "utc_offset")},
        "entity_id": pa.array([name for _, name in identities], pa.string()).take(id_codes),
        "type": pa.array([kind for kind, _ in identities], pa.string()).take(id_codes),
        "state": states.take(state_codes),
        "value": read_numbers(states).take(state_codes),
        "attributes_uploaded": pa.nulls(len(old), pa.string()),
        **{name: column.take(lines.indices).take(attribute_codes) for name, column in attribute_columns(attributes).items()},
    }
    return pa.table([columns[name] for name in RECORDS.names], schema=RECORDS)


def _distinct(column: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    codes = column.combine_chunks().dictionary_encode()
    return codes.dictionary, codes.indices
