"""Reading records back: the query and the answer that data sources and datasets share."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from flask import Response, request
from marshmallow import ValidationError, fields, validate

from blueprints.current_request import house
from blueprints.json_lines import is_json_lines
from blueprints.openapi import BINARY, FREE_OBJECT, header
from blueprints.parameters import ACCEPTED_TIMES, AT_LEAST_ONE, QuerySchema, WholeNumberField
from blueprints.responses import closed_when_sent, file_response, until_broken
from smarthouse_api.arrow.formats import Frame
from smarthouse_api.arrow.times import DAY_US, QUERY, read_time
from smarthouse_api.collections.model import Collection, position_in
from smarthouse_api.collections.read_plan import Selection
from smarthouse_api.collections.record_formats import RECORD_FORMATS
from smarthouse_api.collections.records import RecordsAnswer

LARGEST_PAGE: Final = 100_000
NEXT_CURSOR: Final = "X-Next-Cursor"
HEADERS: Final = {
    NEXT_CURSOR: header("The next `cursor`, if more records follow"),
    "X-Incomplete": header("Only if the lake has lost records: which days lack some"),
}
FILES: Final = {name: one.media_type.partition(";")[0] for name, one in RECORD_FORMATS.items()}
"""Format -> media type."""

RECORDS: Final[dict[str, Any]] = {
    "records": {"type": "array", "items": FREE_OBJECT},
    "next": {"type": "string", "nullable": True, "description": "The next `cursor`; null at the end"},
}
"""The members of an answer in JSON that hold records."""
_BY_MEDIA_TYPE: Final = {media_type: name for name, media_type in FILES.items()}


def documented_content(members: dict[str, Any]) -> dict[str, Any]:
    """Document what a reading answers, by media type. The answer in JSON is an object with these members."""
    told: dict[str, Any] = {
        FILES[name]: {"schema": BINARY if one.packed else {"type": "string"}} for name, one in RECORD_FORMATS.items()
    }
    return told | {FILES["json"]: {"schema": {"type": "object", "properties": members}}}


class TimeField(fields.Field[int]):
    """Reads a time, or a day, as microseconds since 1970. A day stands for its first microsecond; as an end, for its last."""

    def __init__(self, description: str, *, is_end: bool, **options: Any) -> None:
        noted = {"type": "string", "format": "date-time", "description": description}
        super().__init__(metadata=noted, **options)
        self._is_end = is_end

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        try:
            read = read_time(value, QUERY)
        except ValueError as fault:
            raise ValidationError(f"{value[:64]!r} is not a time that exists; {ACCEPTED_TIMES}.") from fault
        if read is None:
            raise ValidationError(f"{value[:64]!r} is not a date or time; {ACCEPTED_TIMES}.")
        return read.us + (DAY_US - 1 if read.is_day and self._is_end else 0)


class Cursor(fields.String):
    """Reads the position where an earlier answer stopped."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if position_in(value) is None:
            raise ValidationError(f"{value[:40]!r} is not a cursor; give the next cursor of an earlier answer.")
        return str(value)


class RecordsSchema(QuerySchema):
    """Selects the records to read back, and the form of the answer."""

    since = TimeField("Records of this time or later; a day begins at midnight UTC", is_end=False, data_key="from")
    until = TimeField("Records of this time or earlier; a day includes all of it", is_end=True, data_key="to")
    limit = WholeNumberField("Largest number of records; absent: all", 1000, LARGEST_PAGE, validate=AT_LEAST_ONE)
    cursor = Cursor(metadata={"description": f"Only records after this one: `{NEXT_CURSOR}` of an earlier answer"})
    format = fields.String(
        validate=validate.OneOf(list(RECORD_FORMATS), error="is not a format here; use one of {choices}."),
        metadata={"description": "Format of the answer; absent: what `Accept` names, or `json`", "example": "json"},
    )
    meta = fields.Boolean(
        load_default=True,
        error_messages={"invalid": "must be true or false."},
        metadata={
            "description": "Whether each record also has `_position`, `_received_at` and, if it fails the schema, `_fault`"
        },
    )


def records_response(collection: Collection, query: dict[str, Any], before: bytes, after: bytes = b"") -> Response:
    """Answer with the records that a query asks for, while they are read; a fault in the middle breaks the connection.

    In the format `json`, `before` and `after` are what comes before and after the member `records` of the answer.
    """
    name = query.get("format") or _accepted()
    selection = Selection(query.get("since"), query.get("until"), query.get("limit"), query.get("cursor"))
    answer = house().collections.records.open(
        collection, selection, name, with_meta=query["meta"], frame=lambda next_cursor: _frame(before, after, next_cursor)
    )
    return closed_when_sent(answer.close, lambda: _response(answer, None if name == "json" else f"{collection.id}.{name}"))


def _response(answer: RecordsAnswer, file_name: str | None) -> Response:
    response = file_response(until_broken("a reading of records", answer.chunks), answer.content_type, file_name)
    if answer.next_cursor is not None:
        response.headers[NEXT_CURSOR] = answer.next_cursor
    if answer.incomplete is not None:
        response.headers["X-Incomplete"] = answer.incomplete
    return response


def _accepted() -> str:
    """Find the format that `Accept` names, if it names exactly one."""
    given = (one.partition(";")[0].strip().lower() for one in request.accept_mimetypes.values())
    named = {"jsonl" if is_json_lines(one) else _BY_MEDIA_TYPE.get(one) for one in given} - {None}
    return named.pop() or "json" if len(named) == 1 else "json"


def _frame(before: bytes, after: bytes, next_cursor: str | None) -> Frame:
    """Make what stands before the first record and after the last."""
    return Frame(before + b'"records":[', b'],"next":' + msgspec.json.encode(next_cursor) + b"}" + after)
