"""What datasets take in a query, and give."""

from __future__ import annotations

import re
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate

from blueprints.parameters import QuerySchema, Whole
from smarthouse_api.collections.model import MODES

_TIME = {"type": "string", "format": "date-time", "example": "2026-03-01T12:34:56.123456Z"}
_POSITION = "1700000000000-0"
_ASIDE_ID: Final = re.compile(r"[0-9a-f-]{0,60}", re.ASCII)
_AT_LEAST_ONE: Final = validate.Range(1, error="must be at least 1.")


class ParamsSchema(Schema):
    """Whose answer it is."""

    status = fields.String(metadata={"enum": ["SUCCESS", "FAILED"], "example": "SUCCESS"})
    msgid = fields.String(metadata={"description": "The request's, if it could be read"})
    resmsgid = fields.String(metadata={"format": "uuid", "description": "The answer's"})


class EnvelopeSchema(Schema):
    """What every answer comes in."""

    id = fields.String(metadata={"description": "Of the API", "example": "api.data.in"})
    ver = fields.String(metadata={"example": "v2"})
    ts = fields.String(metadata={"format": "date-time", "example": "2024-05-30T18:05:48+00:00"})
    params = fields.Nested(ParamsSchema)
    responseCode = fields.String(metadata={"example": "OK"})


def enveloped(kind: type[Schema]) -> type[Schema]:
    """The envelope around a result of this kind."""
    made = EnvelopeSchema.from_dict({"result": fields.Nested(kind)}, name=f"Enveloped{kind.__name__}")
    made.__doc__ = kind.__doc__
    return made


