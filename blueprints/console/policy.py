"""What a browser may do with a page of the console: load nothing from elsewhere, run nothing that stands in the page."""

from __future__ import annotations

import gzip
from typing import Final

from flask import Flask, Response, request

PATH: Final = "/console"
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_LEVEL: Final = 6


def register(app: Flask) -> None:
    """Have `app` send the headers with all that is below the console's path, faults included."""
    app.after_request(_guard)


def is_fragment() -> bool:
    """Tell whether the page's script asks for a part of it; for a page that is shown again, it asks for all."""
    return "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers


def compressed(response: Response) -> Response:
    """Compress a page, if the browser takes that. Only a page without anything secret: its length tells of what is in it."""
    response.vary.update(("Accept-Encoding", "Accept-Language", "HX-Request"))
    if response.status_code == 200 and request.accept_encodings["gzip"] > 0:
        response.set_data(gzip.compress(response.get_data(), _LEVEL, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    return response


def _guard(response: Response) -> Response:
    if f"{request.path}/".startswith(f"{PATH}/"):
        response.headers.update(_HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
    return response
