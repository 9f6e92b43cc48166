"""What Export takes and gives, as its document describes it."""

from __future__ import annotations

from datetime import date
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, pre_load, validate
from werkzeug.datastructures import MultiDict

from blueprints.openapi import BINARY, header, path_parameter
from blueprints.parameters import ACCEPTED_TIMES
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.arrow.times import QUERY, read_time
from smarthouse_api.errors import Invalid
from smarthouse_api.states.aggregates.asked import FIGURES, HOLDS, LAYOUTS, LENGTHS, SOURCES, USUAL_FIGURES, Aggregation
from smarthouse_api.states.query import Filters

FORMAT = path_parameter("format", f"{', '.join(FORMATS)}; upper or lower case", "csv")
ZIP = {"schema": BINARY, "content_type": "application/zip"}
AS_OF = {
    "X-As-Of": header("With `fresh=false`: the answer holds every upload acknowledged before this time", format="date-time")
}
INCOMPLETE = {"X-Incomplete": header("Only if the lake has lost rows, until they are made again: which days lack rows")}
NOTE = {"X-Since-Note": header("With `since`, only if anything else has changed: what, such as that a home was erased")}
HEADERS = {"Content-Disposition": header("The file name"), **INCOMPLETE, **NOTE, **AS_OF}
EMPTY = {"X-Empty-Reason": header("Why the answer is empty"), **AS_OF}


_OTHERS = ("metadata", "fresh", "by", "limit", "unit", "every")
"""Parameters that are no filters."""


class DayField(fields.Field[date]):
    """Reads a UTC day, given as such or as any time in it."""

    def __init__(self, which: str, example: str) -> None:
        described = f"{which} UTC day, inclusive; a time stands for its UTC day"
        super().__init__(metadata={"type": "string", "format": "date", "description": described, "example": example})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> date:
        try:
            read = read_time(value, QUERY)
            if read is not None:
                return read.utc().date()
        except (ValueError, OverflowError) as fault:
            raise ValidationError(f"Bad date format: {value!r} is not a date that exists; {ACCEPTED_TIMES}") from fault
        raise ValidationError(f"Bad date format: {value[:64]!r}; {ACCEPTED_TIMES}")


class CommaSeparatedField(fields.List[str]):
    """Reads a list of texts: given repeatedly, separated by commas, or under `name[]`.

    is_whole: a value under `name[]` is one text, commas included.
    """

    def __init__(self, description: str, example: list[str], *, is_whole: bool = False) -> None:
        self.is_whole = is_whole
        ways = f"repeated, separated by commas, or as `name[]`{', which takes a value whole, commas included' * is_whole}"
        description = f"{description}; {ways}"
        super().__init__(fields.String(), load_default=list, metadata={"description": description, "example": example})


