"""The way in: first the key, then the home, then what else the path names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import request
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser

from blueprints.current import house
from blueprints.dialects import problems
from blueprints.idempotency import repeated
from blueprints.parameters import LARGEST, is_whole
from blueprints.streams.openapi import PATH
from smarthouse_api.access.keys import Owner
from smarthouse_api.coordination.idempotency import RequestKey
from smarthouse_api.errors import Forbidden, Invalid, NotFound, Unauthorized
from smarthouse_api.streams.model import Stream

ROOT = "/homes"
SECURITY: list[dict[str, list[str]]] = [{"ModeCloud": []}, {"Bearer": []}]
"""The schemes that the document names; one of them is enough."""

_CANONICAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class _Parser(FlaskParser):
    """Asks a schema about a request without a query once: the answer is always the same, and appends need not wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._of_nothing: dict[Any, dict[str, Any]] = {}

    def parse(self, argmap: Any, req: Any = None, *, location: str | None = None, **options: Any) -> Any:
        if location != "query" or request.query_string:
            return super().parse(argmap, req, location=location, **options)
        if argmap not in self._of_nothing:
            self._of_nothing[argmap] = super().parse(argmap, req, location=location, **options)
        return dict(self._of_nothing[argmap])


class _Blueprint(Blueprint):  # type: ignore[misc] # flask-smorest is not typed
    ARGUMENTS_PARSER = _Parser()


blueprint = _Blueprint(
    "Streams",
    __name__,
    url_prefix=f"{ROOT}/<segment:homeId>/smartModules/<segment:moduleId>/streams",
    description="Data packets of a home's devices, in order; sessions and metadata about them",
)
_OPEN = f"{blueprint.name}.download"
"""The view whose URL is the permission."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a path names: a module of a home, and perhaps a stream in it, and one thing of the stream's."""

    home_id: int
    module_id: str
    stream_name: str = ""
    session_id: str = ""
    packet_index: int = 0

    @property
    def names(self) -> dict[str, Any]:
        """The same as `url_for` takes it."""
        return {"homeId": self.home_id, "moduleId": self.module_id, "streamName": self.stream_name}

    def stream(self) -> Stream:
        """Raises `NotFound`."""
        return house().streams.catalogue.find(self.home_id, self.module_id, self.stream_name)

    def stream_to_append_to(self) -> Stream:
        """The same, as it was seen last, which saves asking: the append itself finds out when it is gone."""
        return house().streams.catalogue.recall(self.home_id, self.module_id, self.stream_name)

    def stream_if_any(self) -> Stream | None:
        return house().streams.catalogue.get(self.home_id, self.module_id, self.stream_name)


@dataclass(frozen=True, kw_only=True)
class Visit(Place):
    """The same, and who asks."""

    owner: Owner

    def repeat(self, body: bytes) -> RequestKey | None:
        """What makes the request known again; see `repeated`."""
        return repeated(self.owner.id, body)


def route(rule: str, **options: Any) -> Callable[[Any], Any]:
    """A route of this API, its path documented. Two slashes stand for an empty name, which nothing has."""
    named = [PATH[name] for name in re.findall(r":(\w+)>", f"{blueprint.url_prefix}{rule}")]
    routed: Callable[[Any], Any] = blueprint.route(rule, parameters=named, merge_slashes=False, **options)
    return routed


def answers(*statuses: int, **described: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Document a view: it needs a key, and may refuse with these, and with what every such view refuses with."""
    return problems(blueprint, *sorted({401, 403, 500, 503, *statuses}), security=SECURITY, **described)


@blueprint.before_request
def admit() -> None:
    """Let nobody in without a good key, nor to a home that it does not open; then tell the view what the path names."""
    if request.endpoint == _OPEN:
        request.view_args = {"place": Place(**_named(_home_id()))}
        return
    access = house().access
    principal = access.authenticate(request.headers.get("Authorization"))
    home_id = _home_id()
    access.require_home(principal, home_id)
    request.view_args = {"visit": Visit(**_named(home_id), owner=principal.owner)}


@blueprint.before_app_request
def show_a_key() -> None:
    """Whoever has no key does not even learn what there is not."""
    if request.endpoint is None and request.path.startswith(f"{ROOT}/"):
        house().access.authenticate(request.headers.get("Authorization"))


def permission(home_id: int) -> Callable[[], bool]:
    """Asks, at any later time, whether whoever asks now is still allowed into the home."""
    access, authorization = house().access, request.headers.get("Authorization")

    def is_allowed() -> bool:
        try:
            access.require_home(access.authenticate(authorization), home_id)
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
    """What the path names besides the home, by the names of `Place`."""
    given = dict(request.view_args or {})
    for name, text in given.items():
        if not text.isprintable() and any("\udc80" <= character <= "\udcff" for character in text):
            raise Invalid(f"{name}: it is not UTF-8; percent-encode the UTF-8 bytes of the name")
    index = given.get("packetIndex", "0")
    if not is_whole(index):
        raise Invalid(f"packetIndex: {index[:40]!r} is no whole number from 0 to {LARGEST}")
    return {
        "home_id": home_id,
        "module_id": given["moduleId"],
        "stream_name": given.get("streamName", ""),
        "session_id": given.get("sessionId", ""),
        "packet_index": int(index),
    }
