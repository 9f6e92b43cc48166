"""What the questions about the lake's contents take and give, as the document of Export describes it."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from blueprints.export.schemas import INCOMPLETE, CommaSeparatedField, FiltersSchema
from blueprints.openapi import FREE_OBJECT, header
from blueprints.parameters import WholeNumberField
from smarthouse_api.states.aggregates.asked import LENGTHS

CONTENTS_HEADERS = {"ETag": header("Changes when the answer does; send it as `If-None-Match`"), **INCOMPLETE}
MOST_PREVIEWED = 100


def _day(description: str) -> fields.Field[Any]:
    return fields.String(allow_none=True, metadata={"format": "date", "description": description, "example": "2026-03-01"})


def _count(description: str) -> fields.Field[Any]:
    return fields.Integer(metadata={"description": description})


class DaysSchema(Schema):
    """Tells which UTC days have rows."""

    first = _day("The first day that has rows; null if none has")
    last = _day("The last day that has rows")
    count = _count("Number of days that have rows")


class OverviewSchema(Schema):
    """Tells how much is in the lake."""

    version = _count("Version of the lake; -1 if nothing was ever written")
    homes = _count("Number of homes that have rows")
    rows = _count("Number of state changes, each once")
    days = fields.Nested(DaysSchema)
    stored_bytes = _count("Size of the lake's files")
    last_received = _day("The day of the newest arrival")
    waiting = _count("Number of uploads that the lake does not hold yet; 1000 for more")


class FacetSchema(Schema):
    """Counts the rows and homes of one value."""

    value = fields.String(allow_none=True, metadata={"description": "The value; null for rows that have none", "example": "°C"})
    rows = _count("Number of rows")
    homes = _count("Number of homes")


class MeasuredSchema(Schema):
    """Tells what is measured by one type, device class and unit."""

    type = fields.String(metadata={"example": "sensor"})
    device_class = fields.String(allow_none=True, metadata={"example": "temperature"})
    unit = fields.String(allow_none=True, metadata={"example": "°C"})
    rows = _count("Number of rows")
    homes = _count("Number of homes")
    least = fields.Float(allow_none=True, metadata={"description": "The least value; absent with strict privacy"})
    greatest = fields.Float(allow_none=True, metadata={"description": "The greatest value; absent with strict privacy"})


class FacetsSchema(Schema):
    """Counts what passes the filters, and what other choices would find. The most rows come first."""

    rows = _count("Number of rows that pass all filters")
    homes = _count("Number of homes that have such rows")
    types = fields.List(fields.Nested(FacetSchema))
    units = fields.List(fields.Nested(FacetSchema))
    device_classes = fields.List(fields.Nested(FacetSchema))
    measured = fields.List(fields.Nested(MeasuredSchema))


class CoverageQuerySchema(FiltersSchema):
    """Selects rows, and says how they are counted."""

    by = fields.String(
        load_default="day",
        validate=validate.OneOf(["day", "home"]),
        metadata={"description": "`day`: rows and homes of each day. `home`: the rows of each home on each day"},
    )


class CoverageSchema(Schema):
    """Counts rows by columns of days. `homes`: for `by=day` the number of homes, for `by=home` each home's own rows."""

    step = fields.String(metadata={"description": "What a column is: day, week, month, year or century", "example": "day"})
    days = fields.List(fields.String(metadata={"format": "date"}), metadata={"description": "The first day of each column"})
    rows = fields.List(fields.Integer(), metadata={"description": "With `by=day`: the rows of each column"})
    homes = fields.List(
        fields.Raw(metadata={"anyOf": [{"type": "integer"}, FREE_OBJECT]}),
        metadata={"description": "With `by=day`: numbers of homes. With `by=home`: at most 1000 objects `{home, rows}`"},
    )
    homes_in_all = _count("With `by=home`: how many homes there are")


class EstimateQuerySchema(FiltersSchema):
    """Selects rows and formats."""

    formats = CommaSeparatedField("Formats of the download, upper or lower case; without: all", ["csv"])
    format = CommaSeparatedField("The same as `formats`", [])


class EstimateSchema(Schema):
    """Tells the size of a download."""

    version = _count("Version of the lake; -1 if nothing was ever written")
    rows = _count("Number of rows")
    exact = fields.Boolean(metadata={"description": "Whether `rows` is exact: it always is", "example": True})
    homes = _count("Number of homes that have such rows")
    bytes = fields.Dict(fields.String(), fields.Integer(), metadata={"description": "For each format, about how many bytes"})


class PreviewQuerySchema(FiltersSchema):
    """Selects rows, and says how many to give."""

    limit = WholeNumberField(
        f"How many rows to give, from 1 to {MOST_PREVIEWED}",
        20,
        MOST_PREVIEWED,
        minimum=1,
        load_default=20,
    )


class PreviewSchema(Schema):
    """Gives some rows."""

    columns = fields.List(fields.String(), metadata={"description": "The names of the columns, in their order"})
    rows = fields.List(fields.Raw(metadata=FREE_OBJECT), metadata={"description": "Rows, as a download in JSON has them"})


class SeriesQuerySchema(FiltersSchema):
    """Selects rows of one unit, and says how long an interval is."""

    unit = fields.String(required=True, metadata={"description": "The unit; it takes the place of `units`", "example": "°C"})
    every = fields.String(
        load_default="1h",
        validate=validate.OneOf(list(LENGTHS)),
        metadata={"description": "Length of an interval. The newest 2 days of `15m` are read, 7 of `1h`, and 62 of `1d`"},
    )


class PointSchema(Schema):
    """Tells how homes differ in one interval."""

    at = fields.String(metadata={"format": "date-time", "description": "When the interval begins"})
    p10 = fields.Float(metadata={"description": "A tenth of the homes has a lower mean"})
    p50 = fields.Float(metadata={"description": "The median of the homes' means"})
    p90 = fields.Float(metadata={"description": "A tenth of the homes has a higher mean"})
    homes = _count("Number of homes; with strict privacy, intervals of fewer than enough are left out")


class SeriesSchema(Schema):
    """Tells how homes differ over time."""

    unit = fields.String(metadata={"example": "°C"})
    points = fields.List(fields.Nested(PointSchema))
