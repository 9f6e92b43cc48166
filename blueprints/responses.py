"""Responses that several APIs give: JSON, no content, files, and answers that are made while they are sent."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
from flask import Response

from smarthouse_api.errors import Refused, StoreError

log = logging.getLogger(__name__)


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON, written directly: to dump it by its schema would take as long as storing an upload does."""
    return Response(msgspec.json.encode(body), status, headers, content_type="application/json")


def empty_response(status: int = 204, headers: dict[str, str] | None = None) -> Response:
    """Answer without a body, and without a content type."""
    empty = Response(status=status, headers=headers)
    del empty.headers["Content-Type"]
    return empty


def file_response(
    chunks: Iterable[bytes], content_type: str, file_name: str | None, cache_control: str = "no-store"
) -> Response:
    """Answer with a file that is not cached. Without a name, it is no attachment."""
    response = Response(chunks, headers={"Cache-Control": cache_control}, content_type=content_type)
    if file_name is not None:
        response.headers.set("Content-Disposition", "attachment", filename=file_name)
    return response


def closed_when_sent(close: Callable[[], None], respond: Callable[[], Response]) -> Response:
    """Answer with what `respond` makes, and let go of what the answer holds, such as a lease.

    `close` is called once the answer is sent, or at once if it cannot be made.
    """
    with ExitStack() as until_sent:
        until_sent.callback(close)
        response = respond()
        response.call_on_close(until_sent.pop_all().close)
    return response


def until_broken(what: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Send the chunks of an answer, and break the connection at a fault: a client must not take a part for the whole.

    1. What fails before the first chunk is raised here, while it can still be answered.
    2. What fails later is logged in one line, as `what` that was broken off.
    3. The server then sees a connection that is over.
    """
    return _begun(what, next(chunks, b""), chunks)


def _begun(what: str, first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        if first:
            yield first
        yield from chunks
    except (Refused, StoreError) as fault:
        log.warning("%s was broken off: %s", what, str(fault) or type(fault).__name__)
        raise ConnectionResetError(errno.ECONNRESET, f"{what} was broken off") from fault
