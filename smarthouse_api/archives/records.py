"""The records that name a home, in its archive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

import msgspec

from smarthouse_api.arrow.times import time_text
from smarthouse_api.collections.home_records import HomeRecord

_LINES: Final = 1000


def lines_of(records: Iterable[HomeRecord]) -> Iterator[bytes]:
    """Write records as lines of JSON."""
    iterator = iter(records)
    while some := list(islice(iterator, _LINES)):
        yield b"".join(msgspec.json.encode(_told(one)) + b"\n" for one in some)


def _told(one: HomeRecord) -> dict[str, Any]:
    told = {"collection": one.collection, "received_at": time_text(one.received_at), "record": msgspec.Raw(one.record.encode())}
    more = {"fault": one.fault, "dead_letter": one.dead_letter}
    return told | {name: value for name, value in more.items() if value is not None}
