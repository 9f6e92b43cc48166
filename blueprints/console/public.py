"""Pages about the lake that anyone may see who may download: counted, admitted and kept by a browser as an export's answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, request

from blueprints.console.languages import language
from blueprints.console.policy import compressed, is_fragment
from blueprints.console.reading import as_context, reading_session
from blueprints.console.templating import page
from blueprints.current_request import count_request, house
from blueprints.export.readers import admit_reader
from blueprints.responses import empty_response
from smarthouse_api.states.contents.service import Opened
from smarthouse_api.version import own_version

Tell = Callable[[Opened], dict[str, Any]]


def lake_page(whole: str, part: str, tell: Tell, *also: object) -> Response:
    """Answer with a page, or with the part of it that its script asks for.

    whole, part: templates. tell: finds what they show. also: what else decides the answer, besides the lake and the address.
    """
    count_request("export")
    admit_reader()
    contents, template = house().states.contents, part if is_fragment() else whole
    told, opened = contents.answer(lambda opened: None if _is_known(_tag(opened, template, also)) else tell(opened))
    lasts = contents.asking.has_lasting_names and reading_session() is None
    response = empty_response(304) if told is None else page(template, **told, **as_context(), incomplete=opened.incomplete)
    response.headers["Cache-Control"] = "private, no-cache" if lasts else "no-store"
    if lasts:
        response.set_etag(_tag(opened, template, also), weak=True)
    return compressed(response) if reading_session() is None else response


def _tag(opened: Opened, template: str, also: tuple[object, ...]) -> str:
    return "-".join([opened.tag, own_version(), language(), template.rpartition("/")[2], *map(str, also)])


def _is_known(tag: str) -> bool:
    lasts = house().states.contents.asking.has_lasting_names and reading_session() is None
    return lasts and request.if_none_match.contains_weak(tag)
