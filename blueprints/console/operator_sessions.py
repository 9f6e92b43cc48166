"""The session of an operator: an administrator's key that still works, looked up at each request."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from flask import Response, request
from flask_babel import gettext
from werkzeug.datastructures import MultiDict

from blueprints.console import key_sessions
from blueprints.console.sessions import required_form
from blueprints.console.templating import page
from smarthouse_api.access.keys import Owner
from smarthouse_api.access.sessions import Session
from smarthouse_api.arrow.times import time_text
from smarthouse_api.errors import Forbidden, InUse, Invalid

KIND: Final = "operator"


def signed_in() -> Session | None:
    """Find the session, if its key is still an administrator's and works, with the very secret."""
    found = key_sessions.find(KIND)
    return found[0] if found is not None and found[1].admin else None


def required() -> Session:
    """Find the session. Raises `Forbidden`."""
    if (session := signed_in()) is None:
        raise Forbidden(gettext("Your session has ended. Sign in again."))
    return session


def operator_form() -> tuple[Session, MultiDict[str, str]]:
    """Read a form of the session. Raises `Forbidden`."""
    session, form = required_form(KIND)
    if signed_in() is None:
        raise Forbidden(gettext("Your session has ended. Sign in again."))
    return session, form


def owner_of(session: Session) -> Owner:
    """Name the holder of the session's key, as the author of what they do. Raises `Forbidden`."""
    if (key := key_sessions.recognised(session.said.who, session.said.proof)) is None:
        raise Forbidden(gettext("Your session has ended. Sign in again."))
    return key.owner


def operator_page(template: str, session: Session, **told: Any) -> Response:
    """Answer with a page of the session."""
    return page(template, session=session, **told)


def require_typed(form: MultiDict[str, str], word: str) -> None:
    """Require that a word was typed to confirm. Raises `Invalid`."""
    if form.get("word", "").strip() != word.strip():
        raise Invalid(gettext("Type %(word)s to confirm. Nothing was done.", word=word))


def require_same(form: MultiDict[str, str], created_at: datetime) -> None:
    """Require that the page which sent a form was of this very thing, and not of one before of its name. Raises `InUse`."""
    if form.get("made") != time_text(created_at):
        told = gettext(
            "What the page showed was deleted, and another was made under its name. Nothing was done. Look at it first."
        )
        raise InUse(told)


def read_query(*names: str) -> dict[str, str]:
    """Read the query of a page that knows these parameters. Raises `Invalid` for others, and for one that is repeated."""
    for name, values in request.args.lists():
        if name not in names:
            raise Invalid(f"{name[:40]}: is not a parameter here; the parameters are {', '.join(names)}")
        if len(values) > 1:
            raise Invalid(f"{name}: is repeated; give it once")
    return request.args.to_dict()
