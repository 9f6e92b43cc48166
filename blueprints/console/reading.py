"""Who reads the lake at the console, where rows need a key: a researcher signs in with one, and is out once it works no more.

1. The key comes in the body of a `POST`, and is compared and dropped. The session names its id.
2. The key is looked up at each request, as the API does; each download is noted for it, as the API does.
3. An operator who is signed in reads with the operator's own key.
4. A program that sends `Authorization` is treated as by the API.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from flask import Blueprint, Response, g, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from werkzeug.datastructures import MultiDict

from blueprints.console import key_sessions
from blueprints.console.asked import read_asked
from blueprints.console.forms import read_form
from blueprints.console.operator_sessions import KIND as OPERATOR
from blueprints.console.policy import is_fragment
from blueprints.console.sessions import FORM_TOKEN, led_to, left_to, required_form
from blueprints.console.templating import page
from blueprints.current_request import count_request, house
from blueprints.export.readers import needs_key, read_with, require_reader
from blueprints.export.releases import open_releases
from smarthouse_api.access.sessions import Session
from smarthouse_api.errors import Forbidden, Unauthorized

KIND: Final = "reader"
_SESSION: Final = "reader_session"
_OF_ROWS: Final = frozenset(
    f"Console.{name}" for name in ("data", "preview", "typical", "take", "create_job", "job", "cancel_job", "job_file")
)
_JOB: Final = "job"


def add_reading(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of the console, and ask for a key at those that show rows."""

    @blueprint.before_request
    def ask_for_key() -> ResponseReturnValue | None:
        """Find whose request it is; without a session, show where to sign in."""
        if request.endpoint not in _OF_ROWS or not needs_key() or "Authorization" in request.headers:
            return None
        for kind in (KIND, OPERATOR):
            with suppress(Forbidden):  # the settings may ask for another key by now
                if (found := key_sessions.find(kind)) is not None:
                    session, key = found
                    require_reader(key)
                    read_with(key)
                    setattr(g, _SESSION, session)
                    return None
        count_request("export")
        if request.method == "POST" or is_fragment():
            raise Unauthorized(gettext("Your session has ended. Sign in again."))
        return _sign_in_page()

    @blueprint.post("/sign-in")
    def sign_in_reader() -> Response:
        """Begin a session for a key that opens rows, and lead to the page that was asked for."""
        count_request("rights")
        form = read_form()
        session = key_sessions.begin(KIND, form.get("key", ""), require_reader)
        if job := form.get(_JOB):
            return led_to(".job", session, job_id=job[:64])
        asked = read_asked(MultiDict((name, value) for name, value in form.items(multi=True) if name not in ("key", _JOB)))
        led = led_to(".data", session)
        led.headers["Location"] = asked.page()
        return led

    @blueprint.post("/sign-out")
    def leave_reader() -> Response:
        """End the session."""
        return left_to(".data", required_form(KIND)[0])


def reading_session() -> Session | None:
    """Return the session whose key opens the rows of the request; None if none is needed, or a program sends the key."""
    found: Session | None = g.get(_SESSION)
    return found


def checked_form() -> MultiDict[str, str]:
    """Read a form about rows. Raises `Forbidden` unless a page of the session sent it, if there is one."""
    session, form = reading_session(), read_form()
    token = form.pop(FORM_TOKEN, None)
    if session is not None and not session.sent(token):
        raise Forbidden(gettext("Your session has ended. Sign in again."))
    return form


def as_context() -> dict[str, object]:
    """Tell templates whose session the page is of."""
    session = reading_session()
    can_leave = session is not None and session.said.kind == KIND
    return {"reader": session, "can_leave": can_leave}


def _sign_in_page() -> Response:
    """Ask for a key. What was asked for goes along, and not as an address: nobody can have it lead elsewhere."""
    job = (request.view_args or {}).get("job_id")
    asked = [] if job else [*read_asked(request.args).fields()]
    told = {"job": job, "asked": asked, "is_raw": house().settings.exports.privacy == "raw", "releases": open_releases()}
    response = page("console/reader_sign_in.html", **told, action=url_for(".sign_in_reader"))
    response.status_code = 401
    response.headers["WWW-Authenticate"] = "Bearer"
    return response
