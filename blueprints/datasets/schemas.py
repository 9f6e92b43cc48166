"""What datasets take in a query, and give."""

from __future__ import annotations

import re
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields

from blueprints.openapi import TIME
from blueprints.parameters import AT_LEAST_ONE, QuerySchema, WholeNumberField
from smarthouse_api.collections.model import MODES

_POSITION = "1700000000000-0"
_DEAD_LETTER_ID: Final = re.compile(r"[0-9a-f-]{1,60}", re.ASCII)


class ParamsSchema(Schema):
    """Describes the member `params` of every answer: its outcome, its own id and the id of its request."""

    status = fields.String(metadata={"enum": ["SUCCESS", "FAILED"], "example": "SUCCESS"})
    msgid = fields.String(metadata={"description": "Id of the request, if it could be read"})
    resmsgid = fields.String(metadata={"format": "uuid", "description": "Id of the answer"})


class EnvelopeSchema(Schema):
    """Describes Obsrv's envelope, which every answer comes in."""

    id = fields.String(metadata={"description": "Name of the API", "example": "api.data.in"})
    ver = fields.String(metadata={"example": "v2"})
    ts = fields.String(metadata={"format": "date-time", "example": "2024-05-30T18:05:48+00:00"})
    params = fields.Nested(ParamsSchema)
    responseCode = fields.String(metadata={"example": "OK"})


def in_envelope(kind: type[Schema]) -> type[Schema]:
    """Document the envelope around a result."""
    return EnvelopeSchema.from_dict({"result": fields.Nested(kind)}, name=f"Enveloped{kind.__name__}")


