"""Inspection of an upload in its request: how many records its body holds, and in words what becomes of the rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from config.groups import RequestSettings
from smarthouse_api.states.payload.attributes import ABOVE, is_readable
from smarthouse_api.states.payload.compression import Undecodable, unpack
from smarthouse_api.states.payload.content import Content, Reason
from smarthouse_api.states.payload.reading import count_usual, read
from smarthouse_api.states.payload.times import timestamps

_NO_TIME: Final = (
    "state has no readable time and is filed by its arrival",
    "states have no readable time and are filed by their arrival",
)
_PERIODS: Final = ("period of long-term statistics is kept", "periods of long-term statistics are kept")
_NOTHING: Final = "The body holds no states."


@dataclass(frozen=True, slots=True)
class Inspection:
    """Tells an upload what its body holds, before the body is stored.

    records, ignored: how many values are records, and how many are not. without_time: how many records have no readable time.
    statistics: how many periods of long-term statistics. decoded_bytes: of the decompressed text. detail: what gave no record
    or has no time, in words. fault: what a strict service refuses the body for, as in `Undecodable`; None if nothing.
    """

    records: int
    ignored: int
    decoded_bytes: int = 0
    detail: str | None = None
    fault: str | None = None
    without_time: int = 0
    statistics: int = 0


def inspect(body: bytes, content_encoding: str | None, settings: RequestSettings) -> Inspection:
    """Count the records of a body, as `to_table` would make them. Raises `TooLarge`."""
    try:
        text = unpack(body, content_encoding, settings)
        content = Content(settings)
        if (counts := count_usual(text, settings)) is None:
            content = read(text, settings)
            counts = Counter(bytes(state.attributes) for state in content.states)
    except Undecodable as error:
        return Inspection(0, 0, 0, str(error), error.fault)
    unreadable = {raw for raw in counts if not is_readable(raw, settings.max_json_depth - ABOVE)}
    lost = sum(counts[raw] for raw in unreadable)
    ignored = content.ignored + Counter({Reason.ATTRIBUTES: lost})
    return _inspection(counts.total() - lost, ignored, _without_time(content, unreadable), len(content.statistics), len(text))


def _without_time(content: Content, unreadable: set[bytes]) -> int:
    """Count the records whose times cannot be read."""
    states = content.states
    if not states:
        return 0
    if unreadable:
        states = [state for state in states if bytes(state.attributes) not in unreadable]
    updated = timestamps(pa.array([state.last_updated for state in states], pa.string()))
    if not updated.null_count:
        return 0
    changed = timestamps(pa.array([state.last_changed for state in states], pa.string()))
    return int(np.count_nonzero(updated.is_null().to_numpy(False) & changed.is_null().to_numpy(False)))


def _inspection(records: int, reasons: Counter[Reason], without_time: int, statistics: int, decoded_bytes: int) -> Inspection:
    said = [reason.words(count) for reason, count in reasons.items()]
    if without_time:
        said.insert(0, f"{without_time} {_NO_TIME[without_time != 1]}")
    if statistics:
        said.append(f"{statistics} {_PERIODS[statistics != 1]}; exports with source=statistics give them")
    is_faulty = bool(reasons or without_time or not records + statistics)
    if not records + statistics:
        said.insert(0, _NOTHING.rstrip("."))
    return Inspection(
        records,
        reasons.total(),
        decoded_bytes,
        f"{'; '.join(said)}." if said else None,
        "structure" if is_faulty else None,
        without_time,
        statistics,
    )
