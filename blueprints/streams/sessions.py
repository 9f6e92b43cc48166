"""Sessions: ranges of packets that a client marked, or is writing now."""

from __future__ import annotations

from typing import Any

from flask import Response, url_for
from flask.views import MethodView

from blueprints.bodies import text_body
from blueprints.current_request import house
from blueprints.idempotency import IDEMPOTENCY_KEY, REPLAYED_HEADERS, replayed_header, request_key
from blueprints.responses import empty_response, json_response
from blueprints.streams.api import AuthorizedPath, StreamPath, answers, blueprint, route
from blueprints.streams.bodies import new_bounds, timeout_seconds
from blueprints.streams.openapi import BOUNDS_BODY, LOCATION_HEADERS, PAGE_HEADERS, TIMEOUT_BODY
from blueprints.streams.representations import page_response, session_object
from blueprints.streams.schemas import RangeSchema, SessionSchema
from smarthouse_api.streams.model import Session as NewSession


@route("/<segment:streamName>/sessions")
class Sessions(MethodView):
    @blueprint.arguments(RangeSchema(), location="query", error_status_code=400)
    @blueprint.response(200, SessionSchema(many=True), headers=PAGE_HEADERS)
    @answers("listSessions")
    def get(self, query: dict[str, Any], path: AuthorizedPath) -> Response:
        """Get the sessions that have a packet in a range."""
        stream = path.stream_if_any()
        found = [] if stream is None else house().streams.sessions.within(stream, query["start"], query["stop"])
        return page_response(found, query, session_object)

    @blueprint.response(201, SessionSchema, headers={**LOCATION_HEADERS, **REPLAYED_HEADERS})
    @answers("addSession", 409, parameters=[IDEMPOTENCY_KEY], requestBody=BOUNDS_BODY)
    def post(self, path: AuthorizedPath) -> Response:
        """Add a session: mark a range of packets."""
        body = text_body()
        bounds, repeat = new_bounds(body), request_key(path.owner.id, body)
        session, replayed = house().streams.sessions.add(path.stream(), *bounds, path.owner, repeat)
        return _created(path, session, replayed_header(replayed))


@route("/<segment:streamName>/sessions/open", methods=["POST"])
@blueprint.response(201, SessionSchema, description="A new session", headers=LOCATION_HEADERS)
@blueprint.alt_response(200, schema=SessionSchema, description="The key had this session open; it is renewed")
@answers("openSession", 409, requestBody=TIMEOUT_BODY)
def open_session(path: AuthorizedPath) -> Response:
    """Open a session and own the stream: no other key can append to it.

    The session closes when it is closed, or when its timeout passes without a packet or a renewal.
    """
    timeout = timeout_seconds()
    session, is_new = house().streams.sessions.open(path.stream(), path.owner, timeout)
    return _created(path, session, {}) if is_new else json_response(session_object(session))


@route("/<segment:streamName>/sessions/<segment:sessionId>")
class Session(MethodView):
    @blueprint.response(200, SessionSchema)
    @answers("getSession")
    def get(self, path: AuthorizedPath) -> Response:
        """Get a session."""
        return json_response(session_object(house().streams.sessions.find(path.stream(), path.session_id)))

    @blueprint.response(204, description="The session is deleted; its packets stay")
    @answers("deleteSession", 409)
    def delete(self, path: AuthorizedPath) -> Response:
        """Delete a session."""
        house().streams.sessions.delete(path.stream(), path.session_id)
        return empty_response()


@route("/<segment:streamName>/sessions/<segment:sessionId>/close", methods=["POST"])
@blueprint.response(200, SessionSchema, description="The closed session")
@blueprint.alt_response(204, description="The session had no packet, and is deleted")
@answers("closeSession", 409)
def close_session(path: AuthorizedPath) -> Response:
    """Close a session: let others append to the stream again."""
    session = house().streams.sessions.close(path.stream(), path.session_id, path.owner)
    return empty_response() if session is None else json_response(session_object(session))


@route("/<segment:streamName>/sessions/<segment:sessionId>/hold")
class Hold(MethodView):
    @blueprint.response(204, description="The session cannot be deleted now")
    @answers("holdSession")
    def put(self, path: AuthorizedPath) -> Response:
        """Hold a session, so that it cannot be deleted."""
        house().streams.sessions.hold(path.stream(), path.session_id, path.owner)
        return empty_response()

    @blueprint.response(204, description="This key no longer holds the session")
    @answers("releaseSession")
    def delete(self, path: AuthorizedPath) -> Response:
        """Release a session, so that it can be deleted again."""
        house().streams.sessions.release(path.stream(), path.session_id, path.owner)
        return empty_response()


def _created(path: StreamPath, session: NewSession, headers: dict[str, str]) -> Response:
    location = url_for(".Session", **path.names, sessionId=session.id)
    return json_response(session_object(session), 201, {"Location": location, **headers})
