"""Rows of the table of states, made of records."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.states.records.entered import ENTERED, NEW
from smarthouse_api.states.records.placement import placed
from smarthouse_api.states.records.schema import STATES


def states_of(records: pa.Table, *, home: pa.Array, share: pa.Array, received: pa.Array) -> pa.Table:
    """Make rows of `STATES` of records: each with its time and its place in the table. They wait for the number of a commit.

    records: of schema `RECORDS`. home: internal keys. share: `bucket_of` each. received: times of arrival.
    """
    columns = {name: records[name] for name in records.schema.names}
    time = pc.coalesce(records["last_updated"].combine_chunks(), records["last_changed"].combine_chunks(), received)
    day, bucket = placed(time, received, share)
    columns |= {"day": day, "bucket": bucket, "home": home, "received": received, "time": time}
    columns["unit_nfkc"] = folded_units(columns["unit"].combine_chunks())
    columns.setdefault("utc_offset", pa.nulls(len(time), pa.int32()))
    columns[ENTERED] = pa.repeat(pa.scalar(NEW, pa.int64()), len(time))
    return pa.table([columns[name] for name in STATES.names], schema=STATES)


def folded_unit(unit: str) -> str:
    """Bring a unit to the form in which units are compared: NFKC makes one of µ and μ, ℃ and °C. Case stays: mW is not MW."""
    return unicodedata.normalize("NFKC", unit)


def folded_units(units: pa.Array) -> pa.Array:
    """Fold a column of units, each different one once."""
    codes = units.dictionary_encode()
    folded = [unit and folded_unit(unit) for unit in codes.dictionary.to_pylist()]
    return pa.array(folded, pa.string()).take(codes.indices)
