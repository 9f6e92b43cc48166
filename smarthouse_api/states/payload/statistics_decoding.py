"""Decoding of long-term statistics: the periods of many uploads become columns of their own table."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from config.groups import RequestSettings
from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.errors import TooLarge
from smarthouse_api.states.payload.compression import Undecodable, unpack
from smarthouse_api.states.payload.content import Statistic
from smarthouse_api.states.payload.decoding import Body, Decoded
from smarthouse_api.states.payload.mending import mend_unit, without_nul
from smarthouse_api.states.payload.reading import read
from smarthouse_api.states.payload.times import timestamps
from smarthouse_api.states.records.schema import STATISTICS

_VALUES: Final = ("mean", "min", "max", "state", "sum", "change")


def to_statistics(uploads: Sequence[Body], settings: RequestSettings) -> Decoded:
    """Decode the statistics of many bodies at once, as many of each as `inspect` counts. Never raises for what a body holds.

    The table of the result has the schema `STATISTICS`.
    """
    statistics, places, faults = list[Statistic](), list[npt.NDArray[np.int32]](), dict[int, str]()
    for place, (body, content_encoding) in enumerate(uploads):
        try:
            found = read(unpack(body, content_encoding, settings), settings).statistics
        except (TooLarge, Undecodable) as error:
            faults[place] = str(error)
            continue
        statistics += found
        places.append(np.full(len(found), place, np.int32))
    payload = np.concatenate(places) if places else np.empty(0, np.int32)
    return Decoded(_table(statistics), pa.array(payload, pa.int32()), faults)


def _table(statistics: Sequence[Statistic]) -> pa.Table:
    def texts(name: str) -> pa.StringArray:
        return pa.array(map(attrgetter(name), statistics), pa.string())

    start, end = timestamps(texts("start")), timestamps(texts("end"))
    told = pa.array(map(attrgetter("period_seconds"), statistics), pa.int64())
    ticks = pc.add(start.cast(pa.int64()), pc.multiply(told, 1_000_000))
    columns = {
        "statistic_id": without_nul(texts("statistic_id")),
        "start": start,
        "end": pc.coalesce(end, ticks.cast(TIMESTAMP)),
        "period_seconds": pc.coalesce(told, pc.divide(pc.subtract(end.cast(pa.int64()), start.cast(pa.int64())), 1_000_000)),
        **{name: pa.array(map(attrgetter(name), statistics), pa.float64()) for name in _VALUES},
        "unit": without_nul(pa.array([one.unit and mend_unit(one.unit) for one in statistics], pa.string())),
        "last_reset": timestamps(texts("last_reset")),
    }
    return pa.table([columns[name] for name in STATISTICS.names], schema=STATISTICS)
