"""The operator's pages that define a collection: a form for a new one and for a change, and a schema that is tried before."""

from __future__ import annotations

from typing import Any, Final

from flask import Blueprint, Response
from flask_babel import gettext
from werkzeug.datastructures import MultiDict

from blueprints.console.definition_forms import Typed, read_typed, shown
from blueprints.console.json_texts import pretty
from blueprints.console.operator_sessions import operator_form, operator_page, required
from blueprints.console.policy import is_fragment
from blueprints.console.schema_checks import TRIED, Checked, check_schema
from blueprints.console.sessions import led_to
from blueprints.current_request import house
from smarthouse_api.access.sessions import Session
from smarthouse_api.arrow.times import time_text
from smarthouse_api.collections.drafting import draft_of
from smarthouse_api.collections.model import OFF, Collection, define
from smarthouse_api.collections.newest import NewestRecord
from smarthouse_api.errors import InUse, Invalid

_NEW: Final = "/operator/new-collection"
_THERE: Final = "/operator/collections/<collection_id>/definition"


def add_definitions(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of the operator."""

    @blueprint.get(_NEW)
    def new_collection() -> Response:
        """Ask what a new collection is to be."""
        return _page(required(), None, Typed(shown(None)))

    @blueprint.get(_THERE)
    def definition(collection_id: str) -> Response:
        """Ask how a collection is to change."""
        session, one = required(), _find(collection_id)
        return _page(session, one, Typed(shown(one)))

    @blueprint.post(_NEW)
    def define_collection() -> Response:
        """Make a collection."""
        session, form = operator_form()
        return _settled(session, form, None)

    @blueprint.post(_THERE)
    def change_definition(collection_id: str) -> Response:
        """Change a collection."""
        session, form = operator_form()
        return _settled(session, form, _find(collection_id))

    @blueprint.post(f"{_NEW}/check")
    def check_new_schema() -> Response:
        """Check the schema of a new collection."""
        session, form = operator_form()
        return _checked(session, form, None)

    @blueprint.post(f"{_THERE}/check")
    def check_changed_schema(collection_id: str) -> Response:
        """Check a schema, and try it on the newest records."""
        session, form = operator_form()
        return _checked(session, form, _find(collection_id))

    @blueprint.get(f"{_NEW}/check")
    def checked_new_schema() -> Response:
        """Lead back a browser that opens the address of a check anew."""
        return led_to(".new_collection", required())

    @blueprint.get(f"{_THERE}/check")
    @blueprint.get(f"{_THERE}/draft")
    def checked_schema(collection_id: str) -> Response:
        """Lead back a browser that opens the address of a check or a draft anew."""
        return led_to(".definition", required(), collection_id=collection_id)

    @blueprint.post(f"{_THERE}/draft")
    def draft_schema(collection_id: str) -> Response:
        """Write a schema that the newest records pass into the form."""
        session, form = operator_form()
        one = _find(collection_id)
        typed, records = read_typed(form, one), _newest(one)
        typed.faults.clear()
        if records:
            typed.values["schema"] = pretty(draft_of([record.value() for record in records]))
        else:
            typed.faults["schema"] = gettext("There is no record to begin with")
        return _page(session, one, typed)


def _checked(session: Session, form: MultiDict[str, str], one: Collection | None) -> Response:
    """Answer with what a check finds: a part for the page's script, else the page again."""
    found = check_schema(form.get("schema", ""), _newest(one), form.get("sample", ""))
    if is_fragment():
        return operator_page("console/_checked.html", session, checked=found)
    typed = read_typed(form, one)
    typed.faults.clear()
    return _page(session, one, typed, checked=found)


def _settled(session: Session, form: MultiDict[str, str], before: Collection | None) -> Response:
    """Save what was typed, or show it again: with its faults, or with a question."""
    typed = read_typed(form, before)
    if not typed.faults and "sure" not in form and (found := _failing(typed, before)):
        return _page(session, before, typed, checked=found, asks=True)
    if not typed.faults:
        try:
            return led_to(".collection", session, collection_id=_saved(typed, form, before).id)
        except Invalid as fault:
            typed.note(fault)
        except InUse as fault:
            place = {"EXISTS": "alias" if before else "id"}.get(fault.reason or "", "")
            typed.faults[place] = fault.detail
    return _page(session, before, typed, status=400)


def _saved(typed: Typed, form: MultiDict[str, str], before: Collection | None) -> Collection:
    """Make the collection, or change it, by the rules of the API. Raises `Invalid`, `InUse`, `NotFound`."""
    catalogue = house().collections.catalogue
    if before is None:
        return catalogue.create(define(typed.members)).collection
    if form.get("seen") != time_text(before.updated_at):
        raise InUse(gettext("The collection was changed meanwhile. Look at it again before you change it."))
    return catalogue.update(before.id, typed.members, seen=before).collection


def _failing(typed: Typed, before: Collection | None) -> Checked | None:
    """Try a rule that is new on the newest records; None if all of them pass, or if nothing is held to it."""
    members = typed.members
    if before is None or members["mode"] == OFF or members["schema"] is None:
        return None
    if (members["schema"], members["mode"]) == (before.schema, before.mode):
        return None
    found = check_schema(typed.values["schema"], _newest(before))
    return found if found.failing else None


def _newest(one: Collection | None) -> list[NewestRecord]:
    return [] if one is None else house().collections.newest.of(one, TRIED).records


def _find(name: str) -> Collection:
    return house().collections.catalogue.find(name)


def _page(session: Session, one: Collection | None, typed: Typed, status: int = 200, **told: Any) -> Response:
    seen = time_text(one.updated_at) if one else ""
    response = operator_page("console/operator_definition.html", session, collection=one, typed=typed, seen=seen, **told)
    response.status_code = status
    return response
