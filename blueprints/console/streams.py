"""The operator's pages of streams: all of them, one with its sessions and holds, and its packets as they come."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from flask import Blueprint, Response, request, url_for
from flask_babel import gettext

from blueprints import path_segments
from blueprints.console.operator_sessions import (
    operator_form,
    operator_page,
    owner_of,
    read_query,
    require_same,
    require_typed,
    required,
)
from blueprints.console.policy import is_fragment
from blueprints.console.sessions import LOOKS, led_to
from blueprints.current_request import house
from blueprints.parameters import LARGEST, is_whole
from blueprints.responses import closed_when_sent
from blueprints.streams.data import download_response
from smarthouse_api.access.sessions import Session
from smarthouse_api.arrow.times import seconds_text, time_of, time_text
from smarthouse_api.errors import Invalid, NotFound
from smarthouse_api.streams.glimpses import Seen
from smarthouse_api.streams.model import LARGEST_INDEX, Stream
from smarthouse_api.streams.overview import MOST_HOLDS, StreamView, Wanted
from smarthouse_api.streams.sessions import Hold

_PAGE: Final = 50
_LISTED: Final = 20
_PACKETS: Final = 25
_HERE: Final = "OperatorStreams.streams"
_STREAM: Final = "/<segment:home_id>/<segment:module_id>/<segment:name>"
_KNOWN: Final = {
    "OperatorStreams.streams": ("home", "module", "name", "page"),
    "OperatorStreams.stream": ("sessions", "metadata"),
    "OperatorStreams.packets": ("start", "live", "made"),
}

blueprint = Blueprint("OperatorStreams", __name__, url_prefix="/console/operator/streams", template_folder="templates")


@blueprint.before_request
def refuse_parameters() -> None:
    """Refuse parameters that the page does not know, and repeated ones. Raises `Invalid`."""
    _asked()


@blueprint.get("")
def streams() -> Response:
    """List the streams, the one with the newest packet first."""
    session, asked = required(), _asked()
    home, number = _whole("home", LARGEST), _whole("page", LARGEST, least=1) or 1
    wanted = Wanted(home, asked.get("module", "").strip(), asked.get("name", "").strip())
    views, count = house().streams.overview.page(wanted, (number - 1) * _PAGE, _PAGE)
    chosen = {name: value for name in ("home", "module", "name") if (value := asked.get(name, "").strip())}
    told = {"views": list(map(_told, views)), "count": count, "wanted": wanted, "chosen": chosen, "most_holds": MOST_HOLDS}
    return operator_page("console/operator_streams.html", session, **told, number=number, first=(number - 1) * _PAGE + 1)


@path_segments.route(blueprint, _STREAM)
def stream(home_id: str, module_id: str, name: str) -> Response:
    """Show one stream: where it stands, its sessions and holds, its metadata."""
    session, found = required(), _find(home_id, module_id, name)
    overview, sessions, metadata = house().streams.overview, house().streams.sessions, house().streams.metadata
    view, before = overview.view(found), _whole("metadata", LARGEST_INDEX + 1)
    last = view.seen.head.next if before is None else before
    return operator_page(
        "console/operator_stream.html",
        session,
        here=_HERE,
        **_told(view),
        keys={key.id: key.name for key in house().access.list()},
        open=view.seen.open_session(),
        closes_at=view.seen.closes_at and seconds_text(view.seen.closes_at),
        held=overview.held(view),
        most_holds=MOST_HOLDS,
        sessions=sessions.newest(found, _LISTED, _asked().get("sessions", "")),
        metadata=[(one, _json(one.content)) for one in metadata.newest(found, last, _LISTED)],
        listed=_LISTED,
    )


@path_segments.route(blueprint, f"{_STREAM}/packets")
def packets(home_id: str, module_id: str, name: str) -> Response:
    """Show packets from an index on, or the newest ones; and, while they are followed, those that come."""
    session, is_live, asked = required(), _is_live(), _whole("start", LARGEST_INDEX)
    if (found := _still(home_id, module_id, name)) is None:
        way = {"way": url_for(_HERE), "way_title": gettext("All streams")}
        return operator_page("console/_follow_gone.html", session, gone=gettext("The stream was deleted."), **way)
    glimpses, view = house().streams.glimpses, house().streams.overview.view(found)
    newest = max(view.seen.head.next - _PACKETS, view.manifest.floor)
    start = newest if asked is None else asked
    # Who follows sees the newest packets, though more came than are shown at once.
    skipped = (start, newest - 1) if is_live and start < newest else None
    seen = glimpses.from_index(found, newest if skipped else start, _PACKETS)
    template = "console/_packets.html" if is_fragment() else "console/operator_packets.html"
    told = {
        **_told(view),
        **_shown(seen, view),
        "is_live": is_live,
        "skipped": skipped,
        "looks": LOOKS,
        "is_part": is_fragment(),
    }
    return operator_page(template, session, here=_HERE, **told)


@path_segments.route(blueprint, f"{_STREAM}/packets/<segment:index>")
def packet(home_id: str, module_id: str, name: str, index: str) -> Response:
    """Give the bytes of one packet, as a file."""
    required()
    found = _find(home_id, module_id, name)
    if not is_whole(index, LARGEST_INDEX):
        raise NotFound("There is no such packet")
    downloads = house().streams.downloads
    located = downloads.locate(found, int(index), int(index), "octets")
    opened = downloads.open(found.home_id, found.module_id, found.name, located.query)
    return closed_when_sent(opened.close, lambda: download_response(opened))


@path_segments.route(blueprint, f"{_STREAM}/delete", methods=["POST"])
def delete_stream(home_id: str, module_id: str, name: str) -> Response:
    """Delete the stream with everything in it, if its name was typed."""
    session, form = operator_form()
    found = _find(home_id, module_id, name)
    require_typed(form, found.name)
    require_same(form, found.created_at)
    house().streams.delete(found)
    return led_to(".streams", session)


@path_segments.route(blueprint, f"{_STREAM}/sessions/<segment:session_id>/close", methods=["POST"])
def close_session(home_id: str, module_id: str, name: str, session_id: str) -> Response:
    """Close an open session, so that others may append."""
    session, _ = operator_form()
    found = _find(home_id, module_id, name)
    house().streams.sessions.close(found, session_id, owner_of(session))
    return _led_back(found, session)


@path_segments.route(blueprint, f"{_STREAM}/sessions/<segment:session_id>/delete", methods=["POST"])
def delete_session(home_id: str, module_id: str, name: str, session_id: str) -> Response:
    """Delete a session. Its packets stay."""
    session, _ = operator_form()
    found = _find(home_id, module_id, name)
    house().streams.sessions.delete(found, session_id)
    return _led_back(found, session)


@path_segments.route(blueprint, f"{_STREAM}/sessions/<segment:session_id>/release", methods=["POST"])
def release_session(home_id: str, module_id: str, name: str, session_id: str) -> Response:
    """Take away the hold that one key has on a session."""
    session, form = operator_form()
    found = _find(home_id, module_id, name)
    house().streams.sessions.take_away(found, Hold(session_id, form.get("key", "")))
    return _led_back(found, session)


def _find(home_id: str, module_id: str, name: str) -> Stream:
    """Find the stream that a path names. Raises `NotFound`."""
    if not is_whole(home_id):
        raise NotFound("There is no such home")
    return house().streams.catalogue.find(int(home_id), module_id, name)


def _still(home_id: str, module_id: str, name: str) -> Stream | None:
    """Find a stream; None if a page that follows it knows another, which is deleted. Raises `NotFound` for other pages."""
    made = _asked().get("made")
    try:
        found = _find(home_id, module_id, name)
    except NotFound:
        if made is None or not is_fragment():
            raise
        return None
    return None if made not in (None, time_text(found.created_at)) and is_fragment() else found


def _led_back(found: Stream, session: Session) -> Response:
    return led_to(".stream", session, **_names(found))


def _names(found: Stream) -> dict[str, Any]:
    """Name the stream for `url_for`."""
    return {"home_id": found.home_id, "module_id": found.module_id, "name": found.name}


def _told(view: StreamView) -> dict[str, Any]:
    """Tell a template of a stream."""
    head, recent = view.seen.head, view.recent
    minutes = recent.seconds / 60
    since = gettext("%(count)s min", count=max(round(minutes), 1)) if minutes < 120 else _long(minutes / 60)
    return {
        "view": view,
        "stream": view.stream,
        "names": _names(view.stream),
        "head": head,
        "newest": "" if head.last_us is None else seconds_text(time_of(head.last_us)),
        "created": seconds_text(view.stream.created_at),
        "made": time_text(view.stream.created_at),
        "since": since,
        "age": _age(view.stream.retention.seconds),
    }


def _age(seconds: float | None) -> str:
    """Write the age that a retention allows, exactly; nothing for none."""
    if seconds is None:
        return ""
    if seconds % 3600:
        return str(gettext("%(count)s s", count=int(seconds) if seconds == int(seconds) else seconds))
    if seconds % 86400 or seconds < 2 * 86400:
        return str(gettext("%(count)s hours", count=int(seconds // 3600)))
    return str(gettext("%(count)s days", count=int(seconds // 86400)))


def _json(content: dict[str, Any]) -> str:
    return msgspec.json.encode(content).decode()


def _long(hours: float) -> str:
    if hours < 48:
        return str(gettext("%(count)s hours", count=round(hours)))
    return str(gettext("%(count)s days", count=round(hours / 24)))


def _shown(seen: Seen, view: StreamView) -> dict[str, Any]:
    """Tell a template of packets, the newest first."""
    first = seen.glimpses[0].index if seen.glimpses else seen.following
    floor = view.manifest.floor
    return {
        "glimpses": list(reversed(seen.glimpses)),
        "following": seen.following,
        "end": seen.end,
        "kinds": {"json": "JSON", "text": gettext("text"), "bytes": gettext("bytes"), "empty": gettext("empty")},
        "earlier": max(first - _PACKETS, floor) if first > floor else None,
    }


def _asked() -> dict[str, str]:
    """Read the query, as far as the page knows parameters. Raises `Invalid`."""
    return read_query(*_KNOWN.get(request.endpoint or "", ()))


def _is_live() -> bool:
    if (text := _asked().get("live", "")) not in ("", "true"):
        raise Invalid("live: can only be true")
    return bool(text)


def _whole(name: str, most: int, least: int = 0) -> int | None:
    """Read a whole number from the query; None for one that is left empty. Raises `Invalid`."""
    if not (text := _asked().get(name, "").strip()):
        return None
    if not is_whole(text, most) or int(text) < least:
        raise Invalid(f"{name}: {text[:40]!r} is not a whole number from {least} to {most}, written in digits")
    return int(text)
