"""Sessions: ranges of packets that a client marked, or is writing now."""

from __future__ import annotations

from typing import Any

from flask import Response, url_for
from flask.views import MethodView

from blueprints.bodies import plain_body
from blueprints.current import house
from blueprints.idempotency import IDEMPOTENCY_KEY, REPLAYED_HEADERS, replayed_header, request_key
from blueprints.responses import empty_response, json_response
from blueprints.streams.api import Place, Visit, answers, blueprint, route
from blueprints.streams.bodies import new_bounds, timeout_seconds
from blueprints.streams.openapi import BOUNDS_BODY, LOCATION_HEADERS, PAGE_HEADERS, TIMEOUT_BODY
from blueprints.streams.representations import page_response, session_object
from blueprints.streams.schemas import RangeSchema, SessionSchema
from smarthouse_api.streams.model import Session as NewSession


@route("/<segment:streamName>/sessions")
class Sessions(MethodView):
    @blueprint.arguments(RangeSchema(), location="query", error_status_code=400)
    @blueprint.response(200, SessionSchema(many=True), headers=PAGE_HEADERS)
    @answers()
    def get(self, query: dict[str, Any], visit: Visit) -> Response:
        """Get the sessions that have a packet in a range."""
        stream = visit.stream_if_any()
        found = [] if stream is None else house().streams.sessions.within(stream, query["start"], query["stop"])
        return page_response(found, query, session_object)

    @blueprint.response(201, SessionSchema, headers={**LOCATION_HEADERS, **REPLAYED_HEADERS})
    @answers(400, 404, 409, 413, 415, parameters=[IDEMPOTENCY_KEY], requestBody=BOUNDS_BODY)
    def post(self, visit: Visit) -> Response:
        """Add a session: mark a range of packets."""
        body = plain_body()
        bounds, repeat = new_bounds(body), request_key(visit.owner.id, body)
        session, replayed = house().streams.sessions.add(visit.stream(), *bounds, visit.owner, repeat)
        return _created(visit, session, replayed_header(replayed))


@route("/<segment:streamName>/sessions/open", methods=["POST"])
@blueprint.response(201, SessionSchema, description="A new session", headers=LOCATION_HEADERS)
@blueprint.alt_response(200, schema=SessionSchema, description="The key had this session open; it is renewed")
@answers(400, 404, 409, 413, 415, requestBody=TIMEOUT_BODY)
def open_session(visit: Visit) -> Response:
    """Open a session and own the stream: no other key can append to it.

    The session closes when it is closed, or when its timeout passes without a packet or a renewal.
    """
    timeout = timeout_seconds()
    session, is_new = house().streams.sessions.open(visit.stream(), visit.owner, timeout)
    return _created(visit, session, {}) if is_new else json_response(session_object(session))


@route("/<segment:streamName>/sessions/<segment:sessionId>")
class Session(MethodView):
    @blueprint.response(200, SessionSchema)
    @answers(400, 404)
    def get(self, visit: Visit) -> Response:
        """Get a session."""
        return json_response(session_object(house().streams.sessions.find(visit.stream(), visit.session_id)))

    @blueprint.response(204, description="The session is deleted; its packets stay")
    @answers(400, 404, 409)
    def delete(self, visit: Visit) -> Response:
        """Delete a session."""
        house().streams.sessions.delete(visit.stream(), visit.session_id)
        return empty_response()


@route("/<segment:streamName>/sessions/<segment:sessionId>/close", methods=["POST"])
@blueprint.response(200, SessionSchema, description="The closed session")
@blueprint.alt_response(204, description="The session had no packet, and is deleted")
@answers(400, 404, 409)
def close_session(visit: Visit) -> Response:
    """Close a session: let others append to the stream again."""
    session = house().streams.sessions.close(visit.stream(), visit.session_id, visit.owner)
    return empty_response() if session is None else json_response(session_object(session))


@route("/<segment:streamName>/sessions/<segment:sessionId>/hold")
class Hold(MethodView):
    @blueprint.response(204, description="The session cannot be deleted now")
    @answers(400, 404)
    def put(self, visit: Visit) -> Response:
        """Hold a session, so that it cannot be deleted."""
        house().streams.sessions.hold(visit.stream(), visit.session_id, visit.owner)
        return empty_response()

    @blueprint.response(204, description="This key no longer holds the session")
    @answers(400, 404)
    def delete(self, visit: Visit) -> Response:
        """Release a session, so that it can be deleted again."""
        house().streams.sessions.release(visit.stream(), visit.session_id, visit.owner)
        return empty_response()


def _created(place: Place, session: NewSession, headers: dict[str, str]) -> Response:
    location = url_for(".Session", **place.names, sessionId=session.id)
    return json_response(session_object(session), 201, {"Location": location, **headers})
