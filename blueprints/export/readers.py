"""Who may download rows, and the log of who did."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

from flask import g, request

from blueprints.current_request import authenticate, house
from blueprints.observability import masked
from smarthouse_api.access.downloads import named
from smarthouse_api.access.keys import KeyRecord
from smarthouse_api.errors import Forbidden
from smarthouse_api.states.jobs.model import Request

_READS_WITH: Final = "reads_with"

log = logging.getLogger("smarthouse.export")


class Sent(Protocol):
    """Tells of rows that are sent to a client. is_whole: whether all bytes were."""

    @property
    def rows(self) -> int: ...

    @property
    def is_whole(self) -> bool: ...


def needs_key() -> bool:
    """Tell whether rows are opened by a key."""
    return house().settings.access.export_access != "open" or _is_raw()


def admit_reader() -> KeyRecord | None:
    """Find the key that opens the rows; None if a client needs none. Raises `Unauthorized`, `Forbidden`."""
    if not needs_key():
        return None
    key: KeyRecord | None = g.get(_READS_WITH)
    if key is None and house().settings.access.export_access == "tiers" and not _is_raw() and _shows_no_key():
        raise Forbidden(
            "Rows need a key: send `Authorization: Bearer <key>`. Figures of many homes together are open to all: see"
            " /api/export/releases"
        )
    key = key or authenticate()
    require_reader(key)
    return key


def admit_to_releases() -> None:
    """Admit who may read figures of many homes together. Raises `Unauthorized`, `Forbidden`."""
    if releases_need_key():
        admit_reader()


def releases_need_key() -> bool:
    """Tell whether figures of many homes together are opened by a key."""
    return house().settings.access.export_access == "key" or _is_raw()


def require_reader(key: KeyRecord) -> None:
    """Refuse a key that does not open the rows. Raises `Forbidden`."""
    house().access.require_admin(key) if _is_raw() else house().access.require_export(key)


def read_with(key: KeyRecord) -> None:
    """Have the rows of the current request opened by a key that was shown before, at the beginning of a session."""
    setattr(g, _READS_WITH, key)


def _is_raw() -> bool:
    return house().settings.exports.privacy == "raw"


def _shows_no_key() -> bool:
    return "Authorization" not in request.headers


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
