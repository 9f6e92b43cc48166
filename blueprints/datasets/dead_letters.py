"""Dead letters, records that a dataset's schema refused: listed, fixed, discarded, replayed."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask.views import MethodView

from blueprints import envelope
from blueprints.bodies import text_body
from blueprints.current_request import house
from blueprints.datasets import schemas
from blueprints.datasets.api import answers, blueprint, granted, route
from blueprints.datasets.bodies import request_in
from blueprints.datasets.body_schemas import FIX, REPLAY
from blueprints.datasets.openapi import DATASET_ID, FIX_BODY, RECORD_ID, REPLAY_BODY
from blueprints.idempotency import replayed_header, request_key
from smarthouse_api.arrow.times import time_text
from smarthouse_api.collections.refused import DeadLetter


@route("/datasets/failed/<segment:dataset_id>", parameters=[DATASET_ID])
@blueprint.arguments(schemas.DeadLettersQuerySchema(), location="query", error_status_code=400)
@answers("listDeadLetters", schemas.DeadLetterPageSchema)
def failed(query: dict[str, Any], dataset_id: str) -> Response:
    """List dead letters: records that the dataset's schema refused, the oldest first."""
    some = house().collections.dead_letters.list(granted(dataset_id)[0], **query)
    next_ = some[-1].id if len(some) == query["limit"] else None
    return envelope.response({"records": list(map(_told, some)), "next": next_})


@route("/datasets/failed/<segment:dataset_id>/<segment:record_id>", parameters=[DATASET_ID, RECORD_ID])
class Failed(MethodView):
    @answers("fixDeadLetter", schemas.DeadLetterSchema, requestBody=FIX_BODY)
    def put(self, dataset_id: str, record_id: str) -> Response:
        """Replace a dead letter by a corrected record; a replay then stores it."""
        collection, _ = granted(dataset_id)
        record = request_in(text_body(), FIX)["record"]
        return envelope.response(_told(house().collections.dead_letters.fix(collection, record_id, record)))

    @answers("discardDeadLetter", schemas.DiscardedSchema)
    def delete(self, dataset_id: str, record_id: str) -> Response:
        """Discard a dead letter."""
        house().collections.dead_letters.discard(granted(dataset_id)[0], record_id)
        return envelope.response({"message": "Record discarded successfully", "id": record_id})


@route("/datasets/replay/<segment:dataset_id>", methods=["POST"], parameters=[DATASET_ID])
@answers("replayDeadLetters", schemas.ReplayedSchema, requestBody=REPLAY_BODY, repeatable=True)
def replay_failed(dataset_id: str) -> Response:
    """Replay dead letters: store those that now pass the schema; the others stay."""
    collection, owner_id = granted(dataset_id)
    body = text_body()
    which = request_in(body, REPLAY)
    done = house().collections.dead_letters.replay(
        collection, which.get("ids"), after=which.get("after", ""), request_key=request_key(owner_id, body)
    )
    result = {"stored": done.stored, "left": done.left, "next": done.next}
    return envelope.response(result, replayed_header(done.replayed), id_=done.id, at=done.at)


def _told(one: DeadLetter) -> dict[str, Any]:
    return {
        "id": one.id,
        "reason": one.reason,
        "received_at": time_text(one.received_at),
        "msgid": one.msgid,
        "record": one.record,
    }
