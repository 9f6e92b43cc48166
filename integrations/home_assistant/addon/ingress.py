"""The application behind Home Assistant's ingress, which strips a path from each request and names it in a header."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

SUPERVISOR: Final = "172.30.32.2"
"""The one machine that may name a path: ingress's."""

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Ingress:
    """Tells the application under which path a page is, so that its links hold."""

    def __init__(self, app: Wsgi) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Serve a request."""
        if environ.get("REMOTE_ADDR") == SUPERVISOR and (path := environ.get("HTTP_X_INGRESS_PATH")):
            environ["SCRIPT_NAME"] = path
        return self._app(environ, start_response)


def __getattr__(name: str) -> Any:
    """Make the application when gunicorn asks for it."""
    if name == "app":
        import wsgi

        return Ingress(wsgi.app)
    raise AttributeError(name)
