"""Answers that are made while they are sent."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator

from smarthouse_api.errors import Refused, StoreError

log = logging.getLogger(__name__)


def until_broken(what: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks. What fails before the first is raised here, while it can be answered; what breaks them off later is told in a
    line, and to the server as a connection that is over.
    """
    return _begun(what, next(chunks, b""), chunks)


def _begun(what: str, first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        if first:
            yield first
        yield from chunks
    except (Refused, StoreError) as fault:
        log.warning("%s was broken off: %s", what, type(fault).__name__)
        raise ConnectionResetError(errno.ECONNRESET, f"{what} was broken off") from fault
