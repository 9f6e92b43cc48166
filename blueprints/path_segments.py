"""Names in paths that may hold anything, a slash included.

WSGI decodes the path before it is routed. Then a slash in a name cannot be told from the slash after the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from flask import Flask
from werkzeug.routing import BaseConverter

_END = re.compile(rb"[?#]")
_ORIGIN = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/]*")


def register(app: Flask, *prefixes: str) -> None:
    """Let routes of `app` below `prefixes` have parts of the kind `segment`."""
    app.url_map.converters["segment"] = SegmentConverter
    app.wsgi_app = SegmentedPaths(app.wsgi_app, *prefixes)  # type: ignore[method-assign]


def route(blueprint: Any, rule: str, **options: Any) -> Callable[[Any], Any]:
    """Route a view by a path that names things. Two slashes stand for an empty name, which never exists."""
    routed: Callable[[Any], Any] = blueprint.route(rule, merge_slashes=False, **options)
    return routed


class SegmentConverter(BaseConverter):
    """Reads a name from one segment of a path that `SegmentedPaths` wrote. Bytes that are not UTF-8 become lone surrogates."""

    def to_python(self, value: str) -> str:
        return unquote_to_bytes(value).decode(errors="surrogateescape")

    def to_url(self, value: Any) -> str:
        return quote(str(value), safe="", errors="surrogateescape")


class SegmentedPaths:
    """Keeps a slash in a name apart from the slash after it, as WSGI middleware.

    Below `prefixes`, `%` and `/` in a name stand in the decoded path as `%25` and `%2F`.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]], *prefixes: str) -> None:
        self._app, self._prefixes = app, tuple(f"{prefix}/" for prefix in prefixes)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        # However many slashes a path begins with, it is routed as if it were one.
        if f"/{path.lstrip('/')}".startswith(self._prefixes):
            environ["PATH_INFO"] = "/".join(map(_written, _segments(environ, path.encode("latin-1"))))
        return self._app(environ, start_response)


def _segments(environ: dict[str, Any], path: bytes) -> list[bytes]:
    """Decode the names in the path: from the raw path if the server gives it, else from the decoded path."""
    raw = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or "").encode("latin-1")
    whole = _ORIGIN.sub(b"", _END.split(raw, maxsplit=1)[0], count=1).split(b"/")
    # A server that is mounted below a path may or may not see that path in front.
    for mounted_at in ("", environ.get("SCRIPT_NAME", "")):
        segments = [b"", *(unquote_to_bytes(segment) for segment in whole[1 + mounted_at.count("/") :])]
        if _text(b"/".join(segments)) == _text(path):
            return segments
    return path.split(b"/")


def _text(path: bytes) -> str:
    # Some servers have put this character in place of bytes that are not UTF-8 already.
    return path.decode(errors="replace")


def _written(segment: bytes) -> str:
    try:
        segment.decode()
    except UnicodeDecodeError:
        return quote(segment, safe="")
    return segment.replace(b"%", b"%25").replace(b"/", b"%2F").decode("latin-1")
