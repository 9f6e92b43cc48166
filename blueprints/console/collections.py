"""The operator's pages of collections: which there are, what one holds, its newest records, its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from flask import Blueprint, Response, url_for
from flask_babel import gettext

from blueprints.console.operator_sessions import (
    operator_form,
    operator_page,
    read_query,
    require_same,
    require_typed,
    required,
)
from blueprints.console.policy import is_fragment
from blueprints.console.sessions import LOOKS, led_to
from blueprints.current_request import house
from blueprints.parameters import is_whole
from smarthouse_api.arrow.times import seconds_text, time_text
from smarthouse_api.collections.figures import MOST_COUNTED
from smarthouse_api.collections.member_names import member_of
from smarthouse_api.collections.model import MESSAGE_ID, Collection, Position, is_name, position_in
from smarthouse_api.collections.newest import NewestRecord
from smarthouse_api.errors import Invalid, NotFound
from smarthouse_api.measures import duration_text, size_text

_RECORDS: Final = 20
_FOLLOWED: Final = 100
"""Records that a page which follows takes at once."""

_MOST_FOLLOWED: Final = 500
"""Records that a page which follows shows before it stops."""

_MOST_SHOWN: Final = 2000
"""Characters of a record."""


def add_collections(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of the operator."""

    @blueprint.get("/operator/collections")
    def operator_collections() -> Response:
        """List the data sources and datasets, a page at a time."""
        after, session = read_query("after").get("after", ""), required()
        if after and not is_name(after):
            raise Invalid("after: must be the id of a collection")
        some, more = house().collections.catalogue.page(after)
        found = [*zip(some, house().collections.figures.of(some), strict=True)]
        told = {"collections": found, "more": more, "after": after, "most": MOST_COUNTED}
        return operator_page("console/operator_collections.html", session, **told)

    @blueprint.get("/operator/collections/<collection_id>")
    def collection(collection_id: str) -> Response:
        """Show what a collection is, and how much it holds."""
        session, one = required(), house().collections.catalogue.find(collection_id)
        told = {"figures": house().collections.figures.of([one])[0], "most": MOST_COUNTED, "facts": _facts(one)}
        told["made"] = time_text(one.created_at)
        return operator_page("console/operator_collection.html", session, collection=one, **told)

    @blueprint.post("/operator/collections/<collection_id>/delete")
    def delete_collection(collection_id: str) -> Response:
        """Delete the collection whose id was typed."""
        session, form = operator_form()
        one = house().collections.catalogue.find(collection_id)
        require_typed(form, one.id)
        require_same(form, one.created_at)
        house().collections.catalogue.delete(one.id)
        return led_to(".operator_collections", session)

    @blueprint.get("/operator/collections/<collection_id>/records")
    def records(collection_id: str) -> Response:
        """Show the newest records, or those that came after an entry. follow: look again, every two seconds."""
        asked, session = read_query("after", "before", "follow", "shown", "made"), required()
        if not all(is_whole(asked.get(name, "0")) for name in ("after", "shown")):
            raise Invalid("after, shown: must be whole numbers")
        before = position_in(asked["before"]) if "before" in asked else None
        if (before is None) != ("before" not in asked):
            raise Invalid("before: must be the position of a record, such as 31-0")
        if (one := _still(collection_id, asked.get("made"))) is None:
            way = {"way": url_for(".operator_collections"), "way_title": gettext("All collections")}
            return operator_page("console/_follow_gone.html", session, gone=gettext("The collection was deleted."), **way)
        after, most = int(asked.get("after", 0)), _FOLLOWED if asked.get("follow") == "true" else _RECORDS
        found = house().collections.newest.of(one, most, after, before)
        shown = int(asked.get("shown", 0)) + len(found.records)
        is_full = shown >= _MOST_FOLLOWED
        oldest = found.records[-1].position if after and len(found.records) == most else None
        told = {
            "records": [*told_records(one, found.records)],
            "after": after,
            "last": max(found.last, after),
            "shown": shown,
            "is_full": is_full,
            "follows": asked.get("follow") == "true" and not is_full,
            "before": oldest if oldest is not None and oldest > Position(after + 1, 0) else None,
            "made": time_text(one.created_at),
            "looks": LOOKS,
        }
        template = "console/_newest.html" if is_fragment() else "console/operator_records.html"
        return operator_page(template, session, collection=one, **told)


def _still(collection_id: str, made: str | None) -> Collection | None:
    """Find a collection; None if a page that follows it knows another, which is deleted. Raises `NotFound` for other pages."""
    try:
        one = house().collections.catalogue.find(collection_id)
    except NotFound:
        if made is None or not is_fragment():
            raise
        return None
    return None if made not in (None, time_text(one.created_at)) and is_fragment() else one


def told_records(one: Collection, records: Iterable[NewestRecord]) -> Iterator[dict[str, Any]]:
    """Tell records as a page shows them."""
    for record in records:
        text = msgspec.json.format(record.record, indent=2).decode()
        yield {
            "position": str(record.position),
            "at": seconds_text(record.received_at),
            "text": text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…",
            "fault": record.fault,
            "has_home": record.has_home,
            "msgid": record.msgid,
            "key": _key(one, record),
        }


def _key(one: Collection, record: NewestRecord) -> str | None:
    """Its value of the deduplication key, if that is a member."""
    if one.dedup_key in (None, MESSAGE_ID):
        return None
    value = member_of(record.value(), one.dedup_key or "")
    return None if value is None else msgspec.json.encode(value).decode()[:_MOST_SHOWN]


def _facts(one: Collection) -> dict[str, str]:
    """Write parts of the definition with their units, and who else knows it."""
    kept = one.retention
    limits = [] if kept.seconds is None else [duration_text(kept.seconds)]
    limits += [] if kept.bytes is None else [size_text(kept.bytes)]
    return {
        "made": seconds_text(one.created_at),
        "changed": seconds_text(one.updated_at),
        "dedup": duration_text(one.dedup_seconds),
        "batches": duration_text(one.extraction.dedup_seconds) if one.extraction else "",
        "keep": ", ".join(limits),
        "stream": house().collections.topic.stream_name(one) or "",
        "keys": ", ".join(
            f"{key.id} ({key.name})" for key in house().access.list() if one.id in (*key.datasources, *key.datasets)
        ),
    }
