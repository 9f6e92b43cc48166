"""What a visitor of the Data page has chosen: the filters of an export, and in which form the rows are wanted.

The address of the page is all that it remembers. What a form leaves empty is not chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

from flask import url_for
from marshmallow import ValidationError, fields, validate
from werkzeug.datastructures import MultiDict

from blueprints.export.schemas import CommaSeparatedField, FiltersSchema
from blueprints.hosts import url_of
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.errors import Invalid
from smarthouse_api.states.aggregates.asked import LENGTHS, Aggregation
from smarthouse_api.states.query import Filters

_LISTS: Final = ("types", "units", "device_classes", "homes", "entities")
_USUAL_FORMAT: Final = "csv"
_LONGEST: Final = 100


@dataclass(frozen=True)
class Asked:
    """Holds what a visitor has chosen. aggregation: means instead of rows. shows_all: no part of the page comes later.

    is_day_local: the typical day goes by each home's own clock. find: shows only values to choose that contain this.
    shows_all_options: shows all values to choose, also if they are many.
    """

    filters: Filters
    format: str = _USUAL_FORMAT
    aggregation: Aggregation | None = None
    shows_all: bool = False
    is_day_local: bool = False
    find: str = ""
    shows_all_options: bool = False

    def query(self) -> list[tuple[str, str]]:
        """Write it as the parameters of a download, each value by itself."""
        return list(self._query())

    def _query(self) -> Iterator[tuple[str, str]]:
        asked = self.filters
        for name in _LISTS:
            for value in getattr(asked, name):
                yield (f"{name}[]" if "," in value else name), value
        yield from ((name, str(day)) for name, day in (("date_from", asked.since), ("date_to", asked.until)) if day is not None)
        if asked.time_field != "updated":
            yield "time_field", asked.time_field
        if self.aggregation is not None:
            yield "every", self.aggregation.every
            if self.aggregation.is_local:
                yield "clock", "local"

    def of_unit(self, unit: str) -> Asked:
        """Return the same choices, but for the unit."""
        return replace(self, filters=replace(self.filters, units=(unit,)))

    def fields(self) -> list[tuple[str, str]]:
        """Write it as the fields of a form."""
        of_page = {
            "format": "" if self.format == _USUAL_FORMAT else self.format,
            "day_clock": "local" if self.is_day_local else "",
            "find": self.find,
            "options": "all" if self.shows_all_options else "",
        }
        return [*self.query(), *((name, value) for name, value in of_page.items() if value)]

    def changed(self, **changes: Any) -> Asked:
        """Return the same choices, with some of them changed."""
        return replace(self, **changes)

    def page(self, endpoint: str = "Console.data", **also: str) -> str:
        """Return the address of a page with these choices."""
        return addressed(url_for(endpoint), [*self.fields(), *also.items()])

    def download(self, **also: str) -> str:
        """Return the path of the download."""
        return addressed(url_for("Export.one_format", format=self.format), [*self.query(), *also.items()])

    def download_url(self, format_: str, **also: str) -> str:
        """Return the URL of the download in a format; only its path if the host may not be ours."""
        return addressed(url_of("Export.one_format", format=format_), [*self.query(), *also.items()])

    def chosen(self) -> list[tuple[str, str, Asked]]:
        """List the choices: by which filter, which value, and what is left without it."""
        found = []
        for name in _LISTS:
            values = getattr(self.filters, name)
            for value in values:
                others: dict[str, Any] = {name: tuple(other for other in values if other != value)}
                found.append((name, value, replace(self, filters=replace(self.filters, **others))))
        return found


def addressed(path: str, query: list[tuple[str, str]]) -> str:
    """Write an address with a query, if there is any."""
    return f"{path}?{urlencode(query)}" if query else path


class AskedSchema(FiltersSchema):
    """Reads what was chosen."""

    format = fields.String(
        load_default=_USUAL_FORMAT,
        validate=validate.OneOf(list(FORMATS), error="is not a format here; use one of {choices}."),
    )
    every = fields.String(validate=validate.OneOf(list(LENGTHS), error="is none here; use one of {choices}."))
    clock = fields.String(load_default="utc", validate=validate.OneOf(["utc", "local"], error="is one of {choices}."))
    day_clock = fields.String(load_default="utc", validate=validate.OneOf(["utc", "local"], error="is one of {choices}."))
    find = fields.String(load_default="", validate=validate.Length(max=_LONGEST, error="has more than {max} characters."))
    options = fields.String(validate=validate.OneOf(["all"], error="can only be {choices}."))
    show = fields.String(validate=validate.OneOf(["all"], error="can only be {choices}."))

    def read(self, data: dict[str, Any]) -> dict[str, Any]:
        aggregation = Aggregation(data["every"], is_local=data["clock"] == "local") if "every" in data else None
        filters = super().read({**data, "format": []})["filters"]
        of_page = "show" in data, data["day_clock"] == "local", data["find"].strip(), "options" in data
        return {"asked": Asked(filters, data["format"], aggregation, *of_page)}


_SCHEMA: Final = AskedSchema()
_KNOWN: Final = frozenset(_SCHEMA.fields)
_REPEATED: Final = frozenset(name for name, field in _SCHEMA.fields.items() if isinstance(field, CommaSeparatedField))


def read_asked(given: MultiDict[str, str]) -> Asked:
    """Read what was chosen from a query or a form. Raises `Invalid`, as a download does."""
    filled = MultiDict((name, value) for name, value in given.items(multi=True) if value.strip(", "))
    for name in filled:
        plain = name.removesuffix("[]")
        if plain not in _KNOWN or (plain != name and plain not in _REPEATED):
            raise Invalid(f"{name[:40]}: is not a parameter here; the parameters are {', '.join(sorted(_KNOWN))}")
        if plain not in _REPEATED and len(filled.getlist(name)) > 1:
            raise Invalid(f"{name}: is repeated; give it once")
    try:
        asked: Asked = _SCHEMA.load(filled)["asked"]
    except ValidationError as fault:
        raise Invalid(" ".join(f"{name}: {' '.join(told)}" for name, told in fault.messages_dict.items())) from None
    return asked
