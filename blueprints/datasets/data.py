"""Data: sent to a dataset, consumed as it comes, read back."""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

import msgspec
from flask import Response, request
from werkzeug.exceptions import UnsupportedMediaType

from blueprints import envelope
from blueprints.bodies import plain_body, read_records
from blueprints.current import house
from blueprints.datasets.access import PERHAPS, answers, blueprint, readable, route, sender, writable
from blueprints.datasets.openapi import DATASET_ID, EVENT_BODY, READ
from blueprints.datasets.schemas import EventsSchema, IngestedSchema, OutSchema, enveloped
from blueprints.datasets.validation import fault_of_event
from blueprints.idempotency import IDEMPOTENCY_KEY, REPLAYED_HEADERS, repeated, replay
from blueprints.records import HEADERS, RecordsSchema, sent
from smarthouse_api.arrow.times import time_text
from smarthouse_api.collections.fast_path import UniformReader
from smarthouse_api.collections.topic import TopicEvent
from smarthouse_api.errors import Invalid

Records = TypeVar("Records")


class _Events(msgspec.Struct, Generic[Records], forbid_unknown_fields=True):
    """A batch as it mostly is."""

    id: str
    ver: str
    ts: str
    params: dict[str, str]
    data: Records


_EVENTS: Final = UniformReader(_Events)
DONE = {"message": "Data ingested successfully"}


@route("/data/in/<segment:dataset_id>", methods=["POST"], parameters=[DATASET_ID])
@blueprint.response(200, enveloped(IngestedSchema), headers=REPLAYED_HEADERS)
@answers(401, 403, 404, 413, 415, parameters=[IDEMPOTENCY_KEY], requestBody=EVENT_BODY, security=PERHAPS)
def data_in(dataset_id: str) -> Response:
    """Send data to a dataset: one record, or a batch that is stored whole or not at all.

    Records that the dataset's schema refuses become dead letters. The answer is the same.
    """
    # What is no JSON by its type, a page of any site may have its visitors' browsers send, and an open dataset asks for no key.
    if "Origin" in request.headers and not request.is_json:
        raise UnsupportedMediaType("Pages send this with `Content-Type: application/json`")
    body = plain_body()
    given = read_records(body, _EVENTS)
    envelope.note_message(given)
    if (fault := fault_of_event(given)) is not None:
        raise Invalid(fault)
    collection, owner_id = writable(dataset_id)
    data = given["data"]
    # As in Obsrv, nothing is done well with nothing.
    if data == []:
        return envelope.told(DONE)
    accepted = house().collections.accepting.accept(
        collection,
        data if isinstance(data, list) else [data],
        message_id=given["params"]["msgid"],
        request_key=repeated(owner_id or sender(), body),
    )
    return envelope.told(DONE, replay(accepted.replayed), id_=accepted.id, at=accepted.at)


@route("/data/out/<segment:dataset_id>", parameters=[DATASET_ID])
@blueprint.arguments(OutSchema(), location="query", error_status_code=400)
@blueprint.response(200, enveloped(EventsSchema))
@answers(401, 403, 404, security=PERHAPS)
def data_out(query: dict[str, Any], dataset_id: str) -> Response:
    """Consume the events of a dataset in order, from any position.

    The answer holds what the entry topic keeps. Send `next` as `after` in the next request, even if there are no events yet. A
    public dataset needs no key.
    """
    page = house().collections.topic.read(readable(dataset_id), **query)
    told = {"events": list(map(_event, page.events)), "next": page.next, "first": page.first, "missed": page.is_missed}
    return envelope.told(told)


@route("/datasets/records/<segment:dataset_id>", parameters=[DATASET_ID])
@blueprint.arguments(RecordsSchema(), location="query", error_status_code=400)
@blueprint.doc(responses={"200": {"description": "The records", "content": READ, "headers": HEADERS}})
@answers(401, 403, 404, security=PERHAPS)
def records(query: dict[str, Any], dataset_id: str) -> Response:
    """Read records back, in the order of their arrival.

    A public dataset needs no key.
    """
    before, after = envelope.around()
    return sent(readable(dataset_id), query, (before + b"{", after))


def _event(event: TopicEvent) -> dict[str, Any]:
    told = {
        "position": event.position,
        "received_at": time_text(event.received_at),
        "msgid": event.msgid,
        "event": event.record,
    }
    return told if event.fault is None else {**told, "fault": event.fault}
