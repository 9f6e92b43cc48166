"""The API of streams: its blueprint, its routes, and the errors that all its views document."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flask import request
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser

from blueprints import path_segments
from blueprints.dialects import problems
from blueprints.streams.openapi import PATH

ROOT = "/homes"
SECURITY: list[dict[str, list[str]]] = [{"ModeCloud": []}, {"Bearer": []}]
"""The schemes that the document names; one of them is enough."""


class _Parser(FlaskParser):
    """Saves an append from waiting for a schema: of a request without a query, what the schema says is always the same."""

    def __init__(self) -> None:
        super().__init__()
        self._of_nothing: dict[Any, dict[str, Any]] = {}

    def parse(self, argmap: Any, req: Any = None, *, location: str | None = None, **options: Any) -> Any:
        if location != "query" or request.query_string:
            return super().parse(argmap, req, location=location, **options)
        if argmap not in self._of_nothing:
            self._of_nothing[argmap] = super().parse(argmap, req, location=location, **options)
        return dict(self._of_nothing[argmap])


class _Blueprint(Blueprint):  # type: ignore[misc] # flask-smorest is not typed
    ARGUMENTS_PARSER = _Parser()


blueprint = _Blueprint(
    "Streams",
    __name__,
    url_prefix=f"{ROOT}/<segment:homeId>/smartModules/<segment:moduleId>/streams",
    description="Data packets of a home's devices, in order; sessions and metadata about them",
)


def route(rule: str, **options: Any) -> Callable[[Any], Any]:
    """Routes a view of this API, and documents the names in its path."""
    named = [PATH[name] for name in re.findall(r":(\w+)>", f"{blueprint.url_prefix}{rule}")]
    return path_segments.route(blueprint, rule, parameters=named, **options)


def answers(*statuses: int, **described: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Documents a view: it needs a key, and may refuse with these statuses, and with those of every such view."""
    return problems(blueprint, *sorted({401, 403, 500, 503, *statuses}), security=SECURITY, **described)
