"""Ingest: homes upload their data, and are forgotten."""

from __future__ import annotations

from flask import Response, g, request
from flask.typing import ResponseReturnValue
from flask.views import MethodView
from flask_smorest import Blueprint

from blueprints.answer_times import answered_evenly
from blueprints.bodies import whole_body
from blueprints.current_request import house
from blueprints.dialects import problems
from blueprints.idempotency import IDEMPOTENCY_KEY, replayed_header, sent_key
from blueprints.ingest.receipts import add_receipts, admit
from blueprints.ingest.schemas import BODY, HOME_UUID, ForgottenSchema, ReceiptSchema
from blueprints.openapi import OPTIONAL_BEARER
from blueprints.parameters import refuse_unknown
from blueprints.responses import json_response
from smarthouse_api.errors import Invalid
from smarthouse_api.states.homes import normalised_uuid
from smarthouse_api.states.uploads import MESSAGE, Upload

blueprint = Blueprint("Ingest", __name__, url_prefix="/api/ingest", description="Upload a home's data; erase a home")
blueprint.before_request(refuse_unknown)
add_receipts(blueprint)


@blueprint.route("/data")
class Data(MethodView):
    @blueprint.response(200, ReceiptSchema)
    @problems(
        blueprint,
        "data_upload",
        409,
        parameters=[HOME_UUID, IDEMPOTENCY_KEY],
        requestBody=BODY,
        security=OPTIONAL_BEARER,
    )
    def post(self) -> Response:
        """Upload a home's data.

        The service stores the bytes as they come, and counts the recognised states. After a `200` they are durable.
        """
        sent = sent_key(), g.request_id, request.remote_addr
        upload = Upload(_counted_home(), whole_body(), request.content_encoding, *sent)
        answer = house().states.uploads.receive(upload)
        told = {"message": MESSAGE, **answer.receipt.told(), "duplicate": answer.duplicate}
        return json_response(told, headers=replayed_header(answer.replayed))

    @blueprint.response(200, ForgottenSchema)
    @problems(blueprint, "data_deletion", parameters=[HOME_UUID], security=OPTIONAL_BEARER)
    def delete(self) -> ResponseReturnValue:
        """Erase a home: delete everything ever uploaded under its UUID.

        The answer is the same for a known and for an unknown home, and takes the same time. Only the receipt's id differs,
        and it is random.
        """
        uuid, forgetting, receipts = _counted_home(), house().forgetting, house().receipts
        with answered_evenly(forgetting.answer_times):
            asked = receipts.now()
            receipt = receipts.give(uuid, asked, forgetting.forget(uuid))
        return {"message": "Data successfully deleted", "receipt": receipt}


def _counted_home() -> str:
    """Read the normalised UUID of the home that sends the request, and count the request.

    The key is looked at first, so that a stranger learns nothing of a home. Raises `Invalid`, `TooMany`, `Unauthorized`,
    `Forbidden`.

    Both spellings of the header reach WSGI as one, joined by a comma if both were sent.
    """
    admit()
    given = request.headers.get("Home-UUID")
    if given is None:
        raise Invalid("The header Home-UUID (or Home_UUID) is missing; it must hold the home's UUID")
    named = {normalised_uuid(text) for text in given.split(",")}
    if len(named) > 1:
        raise Invalid("Home-UUID and Home_UUID name different homes; send one of them, or the same in both")
    uuid = named.pop()
    house().rates.count("home", house().states.homes.tag(uuid))
    return uuid
