"""Access to streams: every request shows a key first, then names a home that it opens, then all else in its path."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import request

from blueprints import idempotency
from blueprints.authorization import authenticate
from blueprints.current import house
from blueprints.parameters import LARGEST, is_whole
from blueprints.streams.api import ROOT, blueprint
from smarthouse_api.access.keys import Owner
from smarthouse_api.coordination.idempotency import RequestKey
from smarthouse_api.errors import Forbidden, Invalid, NotFound, Unauthorized
from smarthouse_api.streams.model import Stream

_CANONICAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_OPEN = f"{blueprint.name}.download"
"""The view whose URL is the permission."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Names what a path names: a module of a home, perhaps a stream in it, and one session or packet of the stream."""

    home_id: int
    module_id: str
    stream_name: str = ""
    session_id: str = ""
    packet_index: int = 0

    @property
    def names(self) -> dict[str, Any]:
        """Names the stream for `url_for`."""
        return {"homeId": self.home_id, "moduleId": self.module_id, "streamName": self.stream_name}

    def stream(self) -> Stream:
        """Finds the stream. Raises `NotFound`."""
        return house().streams.catalogue.find(self.home_id, self.module_id, self.stream_name)

    def stream_to_append_to(self) -> Stream:
        """Gets the stream as it was seen last, which saves a look-up: the append itself finds out when it is gone."""
        return house().streams.catalogue.recall(self.home_id, self.module_id, self.stream_name)

    def stream_if_any(self) -> Stream | None:
        """Gets the stream; None if it does not exist."""
        return house().streams.catalogue.get(self.home_id, self.module_id, self.stream_name)


@dataclass(frozen=True, kw_only=True)
class Visit(Place):
    """Tells a view what the path names, and who asks."""

    owner: Owner

    def request_key(self, body: bytes) -> RequestKey | None:
        """Makes the request known again when it is repeated; see `idempotency.request_key`."""
        return idempotency.request_key(self.owner.id, body)


@blueprint.before_request
def admit() -> None:
    """Lets nobody in without a good key, nor to a home that it does not open; then tells the view what the path names."""
    if request.endpoint == _OPEN:
        request.view_args = {"place": Place(**_named(_home_id()))}
        return
    principal = authenticate()
    home_id = _home_id()
    house().access.require_home(principal, home_id)
    request.view_args = {"visit": Visit(**_named(home_id), owner=principal.owner)}


@blueprint.before_app_request
def show_a_key() -> None:
    """Hides from clients without a key which paths do not exist."""
    if request.endpoint is None and request.path.startswith(f"{ROOT}/"):
        authenticate()


def permission(home_id: int) -> Callable[[], bool]:
    """Checks later, while an answer is sent, whether the key of the current request still opens the home."""
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
