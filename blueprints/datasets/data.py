"""Data: sent to a dataset, consumed as it comes, read back."""

from __future__ import annotations

from typing import Any

from flask import Response

from blueprints import envelope
from blueprints.bodies import text_body
from blueprints.current_request import count_request, house
from blueprints.datasets import schemas
from blueprints.datasets.api import answers, blueprint, readable, refuses, route, sender, writable
from blueprints.datasets.bodies import data_of
from blueprints.datasets.openapi import DATASET_ID, EVENT_BODY, READ
from blueprints.home_uuid import NAMED_HOME, sent_home
from blueprints.idempotency import replayed_header, request_key
from blueprints.openapi import OPTIONAL_BEARER
from blueprints.records import HEADERS, RecordsSchema, records_response
from smarthouse_api.arrow.times import time_text
from smarthouse_api.collections.topic import TopicEvent

DONE = {"message": "Data ingested successfully"}


@route("/data/in/<segment:dataset_id>", methods=["POST"], parameters=[DATASET_ID])
@answers(
    "dataIn",
    schemas.IngestedSchema,
    410,
    requestBody=EVENT_BODY,
    headers=[NAMED_HOME],
    repeatable=True,
    security=OPTIONAL_BEARER,
)
def data_in(dataset_id: str) -> Response:
    """Send data to a dataset: one record, or a batch that is stored whole or not at all.

    Records that the dataset's schema refuses become dead letters. The answer is the same.
    """
    if house().collections.catalogue.get(dataset_id) is None:
        count_request("unknown")  # the body is looked at first, which costs more than the answer
    body = text_body()
    data, message_id = data_of(body)
    home = sent_home()
    collection, owner_id = writable(dataset_id)
    # As in Obsrv, nothing is done well with nothing.
    if data == []:
        return envelope.response(DONE)
    is_list = isinstance(data, list)
    records = data if is_list else [data]
    repeat = request_key(owner_id or sender(), body)
    accepted = house().collections.accepting.accept(
        collection, records, message_id=message_id, is_list=is_list, request_key=repeat, home=home
    )
    return envelope.response(DONE, replayed_header(accepted.replayed), id_=accepted.id, at=accepted.at)


@route("/data/out/<segment:dataset_id>", parameters=[DATASET_ID])
@blueprint.arguments(schemas.OutSchema(), location="query", error_status_code=400)
@answers("dataOut", schemas.EventPageSchema, security=OPTIONAL_BEARER)
def data_out(query: dict[str, Any], dataset_id: str) -> Response:
    """Consume the events of a dataset in order, from any position.

    The answer holds what the entry topic keeps. Send `next` as `after` in the next request, even if there are no events yet. A
    public dataset needs no key.
    """
    page = house().collections.topic.read(readable(dataset_id), **query)
    told = {"events": list(map(_event, page.events)), "next": page.next, "first": page.first, "missed": page.is_missed}
    return envelope.response(told)


@route("/datasets/records/<segment:dataset_id>", parameters=[DATASET_ID])
@blueprint.arguments(RecordsSchema(), location="query", error_status_code=400)
@blueprint.doc(responses={"200": {"description": "The records", "content": READ, "headers": HEADERS}})
@refuses("readDatasetRecords", security=OPTIONAL_BEARER)
def records(query: dict[str, Any], dataset_id: str) -> Response:
    """Read records back, in the order of their arrival.

    A public dataset needs no key.
    """
    before, after = envelope.around_result()
    return records_response(readable(dataset_id), query, before + b"{", after)


def _event(event: TopicEvent) -> dict[str, Any]:
    told = {
        "position": event.position,
        "received_at": time_text(event.received_at),
        "msgid": event.msgid,
        "event": event.record,
    }
    return told if event.fault is None else {**told, "fault": event.fault}