class AsideId(fields.String):
    """Of a record that was refused; empty: of none."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not _ASIDE_ID.fullmatch(value):
            raise ValidationError(f"{value[:40]!r} is the id of no record; give what an earlier answer called `next`.")
        return str(value)


class OutSchema(QuerySchema):
    """Which events."""

    after = fields.String(
        load_default="0", metadata={"description": "Only what came after this position; 0: all that is kept", "example": "0"}
    )
    limit = Whole(
        "How many to give at most; fewer come also where they are large",
        100,
        10_000,
        load_default=1000,
        validate=_AT_LEAST_ONE,
    )


class PageSchema(QuerySchema):
    """Which records that were refused."""

    after = AsideId(load_default="", metadata={"description": "Only what follows: the `next` of an earlier answer"})
    limit = Whole("How many to give at most", 100, 1000, load_default=100, validate=_AT_LEAST_ONE)


class ReadSchema(QuerySchema):
    """How much of a dataset."""

    names = fields.String(
        data_key="fields", metadata={"description": "Members, parted by commas; absent: all", "example": "dataset_id,name"}
    )
    mode = fields.String(metadata={"description": "Obsrv's `edit`; there is no draft here, so that it changes nothing"})


class IngestedSchema(Schema):
    """The data are stored, or with what a schema refuses set aside."""

    message = fields.String(metadata={"example": "Data ingested successfully"})


class EventSchema(Schema):
    """A record that came."""

    position = fields.String(metadata={"example": _POSITION})
    received_at = fields.String(metadata=_TIME)
    msgid = fields.String(allow_none=True, metadata={"description": "Of the request; null if it had none"})
    event = fields.Dict(metadata={"example": {"eid": "INTERACT"}})
    fault = fields.String(metadata={"description": "Why it fails the schema, if it was kept all the same"})


class EventsSchema(Schema):
    """What the entry topic keeps after a position."""

    events = fields.List(fields.Nested(EventSchema))
    next = fields.String(metadata={"description": "The `after` of the next request", "example": _POSITION})
    first = fields.String(
        metadata={"description": "Position of the oldest that is kept, or will be the first to come", "example": _POSITION}
    )
    missed = fields.Boolean(
        metadata={"description": "Whether some that came after `after` is not kept any more", "example": False}
    )


class FailedSchema(Schema):
    """A record that the schema refused."""

    id = fields.String(metadata={"example": "0006189c2b1d4e00-9a44ac5b-000000"})
    reason = fields.String(metadata={"example": '"eid" is a required property'})
    received_at = fields.String(metadata=_TIME)
    msgid = fields.String(allow_none=True, metadata={"description": "Of the request that it came with"})
    record = fields.Dict(metadata={"example": {"ets": 1668591949682}})


class FailedPageSchema(Schema):
    """Some of the records that the schema refused."""

    records = fields.List(fields.Nested(FailedSchema))
    next = fields.String(allow_none=True, metadata={"description": "The next `after`; null: there is no more"})


class DiscardedSchema(Schema):
    """The record is gone."""

    message = fields.String(metadata={"example": "Record discarded successfully"})
    id = fields.String(metadata={"description": "The record's"})


class ReplayedSchema(Schema):
    """What became of records that had been refused."""

    stored = fields.Integer(metadata={"description": "How many pass the schema by now, and are stored", "example": 1})
    left = fields.Integer(metadata={"description": "How many still fail it", "example": 0})
    next = fields.String(allow_none=True, metadata={"description": "The next `after`, if there are more; else null"})


class _Changed(Schema):
    id = fields.String(metadata={"description": "Of the dataset", "example": "trips"})
    version_key = fields.String(metadata={"description": "Another with each change", "example": "1713442037275000"})
    warnings = fields.List(fields.String(), metadata={"description": "What was not used of the request; absent for nothing"})


class CreatedSchema(_Changed):
    """The dataset is live."""


class UpdatedSchema(_Changed):
    """The dataset is changed."""

    message = fields.String(metadata={"example": "Dataset is updated successfully"})


class AliasedSchema(Schema):
    """The alias is attached or detached."""

    message = fields.String(metadata={"example": "Dataset alias name 'journeys' attached successfully"})
    dataset_id = fields.String(metadata={"example": "trips"})


class DatasetSchema(Schema):
    """A dataset's definition. What goes beyond Obsrv's is described with the request that makes one."""

    id = fields.String(metadata={"example": "example"})
    dataset_id = fields.String(metadata={"description": "The same", "example": "example"})
    name = fields.String()
    alias = fields.String(allow_none=True)
    type = fields.String(metadata={"example": "event"})
    status = fields.String(metadata={"example": "Live"})
    tags = fields.List(fields.String())
    version = fields.Integer(metadata={"example": 1})
    api_version = fields.String(metadata={"example": "v2"})
    version_key = fields.String(metadata={"description": "Another with each change"})
    data_schema = fields.Dict(allow_none=True)
    validation_config = fields.Dict(metadata={"example": {"validate": True, "mode": "Strict"}})
    dedup_config = fields.Dict(metadata={"example": {"drop_duplicates": False, "dedup_key": None, "dedup_period": 604800}})
    dataset_config = fields.Dict(metadata={"example": {"keys_config": {"timestamp_key": "ets"}, "entry_topic": "example"}})
    router_config = fields.Dict(metadata={"example": {"topic": "example"}})
    entry_topic = fields.String(allow_none=True)
    mode = fields.String(metadata={"enum": list(MODES)})
    timestamp_field = fields.String(allow_none=True)
    requires_token = fields.Boolean()
    public = fields.Boolean()
    retention = fields.Dict(metadata={"example": {"seconds": None, "bytes": None}})
    stream = fields.String(
        allow_none=True, metadata={"description": "On Redis, the stream that consumer groups read; elsewhere null"}
    )
    created_date = fields.String(metadata=_TIME)
    updated_date = fields.String(metadata=_TIME)


class DatasetsSchema(Schema):
    """Some datasets."""

    data = fields.List(fields.Nested(DatasetSchema))
    count = fields.Integer(metadata={"description": "How many these are", "example": 1})
