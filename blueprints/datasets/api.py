"""The API of datasets: its blueprint, its routes, and the errors that all its views document."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flask_smorest import Blueprint

from blueprints import path_segments
from blueprints.dialects import problems
from blueprints.rate_limits import count_request

SECURITY: list[dict[str, list[str]]] = [{"Bearer": []}]
OPTIONAL_SECURITY: list[dict[str, list[str]]] = [*SECURITY, {}]
"""The dataset says whether it needs a key."""

blueprint = Blueprint(
    "Datasets", __name__, url_prefix="/v2", description="Manage datasets; send data to them; consume it, and read it back"
)
blueprint.before_request(partial(count_request, "collections"))

route = partial(path_segments.route, blueprint)
"""Routes a view of this API."""


def answers(*statuses: int, **described: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Documents a view: it may refuse with these statuses, and with those that every view here refuses with."""
    return problems(blueprint, *sorted({400, 429, 500, 503, *statuses}), **described)