class FiltersSchema(Schema):
    """Selects the rows of an export."""

    date_from = DayField("First", "2020-01-01")
    date_to = DayField("Last", "2030-12-31")
    types = CommaSeparatedField("Home Assistant domains; exact match, case-insensitive", [])
    units = CommaSeparatedField("Units of measurement; exact match, case-sensitive", [], is_whole=True)
    device_classes = CommaSeparatedField("Device classes; exact match, case-insensitive", ["temperature", "humidity"])
    homes = CommaSeparatedField("Homes, by their pseudonyms in exports", [])
    entities = CommaSeparatedField("Entities, by their ids as exports have them; exact match", [])
    time_field = fields.String(
        load_default="updated",
        validate=validate.OneOf(["updated", "changed", "received"]),
        metadata={
            "description": "The time that the dates filter: `updated` is the row's `time`, `changed` is `last_changed` or else"
            " `time`, `received` is when the state change arrived first"
        },
    )

    @pre_load
    def gather(self, data: Any, **_: Any) -> dict[str, Any]:
        found = dict[str, Any]()
        for name, field in self.fields.items():
            if isinstance(field, CommaSeparatedField):
                if name in data or f"{name}[]" in data:
                    found[name] = _listed(data, name, field.is_whole)
            elif name in data:
                found[name] = data[name]
        return found

    @post_load
    def filters(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return self.read(data)

    def read(self, data: dict[str, Any]) -> dict[str, Any]:
        """Make what a view takes of the parameters."""
        return {
            "filters": Filters(
                since=data.get("date_from"),
                until=data.get("date_to"),
                types=tuple(dict.fromkeys(type_.lower() for type_ in data["types"])),
                units=tuple(dict.fromkeys(data["units"])),
                device_classes=tuple(dict.fromkeys(class_.lower() for class_ in data["device_classes"])),
                homes=tuple(dict.fromkeys(data["homes"])),
                entities=tuple(dict.fromkeys(data["entities"])),
                time_field=data["time_field"],
            ),
            **{name: data[name] for name in _OTHERS if name in data},
            "formats": data.get("formats", []) + data.get("format", []),
        }


class DownloadSchema(FiltersSchema):
    """Selects the rows of a download, and says what else it holds."""

    every = fields.String(
        validate=validate.OneOf(list(LENGTHS)),
        metadata={
            "description": "Give aggregates instead of rows: for each entity and interval of this length the mean, weighted by "
            "the time for which each state was held, the least, the greatest and the last number, the share of the time that "
            "is known, and for words the share of each"
        },
    )
    clock = fields.String(
        validate=validate.OneOf(["utc", "local"]),
        metadata={"description": "With `every`: whether intervals go by UTC (default) or by the clock of each home"},
    )
    hold = fields.String(
        validate=validate.OneOf(list(HOLDS)),
        metadata={"description": "With `every`: for how long a state is held at most, if no other follows; `1d` without it"},
    )
    source = fields.String(
        validate=validate.OneOf(SOURCES),
        metadata={
            "description": "With `every`: whether intervals are made of `states` (default), of long-term `statistics` that "
            "were uploaded, or of `all`, each in rows of its own; the column `source` tells them apart"
        },
    )
    layout = fields.String(
        validate=validate.OneOf(LAYOUTS),
        metadata={
            "description": "With `every`: `long` (default), a row for each entity and interval; or `wide`, a row for each home "
            "and interval, with a column for each measured thing, such as `sensor.kitchen_temperature.mean.degC`"
        },
    )
    figures = CommaSeparatedField(
        f"With `layout=wide`: what the columns tell, of {', '.join(FIGURES)}; {' and '.join(USUAL_FIGURES)} without it", []
    )
    since = fields.String(
        load_default=None,
        metadata={
            "description": "Give only the rows that entered the lake after this version of a dataset, of any day. The filters "
            "are those of the version. A 400 with `strict` privacy, with rotating pseudonyms, and for long-term statistics: "
            "nobody can tell there what came after a version"
        },
    )
    metadata = fields.Boolean(load_default=True, metadata={"description": "Whether the zip also holds the metadata documents"})
    fresh = fields.Boolean(
        load_default=True,
        metadata={"description": "`false`: answer with what the lake holds now; `X-As-Of` says as of when"},
    )

    def read(self, data: dict[str, Any]) -> dict[str, Any]:
        return {**super().read(data), "aggregation": _aggregation(data), "since": data["since"]}


def _aggregation(data: dict[str, Any]) -> Aggregation | None:
    if "every" in data:
        is_local, source = data.get("clock") == "local", data.get("source", SOURCES[0])
        return Aggregation(data["every"], data.get("hold", "1d"), is_local, _figures(data), source)
    if unused := [name for name in ("clock", "hold", "source", "layout", "figures") if data.get(name)]:
        raise ValidationError({name: ["is only for aggregates; add `every`, or leave it out."] for name in unused})
    return None


def _figures(data: dict[str, Any]) -> tuple[str, ...]:
    """Read what wide columns tell, in their order; none for the long layout."""
    asked = {figure.lower() for figure in data["figures"]}
    if data.get("layout") != "wide":
        if asked:
            raise ValidationError({"figures": ["are only for the wide layout; add `layout=wide`, or leave them out."]})
        return ()
    if unknown := sorted(asked - set(FIGURES)):
        raise ValidationError({"figures": [f"{unknown[0][:64]!r} is none; they are {', '.join(FIGURES)}."]})
    return tuple(figure for figure in FIGURES if figure in asked) or USUAL_FIGURES


class DatasetQuerySchema(DownloadSchema):
    """Selects the rows of an export and its formats."""

    formats = CommaSeparatedField("Formats of the dataset, upper or lower case", ["json", "csv"])
    format = CommaSeparatedField("The same as `formats`", [])


def known_formats(names: list[str]) -> tuple[str, ...]:
    """Check the names of formats, and return each once, in lower case. Raises `Invalid` for none, or for an unknown one."""
    wanted = tuple(dict.fromkeys(name.lower() for name in names))
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown or not wanted:
        what = f"Unsupported exportation format {unknown[0][:64]!r}" if unknown else "No format was asked for"
        raise Invalid(f"{what}; the formats are {', '.join(FORMATS)}")
    return wanted


def _listed(data: MultiDict[str, str], name: str, is_whole: bool) -> list[str]:
    bracketed = data.getlist(f"{name}[]")
    texts = data.getlist(name) if is_whole else data.getlist(name) + bracketed
    words = [word.strip() for text in texts for word in text.split(",") if word.strip()]
    return words + bracketed if is_whole else words
