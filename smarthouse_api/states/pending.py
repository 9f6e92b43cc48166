"""What waits for the lake: an entry of the queue for each payload."""

from __future__ import annotations

import msgspec

from backends.ports import Entry


class Pending(msgspec.Struct, frozen=True):
    """Queues one payload for the lake.

    home: the home's internal key. object: the name of the stored body. received_us: microseconds since 1970, UTC. records,
    statistics: how many the body holds; None if a version queued it that did not say so. request: the id of the request that
    brought it, for the log.
    """

    sequence: int
    home: str
    object: str
    received_us: int
    decoded_bytes: int
    encoding: str | None
    records: int | None = None
    statistics: int | None = None
    request: str | None = None


_pending = msgspec.json.Decoder(Pending).decode


def read_pending(entry: Entry) -> Pending:
    """Read the payload that an entry of the queue stands for."""
    return msgspec.structs.replace(_pending(entry.value), sequence=entry.sequence)
