"""What commands print: tables, and a collection in lines, as a row of a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click
import msgspec
from humanize import naturalsize

from smarthouse_api.arrow.times import seconds_text
from smarthouse_api.measures import duration_text, size_text
from smarthouse_api.status.words import quota_text as quota_text

if TYPE_CHECKING:
    from smarthouse_api.access.keys import KeyRecord
    from smarthouse_api.collections.model import Collection, Extraction, Retention

HEADER: Final = ("id", "alias", "name", "entry topic", "mode", "datasets write", "read", "made", "stored")
MOST_DEAD_LETTERS: Final = 1000
"""Dead letters are counted up to this number."""
_NOTHING: Final = "-"
_MODES: Final = {
    "off": "off: the schema is not checked",
    "warn": "warn: records that fail the schema are stored and marked",
    "strict": "strict: records that fail the schema are dead letters; the data sources' API refuses them",
}


def echo_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header for people to read. Each column is as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def as_cells(one: Collection, stored: int) -> tuple[str, ...]:
    """Write a collection as a row under `HEADER`. stored: the bytes that its quota counts."""
    names = one.id, one.alias or _NOTHING, one.name, one.entry_topic or _NOTHING
    return *names, one.mode, _writers(one), _readers(one), seconds_text(one.created_at), naturalsize(stored)


def as_json(one: Collection, stream: str | None, keys: Sequence[KeyRecord], stored: int, most: int) -> bytes:
    """Write a collection as JSON: its definition and times, the Redis stream for consumers, the ids of its keys, its quota.

    stored, most: the bytes that the quota counts, and allows; 0: any number.
    """
    shown = {name: getattr(one, name) for name in one.__struct_fields__ if name not in ("key", "born", "rights")}
    quota = {"stored_bytes": stored, "quota_bytes": most or None}
    return msgspec.json.encode({**shown, "stream": stream, "keys": [key.id for key in keys], **quota})


def as_lines(
    one: Collection, stream: str | None, keys: Sequence[KeyRecord], dead_letters: int, stored: int, most: int
) -> dict[str, str]:
    """Write the facts of a collection, by heading. `MOST_DEAD_LETTERS` means that number or more.

    stored, most: as for `as_json`.
    """
    return {
        "id": one.id,
        "name": one.name,
        "alias": one.alias or _NOTHING,
        "made": seconds_text(one.created_at),
        "changed": seconds_text(one.updated_at),
        "schema": _NOTHING if one.schema is None else json.dumps(one.schema, ensure_ascii=False),
        "mode": _MODES[one.mode],
        "dead letters": f"{dead_letters}{' or more' if dead_letters == MOST_DEAD_LETTERS else ''}",
        "stored": quota_text(stored, most or None),
        "own time": _NOTHING if one.timestamp_field is None else f"the member {one.timestamp_field}",
        "deduplication": f"by {one.dedup_key}, for {duration_text(one.dedup_seconds)}" if one.dedup_key else _NOTHING,
        "batch events": _batches(one.extraction),
        "entry topic": _topic(one, stream),
        "data sources": "written with a key that names it",
        "datasets": f"written {_writers(one)}" if one.entry_topic else "not written: there is no entry topic",
        "read": _readers(one),
        "keys": ", ".join(f"{key.id} ({key.name})" for key in keys) or "no key names it; administrators' keys open everything",
    }


def _batches(extraction: Extraction | None) -> str:
    if extraction is None:
        return "not taken apart"
    once = f", once by {extraction.dedup_key} for {duration_text(extraction.dedup_seconds)}" if extraction.dedup_key else ""
    return f"one record for each event in {extraction.key}{once}"


def _topic(one: Collection, stream: str | None) -> str:
    if one.entry_topic is None:
        return _NOTHING
    where = f"the Redis stream {stream}" if stream else f"GET /v2/data/out/{one.id}"
    return f"{one.entry_topic}, consumed from {where}; kept: {_kept(one.retention)}"


def _kept(retention: Retention) -> str:
    told = [] if retention.seconds is None else [duration_text(retention.seconds)]
    told += [] if retention.bytes is None else [size_text(retention.bytes)]
    return " or ".join(told) or "as the installation's settings say"


def _writers(one: Collection) -> str:
    return "with a key" if one.requires_token else "without a key"


def _readers(one: Collection) -> str:
    return "without a key" if one.public else "with a key"
