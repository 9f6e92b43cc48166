"""Faults below `/console`, as pages for people."""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, g, render_template, request, url_for
from flask_babel import gettext

from blueprints.console.policy import PATH
from blueprints.console.templating import frame
from blueprints.current_request import house
from blueprints.dialects import Fault
from blueprints.observability import HYPHENATED
from smarthouse_api.errors import NotCounted


def fault_page(fault: Fault) -> Response:
    """Answer with a page that tells what was wrong, and by which id the fault is found in the log."""
    if fault.kind is NotCounted:
        seconds = fault.headers["Retry-After"]
        page = render_template("console/counting.html", **frame(), detail=fault.detail, seconds=seconds)
        return Response(page, fault.status, fault.headers, content_type="text/html; charset=utf-8")
    told = {"status": fault.status, "title": _title(fault), "detail": HYPHENATED.sub("{uuid}", fault.detail)}
    page = render_template("console/fault.html", **frame(), **told, back=_back(), request_id=g.get("request_id", ""))
    return Response(page, fault.status, fault.headers, content_type="text/html; charset=utf-8")


def _title(fault: Fault) -> str:
    """Name a fault in the language of the page, unless its rule named it."""
    names = {
        400: gettext("Bad request"),
        401: gettext("Not signed in"),
        403: gettext("Not allowed"),
        404: gettext("Not found"),
        405: gettext("This address cannot be opened so"),
        409: gettext("In use, or changed meanwhile"),
        410: gettext("Gone"),
        413: gettext("Too large"),
        429: gettext("Too many requests"),
        500: gettext("A fault of the service"),
        503: gettext("Not available now"),
    }
    return fault.title or names.get(fault.status) or HTTPStatus(fault.status).phrase


def _back() -> tuple[str, str]:
    """Name the page that a reader can go back to, by its address and its title."""
    if request.path.startswith(f"{PATH}/operator") and house().settings.server.console == "all":
        return url_for("Operator.operator"), gettext("To the operator's pages")
    if request.path.startswith(f"{PATH}/home"):
        return url_for("Console.home"), gettext("To my home")
    return url_for("Console.data"), gettext("Back to the data")
