"""Ingest: homes upload their data, and are forgotten."""

from __future__ import annotations

from flask import Response, g, request
from flask.typing import ResponseReturnValue
from flask.views import MethodView
from flask_smorest import Blueprint

from blueprints.answer_times import answered_evenly
from blueprints.bodies import whole_body
from blueprints.byte_ranges import KNOWN, PART, PART_HEADERS
from blueprints.current_request import house
from blueprints.dialects import problems
from blueprints.idempotency import IDEMPOTENCY_KEY, replayed_header, sent_key
from blueprints.ingest.homes import counted_home
from blueprints.ingest.receipts import add_receipts
from blueprints.ingest.rights import add_rights, archive, summary
from blueprints.ingest.schemas import (
    BODY,
    HELD_HEADERS,
    HOME_UUID,
    ZIP,
    DeletionQuerySchema,
    ForgottenSchema,
    HeldQuerySchema,
    HeldSchema,
    ReceiptSchema,
)
from blueprints.openapi import OPTIONAL_BEARER
from blueprints.parameters import refuse_unknown
from blueprints.responses import json_response
from smarthouse_api.states.uploads import MESSAGE, Upload

blueprint = Blueprint("Ingest", __name__, url_prefix="/api/ingest", description="Upload a home's data; erase a home")
blueprint.before_request(refuse_unknown)
add_receipts(blueprint)
add_rights(blueprint)


@blueprint.route("/data")
class Data(MethodView):
    @blueprint.arguments(HeldQuerySchema, location="query", error_status_code=400)
    @blueprint.response(200, **ZIP, description="All that is held, zipped; with `summary`, how much", headers=HELD_HEADERS)
    @blueprint.alt_response(200, schema=HeldSchema)
    @blueprint.alt_response(206, **ZIP, description="The requested bytes of the zip", headers={**HELD_HEADERS, **PART_HEADERS})
    @blueprint.alt_response(304, description="The client has these bytes already")
    @problems(
        blueprint,
        "data_access",
        413,
        416,
        parameters=[HOME_UUID, *PART, KNOWN],
        security=OPTIONAL_BEARER,
    )
    def get(self, query: dict[str, bool]) -> Response:
        """Take all that is held about a home, as a zip, or see how much that is.

        The zip holds the uploads as they came, their receipts, the rows as they are kept and as they are published, the
        consents, and linked streams. It is made when it is asked for, and kept for a while: a client that was broken off goes
        on with `Range`. A home that is not known gets the same files without rows.
        """
        uuid = counted_home(asks_for_a_right=True)
        return summary(uuid) if query["summary"] else archive(uuid)

    @blueprint.response(200, ReceiptSchema)
    @problems(
        blueprint,
        "data_upload",
        403,
        409,
        410,
        parameters=[HOME_UUID, IDEMPOTENCY_KEY],
        requestBody=BODY,
        security=OPTIONAL_BEARER,
    )
    def post(self) -> Response:
        """Upload a home's data.

        The service stores the bytes as they come, and counts the recognised states. After a `200` they are durable.
        """
        sent = sent_key(), g.request_id, request.remote_addr
        upload = Upload(counted_home(), whole_body(), request.content_encoding, *sent)
        answer = house().states.uploads.receive(upload)
        told = {"message": MESSAGE, **answer.receipt.told(), "duplicate": answer.duplicate}
        return json_response(told, headers=replayed_header(answer.replayed))

    @blueprint.arguments(DeletionQuerySchema, location="query", error_status_code=400)
    @blueprint.response(200, ForgottenSchema)
    @problems(blueprint, "data_deletion", parameters=[HOME_UUID], security=OPTIONAL_BEARER)
    def delete(self, query: dict[str, bool]) -> ResponseReturnValue:
        """Erase a home: delete everything ever uploaded under its UUID.

        The answer is the same for a known and for an unknown home, and takes the same time. Only the receipt's id differs,
        and it is random. With `stop=true` the home objects, too: later uploads are refused.
        """
        uuid, forgetting, receipts = counted_home(asks_for_a_right=True), house().forgetting, house().receipts
        with answered_evenly(forgetting.answer_times):
            if query["stop"]:
                house().states.counts.count_right(request.remote_addr)
            asked = receipts.now()
            receipt = receipts.give(uuid, asked, forgetting.forget(uuid, objects=query["stop"]))
        return {"message": "Data successfully deleted", "receipt": receipt}
