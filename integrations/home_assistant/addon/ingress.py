"""The application behind Home Assistant's ingress, which strips a path from each request and names it in a header.

Ingress shows the pages in a frame of Home Assistant's own page, from the same origin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

SUPERVISOR: Final = "172.30.32.2"
"""The one machine that may name a path: ingress's."""

_NO_FRAME, _OWN_FRAME = "frame-ancestors 'none'", "frame-ancestors 'self'"

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Ingress:
    """Tells the application under which path and scheme a page is, so that links hold, and lets it be framed."""

    def __init__(self, app: Wsgi) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Serve a request."""
        if environ.get("REMOTE_ADDR") != SUPERVISOR or not (path := environ.get("HTTP_X_INGRESS_PATH")):
            return self._app(environ, start_response)
        environ["SCRIPT_NAME"] = path
        if (scheme := environ.get("HTTP_X_FORWARDED_PROTO")) in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme

        def framed(status: str, headers: list[tuple[str, str]], *fault: Any) -> Any:
            return start_response(status, [(name, text.replace(_NO_FRAME, _OWN_FRAME)) for name, text in headers], *fault)

        return self._app(environ, framed)


def behind(app: Any) -> Any:
    """Put a Flask application behind ingress. It stays the same object: the server's settings look into it."""
    app.wsgi_app = Ingress(app.wsgi_app)
    return app


def __getattr__(name: str) -> Any:
    """Make the application when gunicorn asks for it."""
    if name == "app":
        import wsgi

        globals()["app"] = behind(wsgi.app)
        return globals()["app"]
    raise AttributeError(name)
