"""The uploads of one home, listed for an operator: when each came, how large it was, and what became of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import nlargest
from itertools import islice
from typing import Final

import msgspec

from backends.ports import Change, Document, Put, StateStore, StoreError
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.coordination.sound_scans import scan_past_damage
from smarthouse_api.states.homes import SPACE, Home
from smarthouse_api.states.raw import read_raw_name
from smarthouse_api.states.receipts import changed_receipt, receipt_name

MOST_READ: Final = 20_000
"""Receipts of a home that are read: they are not in the order of time."""

_REPEATED_US: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class ListedUpload:
    """Describes one upload. detail: why values were ignored, in counts and words of the service.

    received_us, repeated_us: when it came, and when the same bytes came last again, in microseconds since 1970; None: unknown.
    is_lacking: its bytes are damaged or missing, or the lake does not hold all of its rows.
    """

    received_us: int | None
    bytes: int | None
    records: int
    statistics: int
    ignored: int
    detail: str | None
    repeated_us: int | None
    is_expired: bool
    is_waiting: bool
    is_lacking: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """Holds some uploads of a home, the newest first. count: of all that were looked at. is_cut: there are more."""

    uploads: list[ListedUpload]
    count: int
    is_cut: bool


class _Receipt(msgspec.Struct, frozen=True):
    id: str
    records: int
    ignored: int = 0
    detail: str | None = None
    statistics: int | None = None
    object: str | None = None
    bytes: int | None = None
    expired: bool = False
    received: int | None = None
    repeated: int | None = None

    @property
    def received_us(self) -> int | None:
        if self.received is not None or self.object is None:
            return self.received
        raw = read_raw_name(self.object)
        return None if raw is None else raw.received_us


_decode = msgspec.json.Decoder(_Receipt).decode


def list_uploads(state: StateStore, home_key: str, skip: int, limit: int, waiting: set[str], lacking: set[str]) -> Listed:
    """List uploads of a home; a damaged receipt is left out. waiting, lacking: ids of uploads that are not all in the lake."""
    found = list(islice(scan_past_damage(state, SPACE, receipt_name(home_key, "")), MOST_READ + 1))
    read = [_decode(document.value) for _, document in found[:MOST_READ] if document is not None]
    timed = ((one.received_us, one) for one in read)
    newest = nlargest(skip + limit, timed, key=lambda pair: (pair[0] or 0, pair[1].id))[skip:]
    told = [
        ListedUpload(
            received_us,
            one.bytes,
            one.records,
            one.statistics or 0,
            one.ignored,
            one.detail,
            one.repeated,
            one.expired,
            one.id in waiting,
            one.id in lacking,
        )
        for received_us, one in newest
    ]
    return Listed(told, len(read), len(found) > MOST_READ)


def note_repeat(state: StateStore, home: Home, name: str, document: Document) -> None:
    """Note with a receipt that the same bytes came again: once a minute at most, and only if the store takes it.

    name, document: the receipt's. A home that sends the same each night would else look silent.
    """
    now_us = microseconds(datetime.now(UTC))
    if now_us - (_decode(document.value).repeated or 0) < _REPEATED_US:
        return
    put = Put(name, changed_receipt(document.value, repeated=now_us))
    with suppress(StoreError):
        state.commit(SPACE, Change(expect={home.name: home.version, name: document.version}, puts=(put,)))
