"""The API of streams: its blueprint, what a path names, and who may use it.

Every request shows a key first. Then it names a home that the key opens, and then all else in its path.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import request
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser

from blueprints import path_segments
from blueprints.current_request import authenticate, house
from blueprints.dialects import problems
from blueprints.openapi import BEARER
from blueprints.parameters import LARGEST, is_whole, refuse_unknown
from blueprints.streams.openapi import PATH
from smarthouse_api.access.keys import Owner
from smarthouse_api.errors import Forbidden, Invalid, NotFound, Unauthorized
from smarthouse_api.streams.model import Stream

ROOT = "/homes"
_BY_URL = frozenset({"Streams.download", "Streams.follow"})
"""Endpoints whose URL is the permission: its signature replaces a key."""

_CANONICAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class _Parser(FlaskParser):
    """Saves appends the time of a schema: it remembers what the schema makes of a request without a query."""

    def __init__(self) -> None:
        super().__init__()
        self._of_nothing: dict[Any, dict[str, Any]] = {}

    def parse(self, argmap: Any, req: Any = None, *, location: str | None = None, **options: Any) -> Any:
        if location != "query" or request.query_string:
            return super().parse(argmap, req, location=location, **options)
        if argmap not in self._of_nothing:
            self._of_nothing[argmap] = super().parse(argmap, req, location=location, **options)
        return dict(self._of_nothing[argmap])


blueprint = Blueprint(
    "Streams",
    __name__,
    url_prefix=f"{ROOT}/<segment:homeId>/smartModules/<segment:moduleId>/streams",
    description="Data packets of a home's devices, in order; sessions and metadata about them",
)
blueprint.ARGUMENTS_PARSER = _Parser()


def route(rule: str, **options: Any) -> Callable[[Any], Any]:
    """Route a view of this API, and document the names in its path."""
    named = [PATH[name] for name in re.findall(r":(\w+)>", f"{blueprint.url_prefix}{rule}")]
    return path_segments.route(blueprint, rule, parameters=named, **options)


def answers(operation_id: str, *statuses: int, **described: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Document a view: its name in clients, that it needs a key, and which refusals are its own."""
    return problems(blueprint, operation_id, *statuses, security=[{"ModeCloud": []}, *BEARER], **described)


@dataclass(frozen=True, kw_only=True)
class StreamPath:
    """Tells what a path names: a module of a home, perhaps a stream in it, and one session or packet of the stream."""

    home_id: int
    module_id: str
    stream_name: str = ""
    session_id: str = ""
    packet_index: int = 0

    @property
    def names(self) -> dict[str, Any]:
        """Name the stream for `url_for`."""
        return {"homeId": self.home_id, "moduleId": self.module_id, "streamName": self.stream_name}

    def stream(self) -> Stream:
        """Find the stream. Raises `NotFound`."""
        return house().streams.catalogue.find(self.home_id, self.module_id, self.stream_name)

    def stream_to_append_to(self) -> Stream:
        """Get the stream as it was last seen, which saves a look-up: the append itself notices if it is deleted."""
        return house().streams.catalogue.recall(self.home_id, self.module_id, self.stream_name)

    def stream_if_any(self) -> Stream | None:
        """Get the stream; None if it does not exist."""
        return house().streams.catalogue.get(self.home_id, self.module_id, self.stream_name)


@dataclass(frozen=True, kw_only=True)
class AuthorizedPath(StreamPath):
    """Tells a view what the path names, and whose key opened it."""

    owner: Owner


@blueprint.before_request
def admit() -> None:
    """Admit only requests with a valid key, and only to homes that it opens; then tell the view what the path names."""
    if request.endpoint in _BY_URL:
        request.view_args = {"path": StreamPath(**_named(_home_id()))}
        return
    principal = authenticate()
    home_id = _home_id()
    house().access.require_home(principal, home_id)
    request.view_args = {"path": AuthorizedPath(**_named(home_id), owner=principal.owner)}


blueprint.before_request(refuse_unknown)


@blueprint.before_app_request
def show_a_key() -> None:
    """Hide from clients without a key which paths do not exist."""
    if request.endpoint is None and request.path.startswith(f"{ROOT}/"):
        authenticate()


def permission(home_id: int) -> Callable[[], bool]:
    """Make a check for use while an answer is sent: whether the key of the current request still opens the home."""
    access, authorization = house().access, request.headers.get("Authorization")
    return while_allowed(lambda: access.require_home(access.authenticate(authorization), home_id))


def while_allowed(check: Callable[[], None]) -> Callable[[], bool]:
    """Make a check for use while an answer is sent: whether `check` still refuses nothing."""

    def is_allowed() -> bool:
        try:
            check()
        except (Unauthorized, Forbidden):
            return False
        return True

    return is_allowed


def _home_id() -> int:
    text = (request.view_args or {})["homeId"]
    if not _CANONICAL.fullmatch(text) or int(text) > LARGEST:
        raise NotFound(f"There is no such home; the id of a home is a whole number from 0 to {LARGEST}")
    return int(text)


def _named(home_id: int) -> dict[str, Any]:
    """Read the members of `StreamPath` from the path."""
    given = dict(request.view_args or {})
    for name, text in given.items():
        if not text.isprintable() and any("\udc80" <= character <= "\udcff" for character in text):
            raise Invalid(f"{name}: it is not UTF-8; percent-encode the UTF-8 bytes of the name")
    index = given.get("packetIndex", "0")
    if not is_whole(index):
        raise Invalid(f"packetIndex: {index[:40]!r} is not a whole number from 0 to {LARGEST}")
    return {
        "home_id": home_id,
        "module_id": given["moduleId"],
        "stream_name": given.get("streamName", ""),
        "session_id": given.get("sessionId", ""),
        "packet_index": int(index),
    }
