"""What a home may ask for besides being erased: it agrees to terms, sees what is held about it, and takes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint
from marshmallow import ValidationError

from blueprints.answer_times import answered_evenly
from blueprints.bodies import read_json, text_body
from blueprints.byte_ranges import ranged_response
from blueprints.current_request import client_network, house
from blueprints.dialects import problems
from blueprints.ingest.homes import counted_home
from blueprints.ingest.schemas import CONSENT_BODY, HOME_UUID, AgreedSchema, ConsentSchema
from blueprints.openapi import OPTIONAL_BEARER
from blueprints.responses import closed_when_sent, json_response
from smarthouse_api.archives.service import EmptyArchive
from smarthouse_api.archives.shelf import OpenArchive
from smarthouse_api.arrow.times import time_of, time_text
from smarthouse_api.errors import Invalid

_READ_CONSENT = ConsentSchema()


def add_rights(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of Ingest."""

    @blueprint.route("/consent", methods=["PUT"])
    @blueprint.response(200, AgreedSchema)
    @problems(blueprint, "give_consent", parameters=[HOME_UUID], requestBody=CONSENT_BODY, security=OPTIONAL_BEARER)
    def consent() -> Response:
        """Agree to the terms of the service, before the first upload or at any time.

        The service keeps each version with its time, until the home is erased. A consent lifts an objection. The answer is the
        same for a known and for an unknown home, and takes the same time.
        """
        uuid, given = counted_home(asks_for_a_right=True), _agreed(text_body())
        consents = house().states.consents
        with answered_evenly(consents.answer_times):
            agreed = consents.give(uuid, given["terms"], given["tier"], request.remote_addr)
        told = {"terms": agreed.terms, "tier": agreed.tier, "at": time_text(time_of(agreed.at_us))}
        return json_response({"message": "Consent recorded", **told})


def summary(uuid: str) -> Response:
    """Answer how much is held about a home, at the same time whether there is one or not."""
    archives = house().archives
    mark = archives.settled(uuid)  # before: it takes as long for every home, and would be the slowest of the day
    with answered_evenly(archives.answer_times):
        told = archives.summary(uuid, mark)
    return json_response(told, headers={"Cache-Control": "no-store"})


def archive(uuid: str) -> Response:
    """Answer with all that is held about a home, or a part of the same file."""
    archives = house().archives
    owner = archives.owner_of(client_network())
    return archive_response(archives.open(uuid, owner, continues=request.range is not None))


def archive_response(opened: OpenArchive | EmptyArchive) -> Response:
    """Answer with an archive, or a part of the same file."""
    name = f"smarthouse_home_{datetime.fromtimestamp(opened.at, UTC):%Y-%m-%d}.zip"
    file = "an archive", opened.etag, opened.size_bytes, name, "application/zip", opened.body
    return closed_when_sent(opened.close, lambda: ranged_response(*file, is_the_only_one=opened.is_the_only_one))


def _agreed(body: bytes) -> dict[str, str]:
    """Read the body of a consent. Raises `Invalid`, which repeats nothing of what was sent: it may hold the UUID."""
    given = read_json(body)
    if not isinstance(given, dict):
        raise Invalid("The body must be a JSON object with terms and tier")
    return read_consent(given)


def read_consent(given: dict[str, Any]) -> dict[str, str]:
    """Read what a home agrees to. Raises `Invalid`, likewise."""
    try:
        return dict(_READ_CONSENT.load(given))
    except ValidationError as fault:
        known = _READ_CONSENT.fields
        faults = [f"{name}: {told[0]}" for name, told in fault.messages_dict.items() if name in known]
        faults += ["terms and tier are the members that there are"] * (len(faults) < len(fault.messages_dict))
        raise Invalid("; ".join(faults)) from None
