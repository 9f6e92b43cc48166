"""The researcher's pages: what is in the lake, how it looks, and how to take it."""

from __future__ import annotations

from functools import partial

from flask import Blueprint, Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from blueprints.console.asked import read_asked
from blueprints.console.data import data_page, preview_part, typical_part
from blueprints.console.home import add_home
from blueprints.console.jobs import add_jobs
from blueprints.console.policy import is_fragment
from blueprints.console.public import lake_page
from blueprints.console.reading import add_reading, reading_session
from blueprints.console.receipts import add_receipts
from blueprints.current_request import house
from blueprints.export.routes import download
from blueprints.parameters import refuse_unknown
from smarthouse_api.errors import Invalid

blueprint = Blueprint("Console", __name__, url_prefix="/console", template_folder="templates")
add_home(blueprint)
add_jobs(blueprint)
add_reading(blueprint)
add_receipts(blueprint)


_CHOOSING = ("Console.data", "Console.preview", "Console.typical", "Console.take", "Console.home")
"""The pages that read what was chosen, and refuse what they do not know."""


@blueprint.before_request
def refuse_parameters() -> None:
    """Refuse parameters of a page that takes none. Raises `Invalid`."""
    if request.endpoint not in _CHOOSING:
        refuse_unknown()


@blueprint.before_app_request
def welcome() -> ResponseReturnValue | None:
    """Lead a browser that asks for the root to the console. For programs, there is nothing."""
    if request.path != "/" or request.method not in ("GET", "HEAD"):
        return None
    is_browser = any(name == "text/html" for name, _ in request.accept_mimetypes)
    return redirect(url_for("Console.data"), 303) if is_browser else None


@blueprint.get("/")
def data() -> Response:
    """Show what is in the lake, and what passes the filters."""
    asked, waiting, samples = read_asked(request.args), house().states.questions.waiting(), len(house().samples.homes())
    tell = partial(data_page, asked=asked, waiting=waiting, samples=samples)
    response = lake_page("console/data.html", "console/_data.html", tell, waiting, samples)
    if is_fragment():
        response.headers["HX-Push-Url"] = asked.page()  # without what the form left empty
    return response


@blueprint.get("/preview")
def preview() -> Response:
    """Show twenty rows as they would be exported."""
    asked = read_asked(request.args)
    return lake_page("console/preview.html", "console/_preview.html", lambda opened: preview_part(opened, asked))


@blueprint.get("/typical")
def typical() -> Response:
    """Show how the homes differ over the hours of a day, in the first unit that is chosen."""
    asked = read_asked(request.args)
    if not (units := asked.filters.units):
        raise Invalid("units: is missing; name the unit of the typical day")
    return lake_page("console/typical.html", "console/_typical.html", lambda opened: typical_part(opened, asked, units[0]))


@blueprint.get("/take")
def take() -> ResponseReturnValue:
    """Lead to the download of what was chosen, without what the form left empty. In a session it is here: the API sees none."""
    asked = read_asked(request.args)
    if reading_session() is None:
        return redirect(asked.download(), 303)
    wanted = {"filters": asked.filters, "aggregation": asked.aggregation, "metadata": True, "fresh": True, "since": None}
    return download([asked.format], wanted)
