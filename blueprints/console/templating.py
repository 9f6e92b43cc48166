"""What every page of the console is made of besides its own content."""

from __future__ import annotations

from typing import Any

from flask import Response, render_template
from flask_babel import gettext

from blueprints.console.files import HTMX, file_url
from blueprints.console.languages import as_context
from blueprints.current_request import house


def frame() -> dict[str, Any]:
    """Give templates the files and the language of the page."""
    pages = [("Console.data", gettext("Data")), ("Console.home", gettext("My home"))]
    if house().settings.server.console == "all":
        pages.append(("Operator.operator", gettext("Operator")))
    pages.append(("docs.page", gettext("API")))
    return {
        "pages": pages,
        "style": file_url("console.css"),
        "script": file_url("console.js"),
        "htmx": file_url(HTMX),
        **as_context(),
    }


def page(template: str, **told: Any) -> Response:
    """Answer with a page."""
    return Response(render_template(template, **frame(), **told), content_type="text/html; charset=utf-8")
