"""The owner's page: what a home has given, what is published of it, and the ways to take it along, to agree and to leave."""

from __future__ import annotations

from typing import Any, Final

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from blueprints.answer_times import answered_evenly
from blueprints.console import key_sessions
from blueprints.console.forms import read_form
from blueprints.console.given import given_part
from blueprints.console.histories import history_part
from blueprints.console.history_addresses import AskedHistory, asked_history, entity_token
from blueprints.console.sessions import current, led_to, left_to, required_form
from blueprints.console.templating import page
from blueprints.current_request import client_network, count_request, house
from blueprints.ingest.rights import archive_response, read_consent
from smarthouse_api.access.sessions import Session
from smarthouse_api.errors import Forbidden, Invalid
from smarthouse_api.states.homes import Home, normalised_uuid

KIND: Final = "home"
_LONGEST: Final = 100


def add_home(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of the console."""

    @blueprint.get("/home")
    def home() -> ResponseReturnValue:
        """Show what a home has given, or ask whose page it is."""
        count_request("ingest")
        asked, (session, found) = asked_history(request.args), _signed_in()
        if session is None:
            return page("console/sign_in.html", needs_key=_needs_key())
        held = _held(session, found)
        return page(
            "console/home.html",
            session=session,
            **held,
            **history_part(found, held["looked"], asked, session),
            **given_part(found, asked),
        )

    @blueprint.post("/home")
    def sign_in() -> Response:
        """Begin a session for the home of a UUID; also if there is none, in the same words and time."""
        count_request("ingest")
        count_request("rights")
        archives, form = house().archives, read_form()
        key = _shown_key(form.get("key", ""))
        with answered_evenly(archives.answer_times):
            tag = house().states.homes.tag(_uuid(form.get("uuid", "")))
            session = house().sessions.begin(KIND, tag, _proof(house().states.homes.tagged(tag)), key)
        return led_to(".home", session)

    @blueprint.get("/home/archive")
    def home_archive() -> Response:
        """Give all that is held about the home."""
        count_request("ingest")
        count_request("rights")
        session, _ = _signed_in()
        if session is None:
            raise Forbidden(gettext("Your session has ended. Sign in again."))
        archives = house().archives
        owner = archives.owner_of(client_network())
        return archive_response(archives.open_of(session.said.who, owner, continues=request.range is not None))

    @blueprint.post("/home/consent")
    def home_consent() -> Response:
        """Note that the home agrees to terms."""
        session, form = _form()
        given = read_consent({name: form.get(name, "").strip() for name in ("terms", "tier")})
        with answered_evenly(house().states.consents.answer_times):
            house().states.consents.give_tagged(session.said.who, given["terms"], given["tier"], request.remote_addr)
        return led_to(".home", _begin_again(session))

    @blueprint.post("/home/forget")
    def forget_home() -> Response:
        """Erase the home whose UUID was typed again, and lead to the receipt."""
        session, form = _form()
        uuid, forgetting, receipts = _uuid(form.get("uuid", "")), house().forgetting, house().receipts
        if house().states.homes.tag(uuid) != session.said.who:
            raise Invalid(gettext("This is not the UUID that you signed in with. Nothing was erased."))
        with answered_evenly(forgetting.answer_times):
            asked = receipts.now()
            receipt = receipts.give(uuid, asked, forgetting.forget(uuid, objects="stop" in form))
        return left_to(".receipt", session, receipt_id=receipt)

    @blueprint.post("/home/leave")
    def leave_home() -> Response:
        """End the session."""
        session, _ = required_form(KIND)
        return left_to(".home", session)


def _form() -> tuple[Session, Any]:
    """Admit a form that asks for a right of the home."""
    count_request("ingest")
    count_request("rights")
    session, form = required_form(KIND)
    if not _goes_on(session, _home(session)):
        raise Forbidden(gettext("Your session has ended. Sign in again."))
    return session, form


def _signed_in() -> tuple[Session | None, Home | None]:
    """Find the session and its home. A session ends with its home: one that was forgotten, or came after it, is another."""
    if (session := current(KIND)) is None:
        return None, None
    found = _home(session)
    return (session, found) if _goes_on(session, found) else (None, None)


def _goes_on(session: Session, found: Home | None) -> bool:
    """Tell whether the home is the same, and the key still works that uploads need, if they need one."""
    return _proof(found) == session.said.proof and (not _needs_key() or _has_key(session.said.key))


def _needs_key() -> bool:
    return house().settings.access.ingest_access == "key"


def _shown_key(text: str) -> tuple[str, str] | None:
    """Find the key that was typed, where uploads need one. Raises `Unauthorized`, `Forbidden`, whatever the UUID is."""
    if not _needs_key():
        return None
    key, proof = key_sessions.shown(text)
    house().access.require_ingest(key)
    return key.id, proof


def _has_key(key: tuple[str, str] | None) -> bool:
    found = None if key is None else key_sessions.recognised(*key)
    return found is not None and (found.admin or found.ingest)


def _begin_again(session: Session) -> Session:
    """Go on under another token: a home that was not known is one now."""
    house().sessions.end(session.token)
    return house().sessions.begin(KIND, session.said.who, _proof(_home(session)), session.said.key)


def _home(session: Session) -> Home | None:
    return house().states.homes.tagged(session.said.who)


def _proof(found: Home | None) -> str:
    return "" if found is None else found.key


def _uuid(text: str) -> str:
    """Read a UUID; a text that is none stands for a home that is not known."""
    try:
        return normalised_uuid(text[:_LONGEST])
    except Invalid:
        return text[:_LONGEST]


def _held(session: Session, found: Home | None) -> dict[str, Any]:
    """Tell how much is held about a home, and list its entities."""
    archives = house().archives
    archives.flush()
    return {
        "held": archives.summary_of(session.said.who),
        "looked": archives.looking.entities(found),
        "terms": house().settings.consents.terms,
        "is_strict": house().states.questions.is_strict,
        "address_of": lambda entity_id: AskedHistory(entity_token(session, entity_id)).page(),
    }
