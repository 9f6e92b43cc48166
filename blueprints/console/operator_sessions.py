"""The session of an operator: an administrator's key that still works, looked up at each request."""

from __future__ import annotations

import hmac
from typing import Any, Final

from flask import Response
from flask_babel import gettext
from werkzeug.datastructures import MultiDict

from blueprints.console.sessions import current, required_form
from blueprints.console.templating import page
from blueprints.current_request import house
from smarthouse_api.access.keys import KeyRecord
from smarthouse_api.access.sessions import Session
from smarthouse_api.errors import Forbidden, Invalid

KIND: Final = "operator"


def signed_in() -> Session | None:
    """Find the session, if its key is still an administrator's and works, with the very secret."""
    session = current(KIND)
    return session if session is not None and _key_of(session) is not None else None


def required() -> Session:
    """Find the session. Raises `Forbidden`."""
    if (session := signed_in()) is None:
        raise Forbidden(gettext("Your session has ended. Sign in again."))
    return session


def operator_form() -> tuple[Session, MultiDict[str, str]]:
    """Read a form of the session. Raises `Forbidden`."""
    session, form = required_form(KIND)
    if _key_of(session) is None:
        raise Forbidden(gettext("Your session has ended. Sign in again."))
    return session, form


def operator_page(template: str, session: Session, **told: Any) -> Response:
    """Answer with a page of the session."""
    return page(template, session=session, **told)


def require_typed(form: MultiDict[str, str], word: str) -> None:
    """Require that a word was typed to confirm. Raises `Invalid`."""
    if form.get("word", "").strip() != word:
        raise Invalid(gettext("Type %(word)s to confirm. Nothing was done.", word=word))


def _key_of(session: Session) -> KeyRecord | None:
    proof = bytes.fromhex(session.said.proof)
    key = house().access.recognise(session.said.who, lambda kept: hmac.compare_digest(kept, proof))
    return key if key is not None and key.admin else None
