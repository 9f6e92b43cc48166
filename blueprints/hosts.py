"""Hosts: refuse a request for another host than ours, and build absolute URLs only from hosts that are ours.

Anyone can name any host in a request. A URL that is built from it, with a signature in it, would lead to that host.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from flask import Flask, Response, request, url_for
from werkzeug.routing import RequestRedirect
from werkzeug.sansio.utils import host_is_trusted

from blueprints.current_request import house
from smarthouse_api.errors import Invalid

_LOOPBACK: Final = ("localhost", "127.0.0.1")
"""The hosts that lead nowhere but to the client's own machine."""

_HEALTH: Final = "health"
"""The blueprint that answers any host: probes name an address, and no answer of it holds a URL."""


def register(app: Flask) -> None:
    """Have `app` refuse requests for other hosts than those in the settings, if there are any, and redirect to paths alone."""
    app.before_request(_admit)
    app.after_request(_without_host)


def url_of(endpoint: str, **values: Any) -> str:
    """Build the URL of a view: absolute if the request came for a host that is ours, else only its path."""
    is_ours = _is_one_of(house().settings.server.allowed_hosts or _LOOPBACK)
    return url_for(endpoint, **values, _external=is_ours)


def _admit() -> None:
    allowed = house().settings.server.allowed_hosts
    if allowed and request.blueprint != _HEALTH and not _is_one_of(allowed):
        given = request.host[:100] or request.headers.get("Host", "")[:100]
        raise Invalid(f"Host: {given!r} is not a host of this service; its operator names those in SMARTHOUSE_ALLOWED_HOSTS")


def _without_host(response: Response) -> Response:
    """Let a redirect that Werkzeug built, as for repeated slashes, lead to the same path on whatever host was asked."""
    redirect = request.routing_exception
    if not isinstance(redirect, RequestRedirect) or response.status_code != redirect.code:  # it may be refused before
        return response
    url = urlsplit(redirect.new_url)
    path = f"/{url.path.lstrip('/')}"
    response.headers["Location"] = f"{path}?{url.query}" if url.query else path
    response.set_data(b"")
    del response.headers["Content-Type"]
    return response


def _is_one_of(hosts: tuple[str, ...]) -> bool:
    # The setting has small letters, and Werkzeug compares them as they stand.
    return host_is_trusted(request.host.lower(), hosts)
