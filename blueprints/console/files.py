"""The console's style sheet and scripts. Their address holds a digest of all of them, so that a browser keeps them for good."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from flask import Blueprint, Response, request, url_for

from blueprints.parameters import refuse_unknown
from smarthouse_api.errors import NotFound

HTMX: Final = "htmx.min.js"
_OWN: Final = Path(__file__).parent / "static"
_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FOR_GOOD: Final = "public, max-age=31536000, immutable"

blueprint = Blueprint("ConsoleFiles", __name__, url_prefix="/console/static")
blueprint.before_request(refuse_unknown)


class File(NamedTuple):
    """Holds a file, also compressed."""

    body: bytes
    compressed: bytes
    content_type: str


@blueprint.get("/<version>/<name>")
def file(version: str, name: str) -> Response:
    """Give a file. A page of another version of the service gets the present one, and does not keep it."""
    files, present = _files()
    if (found := files.get(name)) is None:
        raise NotFound("There is no such file")
    response = Response(found.body, content_type=found.content_type)
    if request.accept_encodings["gzip"] > 0:
        response = Response(found.compressed, headers={"Content-Encoding": "gzip"}, content_type=found.content_type)
    response.vary.add("Accept-Encoding")
    response.headers["Cache-Control"] = _FOR_GOOD if version == present else "no-cache"
    return response


def file_url(name: str) -> str:
    """Return the address of a file, in the present version."""
    return url_for("ConsoleFiles.file", version=_files()[1], name=name)


@lru_cache(1)
def _files() -> tuple[dict[str, File], str]:
    """Read all files, and digest them."""
    paths = [*sorted(_OWN.iterdir()), _htmx()]
    bodies = {path.name: path.read_bytes() for path in paths}
    version = hashlib.sha256(b"".join(bodies.values())).hexdigest()[:16]
    types = {path.name: _TYPES[path.suffix] for path in paths}
    return {name: File(body, gzip.compress(body, 9, mtime=0), types[name]) for name, body in bodies.items()}, version


def _htmx() -> Path:
    """Find htmx in the package that brings it. The package is for Django, and is not imported."""
    spec = importlib.util.find_spec("js_lib_htmx")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package django-js-lib-htmx is not installed")
    return Path(spec.origin).parent / "static" / "htmx" / HTMX
