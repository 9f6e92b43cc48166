"""Faults below `/console`, as pages for people."""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, g, render_template

from blueprints.console.templating import frame
from blueprints.dialects import Fault
from blueprints.observability import HYPHENATED
from smarthouse_api.errors import NotCounted


def fault_page(fault: Fault) -> Response:
    """Answer with a page that tells what was wrong, and by which id the fault is found in the log."""
    if fault.kind is NotCounted:
        seconds = fault.headers["Retry-After"]
        page = render_template("console/counting.html", **frame(), detail=fault.detail, seconds=seconds)
        return Response(page, fault.status, fault.headers, content_type="text/html; charset=utf-8")
    title = fault.title or HTTPStatus(fault.status).phrase
    told = {"status": fault.status, "title": title, "detail": HYPHENATED.sub("{uuid}", fault.detail)}
    page = render_template("console/fault.html", **frame(), **told, request_id=g.get("request_id", ""))
    return Response(page, fault.status, fault.headers, content_type="text/html; charset=utf-8")
