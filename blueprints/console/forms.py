"""What a form of the console sends in its body."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from flask import request
from werkzeug.datastructures import MultiDict

from blueprints.bodies import whole_body
from smarthouse_api.errors import Invalid

_MOST_FIELDS: Final = 1000


def read_form() -> MultiDict[str, str]:
    """Read the fields of the request's form. Raises `Invalid`, and what `whole_body` raises."""
    if request.mimetype != "application/x-www-form-urlencoded":
        raise Invalid("Content-Type: must be application/x-www-form-urlencoded, as forms send it")
    try:
        fields = parse_qsl(whole_body().decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as fault:
        raise Invalid("The body is not a form in UTF-8 with at most 1000 fields") from fault
    return MultiDict(fields)
