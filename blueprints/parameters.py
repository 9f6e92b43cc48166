"""Query parameters: the fields and the schema that the APIs share, and the refusal of parameters that do not exist.

1. The OpenAPI documents say which parameters an operation takes, and which of them may come repeatedly.
2. Every operation of our own refuses any other parameter, a repeated one and an empty one: it ignores nothing.
3. An operation in `ORIGINALS` ignores what it does not know, as the original server did.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from flask import Flask, current_app, request
from flask_smorest.spec.plugins import FlaskPlugin
from marshmallow import Schema, ValidationError, fields, pre_load, validate

from smarthouse_api.errors import Invalid

LARGEST: Final = 2**63 - 1
ACCEPTED_TIMES: Final = "use YYYY-MM-DD or an RFC 3339 time such as 2026-03-01T00:00:00Z"
AT_LEAST_ONE: Final = validate.Range(1, error="must be at least 1.")
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
_EXTENSION: Final = "smarthouse_parameters"

ORIGINALS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "Ingest.Data": frozenset({"POST"}),
        "Streams.streams": frozenset({"GET"}),
        "Streams.Stream": frozenset({"GET"}),
        "Streams.status": frozenset({"GET"}),
        "Streams.Sessions": frozenset({"GET", "POST"}),
        "Streams.Session": frozenset({"GET", "DELETE"}),
        "Streams.metadata": frozenset({"GET"}),
        "Streams.Data": frozenset({"GET"}),
        "Datasources.insert": frozenset({"POST"}),
        "Datasets.data_in": frozenset({"POST"}),
    }
)
"""Endpoint -> methods of the original servers, which ignore unknown parameters. Export's are strict all the same.

So is the deletion of a home: `stop` that was misspelt would not be an objection.
"""


def is_whole(text: str, maximum: int = LARGEST) -> bool:
    """Tell whether a text is a whole number from 0 to `maximum`, written only in digits."""
    return _DIGITS.fullmatch(text) is not None and int(text) <= maximum


class WholeNumberField(fields.Field[int]):
    """Reads a parameter that is a whole number from `minimum` to `maximum`, and documents it."""

    def __init__(
        self, description: str, example: int | None, maximum: int = LARGEST, *, minimum: int = 0, **options: Any
    ) -> None:
        noted = {"type": "integer", "format": "int64", "minimum": minimum, "maximum": maximum, "description": description}
        missing = f"is missing; give a whole number from {minimum} to {maximum}."
        super().__init__(
            metadata=noted if example is None else {**noted, "example": example},
            error_messages={"required": missing},
            **options,
        )
        self._minimum, self._maximum = minimum, maximum

    def _deserialize(self, value: str, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not is_whole(value, self._maximum) or int(value) < self._minimum:
            span = f"from {self._minimum} to {self._maximum}"
            raise ValidationError(f"{value[:40]!r} is not a whole number {span}, written in digits.")
        return int(value)


class TrueOrFalseField(fields.Field[bool]):
    """Reads a parameter that is `true` or `false`, by default false, and documents it."""

    def __init__(self, description: str) -> None:
        super().__init__(load_default=False, metadata={"type": "boolean", "description": description})

    def _deserialize(self, value: str, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if value not in ("true", "false"):
            raise ValidationError(f"{value[:40]!r} is neither true nor false.")
        return value == "true"


class QuerySchema(Schema):
    """Refuses a query that gives a parameter different values; the same value may stand in it repeatedly."""

    @pre_load
    def once(self, data: Any, **_: Any) -> Any:
        names = [field.data_key or name for name, field in self.fields.items()]
        repeated = [name for name in names if len(set(data.getlist(name))) > 1]
        if repeated:
            raise ValidationError({name: ["is given with different values; give it once."] for name in repeated})
        return data


@dataclass(frozen=True)
class Parameter:
    """Tells how the documents describe a query parameter.

    is_list: it may come repeatedly, also as `name[]`. is_text: its own field may take an empty value for a value.
    """

    is_list: bool
    is_text: bool


def register(app: Flask, specs: Iterable[dict[str, Any]]) -> None:
    """Have `app` know the parameters in these documents, for `refuse_unknown`."""
    app.extensions[_EXTENSION] = {
        (path, method): {one["name"]: _described(one["schema"]) for one in operation.get("parameters", []) if _is_in_query(one)}
        for spec in specs
        for path, operations in spec["paths"].items()
        for method, operation in operations.items()
        if method != "parameters"
    }


def refuse_unknown() -> None:
    """Refuse a query with a parameter that is unknown, repeated or empty. Raises `Invalid`.

    Each blueprint calls this before its requests, after it has looked who asks.
    """
    method = "GET" if request.method == "HEAD" else request.method
    if not request.query_string or method == "OPTIONS" or method in ORIGINALS.get(request.endpoint or "", ()):
        return
    rule = request.url_rule.rule if request.url_rule else ""
    known: dict[str, Parameter] = current_app.extensions[_EXTENSION].get((_path(rule), method.lower()), {})
    found = ((name[:40] or "(no name)", _fault(name, given, known)) for name, given in request.args.lists())
    faults = [f"{name}: {fault}" for name, fault in found if fault is not None]
    if faults:
        there_are = f"the parameters are {', '.join(known)}" if known else "it takes no parameters"
        raise Invalid(f"{'; '.join(faults[:5])}; {there_are}")


def _fault(name: str, given: list[str], known: Mapping[str, Parameter]) -> str | None:
    parameter = known.get(name) or known.get(name.removesuffix("[]"))
    if parameter is None or (name not in known and not parameter.is_list):
        return "is not a parameter here"
    if len(given) > 1 and not parameter.is_list:
        return "is repeated; give it once"
    if (parameter.is_list or parameter.is_text) and not all(value.strip(", ") for value in given):
        return "is empty; give it a value, or leave it out"
    return None


def _is_in_query(parameter: Any) -> bool:
    return isinstance(parameter, dict) and parameter.get("in") == "query"


def _described(schema: Mapping[str, Any]) -> Parameter:
    """Read how a parameter is described. A time, a number and a choice refuse an empty value in their own words."""
    is_text = schema.get("type") == "string" and not schema.keys() & {"format", "enum"}
    return Parameter(schema.get("type") == "array", is_text)


_path = FlaskPlugin.flaskpath2openapi
