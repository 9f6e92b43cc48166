"""The operator's pages of dead letters: looked at, fixed and stored, replayed, discarded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from flask import Blueprint, Response
from flask_babel import gettext, ngettext
from werkzeug.datastructures import MultiDict

from blueprints.console.json_texts import one_line, pretty, read_object
from blueprints.console.languages import count_text
from blueprints.console.operator_sessions import operator_form, operator_page, read_query, require_typed, required
from blueprints.console.policy import is_fragment
from blueprints.console.sessions import led_to
from blueprints.current_request import house
from smarthouse_api.access.sessions import Session
from smarthouse_api.arrow.times import seconds_text
from smarthouse_api.collections.dead_letters import DeadLetters, is_id
from smarthouse_api.collections.figures import MOST_COUNTED
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.refused import DeadLetter, why_left
from smarthouse_api.errors import Invalid, NotFound, TooLarge, Unprocessable

_LETTERS: Final = 50
_MOST_SHOWN: Final = 200
"""Characters of a record in the list."""

_LIST: Final = "/operator/collections/<collection_id>/dead-letters"
_ONE: Final = f"{_LIST}/<letter_id>"


def add_dead_letters(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of the operator."""

    @blueprint.get(_LIST)
    def dead_letters(collection_id: str) -> Response:
        """List the records that a dataset's schema refused, the oldest first, a page at a time."""
        after, session = read_query("after").get("after", ""), required()
        if after and not is_id(after):
            raise Invalid("after: must be the id of a dead letter")
        return _list_page(session, _find(collection_id), after)

    @blueprint.post(_LIST)
    def settle_dead_letters(collection_id: str) -> Response:
        """Replay or discard all dead letters, or those that were chosen."""
        session, form = operator_form()
        one = _find(collection_id)
        return _list_page(session, one, **_settled(one, form))

    @blueprint.get(_ONE)
    def dead_letter(collection_id: str, letter_id: str) -> Response:
        """Show a dead letter, to be fixed."""
        session, one = required(), _find(collection_id)
        if (letter := _letter(one, letter_id)) is None:
            return _gone_page(session, one)
        return _letter_page(session, one, letter, pretty(letter.record), why_left(one, letter))

    @blueprint.get(f"{_ONE}/check")
    def checked_dead_letter(collection_id: str, letter_id: str) -> Response:
        """Lead back a browser that opens the address of a check anew."""
        return led_to(".dead_letter", required(), collection_id=collection_id, letter_id=letter_id)

    @blueprint.post(f"{_ONE}/check")
    def check_dead_letter(collection_id: str, letter_id: str) -> Response:
        """Check a corrected record, and store nothing."""
        session, form = operator_form()
        one, text = _find(collection_id), form.get("record", "")
        if (letter := _letter(one, letter_id)) is None:
            return _gone_page(session, one, text)
        return _letter_page(session, one, letter, text, _fault_of(one, letter, text))

    @blueprint.post(_ONE)
    def settle_dead_letter(collection_id: str, letter_id: str) -> Response:
        """Store the corrected record in the place of the dead letter, or discard that."""
        session, form = operator_form()
        one, text = _find(collection_id), form.get("record", "")
        if (letter := _letter(one, letter_id)) is None:
            return _gone_page(session, one, text)
        try:
            if "discard" in form:
                _letters().discard(one, letter_id)
            else:
                _letters().store_fixed(one, letter_id, read_object(text))
        except NotFound:  # another request was faster
            return _gone_page(session, one, text)
        except (Invalid, Unprocessable, TooLarge) as fault:
            return _letter_page(session, one, letter, text, fault.detail, status=400)
        return led_to(".dead_letters", session, collection_id=one.id)


def _settled(one: Collection, form: MultiDict[str, str]) -> dict[str, Any]:
    """Do what a form of the list asks; what the page tells of it."""
    chosen, act = form.getlist("letter"), form.get("act", "")
    if letter := form.get("discard"):
        return {"note": _discarded(_discard(one, [letter]))}
    if act in ("replay", "discard") and not chosen:
        return {"note": gettext("None is chosen.")}
    if act in ("replay", "replay-all"):
        ids = chosen if act == "replay" else None
        try:
            done = _letters().replay(one, ids, after=form.get("after", ""))
        except NotFound:
            return {"note": gettext("Nothing was replayed: another operator has settled one of them. Choose again.")}
        words = gettext("%(stored)s stored, %(left)s left", stored=count_text(done.stored), left=count_text(done.left))
        return {"note": words, "next_": done.next}
    if act == "discard-all":
        require_typed(form, one.id)
        if not is_id(until := form.get("until", "")):
            raise Invalid("until: must be the id of the newest dead letter that the page counted")
        return {"note": _discarded(_letters().discard_all(one, until))}
    if act == "look":
        return {}
    if act != "discard":
        raise Invalid("act: must be replay, replay-all, discard or discard-all")
    if len(chosen) > 1:
        require_typed(form, one.id)
    return {"note": _discarded(_discard(one, chosen))}


def _discard(one: Collection, ids: Sequence[str]) -> int:
    """Erase dead letters; how many of them were there."""
    count = 0
    for id_ in ids:
        with suppress(NotFound):  # another request was faster
            _letters().discard(one, id_)
            count += 1
    return count


def _discarded(count: int) -> str:
    if not count:
        return str(gettext("Nothing was discarded: another operator was faster."))
    return str(ngettext("%(num)s dead letter was discarded.", "%(num)s dead letters were discarded.", count))


def _fault_of(one: Collection, letter: DeadLetter, text: str) -> str | None:
    """Why a text cannot be stored in the place of a dead letter."""
    try:
        return _letters().fault_of_fixed(one, letter, read_object(text))
    except (Invalid, TooLarge) as fault:
        return fault.detail


def _letter(one: Collection, id_: str) -> DeadLetter | None:
    try:
        return _letters().get(one, id_)
    except NotFound:
        return None


def _letters() -> DeadLetters:
    return house().collections.dead_letters


def _find(name: str) -> Collection:
    return house().collections.catalogue.find(name)


def _list_page(session: Session, one: Collection, after: str = "", **told: Any) -> Response:
    found = _letters().list(one, after, _LETTERS)
    count, until = _letters().oldest(one, MOST_COUNTED)
    shown = [
        (letter, seconds_text(letter.received_at), why_left(one, letter), one_line(letter.record, _MOST_SHOWN))
        for letter in found
    ]
    more = found[-1].id if found and _letters().list(one, found[-1].id, 1) else ""  # large ones come in smaller pages
    told |= {"count": count, "until": until, "is_all": count < MOST_COUNTED}
    return operator_page(
        "console/operator_dead_letters.html", session, collection=one, letters=shown, after=after, more=more, **told
    )


def _letter_page(
    session: Session, one: Collection, letter: DeadLetter, text: str, fault: str | None, status: int = 200
) -> Response:
    template = "console/_letter_check.html" if is_fragment() else "console/operator_dead_letter.html"
    at = seconds_text(letter.received_at)
    response = operator_page(template, session, collection=one, letter=letter, at=at, text=text, fault=fault)
    response.status_code = status
    return response


def _gone_page(session: Session, one: Collection, text: str = "") -> Response:
    """Tell that a dead letter is no longer there, and show what was typed. A part of a page, too: the script drops faults."""
    if is_fragment():
        return operator_page("console/_letter_gone.html", session)
    response = operator_page("console/operator_dead_letter_gone.html", session, collection=one, text=text)
    response.status_code = 404
    return response
