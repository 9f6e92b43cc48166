"""Who may download rows, and the log of who did."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from flask import g, request

from blueprints.current_request import authenticate, house
from blueprints.observability import masked
from smarthouse_api.access.downloads import named
from smarthouse_api.access.keys import KeyRecord
from smarthouse_api.errors import Forbidden
from smarthouse_api.states.jobs.model import Request

log = logging.getLogger("smarthouse.export")


class Sent(Protocol):
    """Tells of rows that are sent to a client. is_whole: whether all bytes were."""

    @property
    def rows(self) -> int: ...

    @property
    def is_whole(self) -> bool: ...


def admit_reader() -> KeyRecord | None:
    """Find the key that opens the rows; None if a client needs none. Raises `Unauthorized`, `Forbidden`."""
    settings = house().settings
    is_raw = settings.exports.privacy == "raw"
    if settings.access.export_access == "open" and not is_raw:
        return None
    if settings.access.export_access == "tiers" and not is_raw and "Authorization" not in request.headers:
        raise Forbidden(
            "Rows need a key: send `Authorization: Bearer <key>`. Aggregates of several homes, open to all, do not exist yet"
        )
    key = authenticate()
    house().access.require_admin(key) if is_raw else house().access.require_export(key)
    return key


def note(key: KeyRecord, extract: Sent | None, asked: Request | None = None) -> Callable[[], None]:
    """Make the note of a download for the log: whose key, which filters, how many rows. Call it when the answer is sent.

    asked: what a kept file was made for; else the parameters of this request tell it.
    """
    given = named(request.args.items(multi=True) if asked is None else asked.parameters())
    is_part = asked is not None and "Range" in request.headers
    query = "&".join(f"{masked(name[:64])}={masked(value[:512])}" for name, value in given)
    path, request_id, downloads = masked(request.path), g.request_id, house().downloads

    def write() -> None:
        rows, is_whole = (0, True) if extract is None else (extract.rows, extract.is_whole)
        told = "a part" if is_part else "whole" if is_whole else "broken off"
        log.info("key %s: %s?%s: %d rows, %s %s", key.id, path, query, rows, told, request_id)
        downloads.note(key, path, query, rows, request_id, is_whole=is_whole, is_part=is_part)

    return write
