"""Sessions of people at the console: the cookie that says which one, and the token that each of its forms sends along."""

from __future__ import annotations

from typing import Any, Final

from flask import Response, redirect, request, url_for
from flask_babel import gettext
from werkzeug.datastructures import MultiDict

from blueprints.console.forms import read_form
from blueprints.console.policy import PATH
from blueprints.current_request import house
from smarthouse_api.access.sessions import Session
from smarthouse_api.errors import Forbidden

FORM_TOKEN: Final = "form_token"  # noqa: S105 - the name of a field
LOOKS: Final = "Console-Looks"
"""The header of a request that a page sends by itself."""


def current(kind: str) -> Session | None:
    """Find the session of the request; None if it has ended, or never began. kind: such as `home`.

    It goes on by what a person does, and not by a page that looks for what is new.
    """
    token, is_act = request.cookies.get(_cookie(kind)), LOOKS not in request.headers
    return None if not token else house().sessions.find(kind, token, goes_on=is_act)


def required_form(kind: str) -> tuple[Session, MultiDict[str, str]]:
    """Read a form that changes something, and find its session. Raises `Forbidden` unless a page of the session sent it."""
    session, form = current(kind), read_form()
    if session is None or not session.sent(form.get(FORM_TOKEN)):
        raise Forbidden(gettext("Your session has ended. Sign in again."))
    return session, form


def led_to(endpoint: str, session: Session, **values: Any) -> Response:
    """Lead to a page, in a session. It ends another one whose cookie it replaces."""
    if (old := request.cookies.get(_cookie(session.said.kind))) and old != session.token:
        house().sessions.end(old)
    response = _led(endpoint, **values)
    options = {"secure": request.is_secure, "httponly": True, "samesite": "Strict", "path": _path()}
    response.set_cookie(_cookie(session.said.kind), session.token, **options)  # type: ignore[arg-type]
    return response


def leave(response: Response, session: Session) -> Response:
    """End a session, and have the browser forget its cookie."""
    house().sessions.end(session.token)
    name, is_secure = _cookie(session.said.kind), request.is_secure
    response.delete_cookie(name, path=_path(), secure=is_secure, httponly=True, samesite="Strict")
    return response


def _led(endpoint: str, **values: Any) -> Response:
    led = redirect(url_for(endpoint, **values), 303)
    assert isinstance(led, Response)
    return led


def left_to(endpoint: str, session: Session, **values: Any) -> Response:
    """End a session, and lead to a page."""
    return leave(_led(endpoint, **values), session)


def _cookie(kind: str) -> str:
    name = f"smarthouse_{kind}"
    return f"__Secure-{name}" if request.is_secure else name


def _path() -> str:
    return f"{request.script_root}{PATH}"