class DeadLetterId(fields.String):
    """Reads the id of a dead letter."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not _DEAD_LETTER_ID.fullmatch(value):
            raise ValidationError(f"{value[:40]!r} is not the id of a dead letter; give `next` of an earlier answer.")
        return str(value)


class OutSchema(QuerySchema):
    """Selects the events that a consumer reads from the entry topic."""

    after = fields.String(
        load_default="0",
        metadata={"description": "Only events after this position; 0: all that the topic keeps", "example": "0"},
    )
    limit = WholeNumberField(
        "Largest number of events; large events may come in smaller pages",
        100,
        10_000,
        load_default=1000,
        validate=AT_LEAST_ONE,
    )


class DeadLettersQuerySchema(QuerySchema):
    """Selects a page of dead letters."""

    after = DeadLetterId(metadata={"description": "Only those after this one: `next` of an earlier answer"})
    limit = WholeNumberField("Largest number of dead letters", 100, 1000, load_default=100, validate=AT_LEAST_ONE)


class ReadSchema(QuerySchema):
    """Selects the members of a dataset that the answer holds."""

    names = fields.String(
        data_key="fields", metadata={"description": "Members, separated by commas; absent: all", "example": "dataset_id,name"}
    )
    mode = fields.String(metadata={"description": "Obsrv's `edit`; ignored, because this service has no drafts"})


class IngestedSchema(Schema):
    """Tells a sender that its records are stored, or are dead letters if a strict schema refused them."""

    message = fields.String(metadata={"example": "Data ingested successfully"})


class TopicEventSchema(Schema):
    """Describes a record in the entry topic."""

    position = fields.String(metadata={"example": _POSITION})
    received_at = fields.String(metadata=TIME)
    msgid = fields.String(allow_none=True, metadata={"description": "Id of the request; null if it had none"})
    event = fields.Dict(metadata={"example": {"eid": "INTERACT"}})
    fault = fields.String(metadata={"description": "Why the record fails the schema; absent if it passes"})


class EventPageSchema(Schema):
    """Gives a consumer the events after its position, and the position to go on from."""

    events = fields.List(fields.Nested(TopicEventSchema))
    next = fields.String(metadata={"description": "The `after` of the next request", "example": _POSITION})
    first = fields.String(
        metadata={"description": "Position of the oldest event that the topic keeps, or of the next one", "example": _POSITION}
    )
    missed = fields.Boolean(
        metadata={"description": "`true` if the topic no longer keeps all events after `after`", "example": False}
    )


class DeadLetterSchema(Schema):
    """Describes a dead letter: a record that the schema refused."""

    id = fields.String(metadata={"example": "0006189c2b1d4e00-9a44ac5b-000000"})
    reason = fields.String(metadata={"example": '"eid" is a required property'})
    received_at = fields.String(metadata=TIME)
    msgid = fields.String(allow_none=True, metadata={"description": "Id of the request that brought it"})
    record = fields.Dict(metadata={"example": {"ets": 1668591949682}})


class DeadLetterPageSchema(Schema):
    """Lists a page of dead letters."""

    records = fields.List(fields.Nested(DeadLetterSchema))
    next = fields.String(allow_none=True, metadata={"description": "The next `after`; null at the end"})


class DiscardedSchema(Schema):
    """Confirms that a dead letter was discarded."""

    message = fields.String(metadata={"example": "Record discarded successfully"})
    id = fields.String(metadata={"description": "Id of the dead letter"})


class ReplayedSchema(Schema):
    """Tells how many dead letters a replay stored, and where the next one begins."""

    stored = fields.Integer(
        metadata={"description": "Number of records that now pass the schema, and are stored", "example": 1}
    )
    left = fields.Integer(metadata={"description": "Number of records that still fail it", "example": 0})
    next = fields.String(allow_none=True, metadata={"description": "The next `after`; null at the end"})


class _Changed(Schema):
    """Describes what the answers to creating and to updating a dataset share."""

    id = fields.String(metadata={"description": "Id of the dataset", "example": "trips"})
    version_key = fields.String(
        metadata={"description": "Changes with each change of the dataset", "example": "1713442037275000"}
    )
    warnings = fields.List(
        fields.String(), metadata={"description": "Parts of the request that are kept but not used; absent if none"}
    )


class CreatedSchema(_Changed):
    """Confirms that a dataset was created, and is live."""


class UpdatedSchema(_Changed):
    """Confirms that a dataset was changed."""

    message = fields.String(metadata={"example": "Dataset is updated successfully"})


class AliasedSchema(Schema):
    """Confirms that an alias was attached or detached."""

    message = fields.String(metadata={"example": "Dataset alias name 'journeys' attached successfully"})
    dataset_id = fields.String(metadata={"example": "trips"})


class DatasetSchema(Schema):
    """Describes a dataset's definition. The request that creates a dataset describes the members beyond Obsrv's."""

    id = fields.String(metadata={"example": "example"})
    dataset_id = fields.String(metadata={"description": "The same as `id`", "example": "example"})
    name = fields.String()
    alias = fields.String(allow_none=True)
    type = fields.String(metadata={"example": "event"})
    status = fields.String(metadata={"example": "Live"})
    tags = fields.List(fields.String())
    version = fields.Integer(metadata={"example": 1})
    api_version = fields.String(metadata={"example": "v2"})
    version_key = fields.String(metadata={"description": "Changes with each change of the dataset"})
    data_schema = fields.Dict(allow_none=True)
    validation_config = fields.Dict(metadata={"example": {"validate": True, "mode": "Strict"}})
    dedup_config = fields.Dict(metadata={"example": {"drop_duplicates": False, "dedup_key": None, "dedup_period": 604800}})
    extraction_config = fields.Dict(metadata={"example": {"is_batch_event": False}})
    dataset_config = fields.Dict(metadata={"example": {"keys_config": {"timestamp_key": "ets"}, "entry_topic": "example"}})
    denorm_config = fields.Dict(metadata={"example": {"denorm_fields": []}})
    transformations_config = fields.List(fields.Dict())
    connectors_config = fields.List(fields.Dict())
    sample_data = fields.Dict()
    client_state = fields.Dict()
    router_config = fields.Dict(metadata={"example": {"topic": "example"}})
    entry_topic = fields.String(allow_none=True)
    mode = fields.String(metadata={"enum": list(MODES)})
    timestamp_field = fields.String(allow_none=True)
    requires_token = fields.Boolean()
    public = fields.Boolean()
    retention = fields.Dict(metadata={"example": {"seconds": None, "bytes": None}})
    stream = fields.String(
        allow_none=True,
        metadata={"description": "Name of the Redis Stream that consumer groups can read; null on other stores"},
    )
    created_by = fields.String(metadata={"example": "SYSTEM"})
    updated_by = fields.String(metadata={"example": "SYSTEM"})
    created_date = fields.String(metadata=TIME)
    updated_date = fields.String(metadata=TIME)


class DatasetListSchema(Schema):
    """Lists the datasets that pass the filters of a request."""

    data = fields.List(fields.Nested(DatasetSchema))
    count = fields.Integer(metadata={"description": "Number of datasets in `data`", "example": 1})
