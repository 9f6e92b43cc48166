"""The operator's page of keys: what they open, and keys that are made, rotated and revoked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final

from flask import Blueprint, Response
from flask_babel import gettext

from blueprints.console.operator_sessions import operator_form, operator_page, require_typed, required
from blueprints.console.sessions import led_to
from blueprints.current_request import house
from smarthouse_api.access import keys
from smarthouse_api.access.keys import KeyRecord
from smarthouse_api.access.sessions import Session
from smarthouse_api.arrow.times import seconds_text
from smarthouse_api.collections.model import is_name
from smarthouse_api.errors import Invalid, NotFound

_KEPT_OLD_SECONDS: Final = 3600.0
_GRANTS: Final = ("admin", "export", "ingest")
_NAMED: Final = ("datasets", "datasources")
_DAY_SECONDS: Final = 86400.0
_LONGEST_DAYS: Final = 6


def add_keys(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of the operator."""

    @blueprint.get("/operator/keys")
    def operator_keys() -> Response:
        """List the keys and what they open."""
        return _keys(required())

    @blueprint.post("/operator/keys")
    def create_key() -> Response:
        """Make a key, whose text is in this answer alone. What cannot be made is shown again, with its faults."""
        session, form = operator_form()
        faults = {name: fault for name in _NAMED if (fault := _fault_of(_listed(form.get(name, ""))))}
        if (days := form.get("days", "").strip()) and not (days.isdecimal() and len(days) <= _LONGEST_DAYS):
            faults["days"] = gettext("It must be a whole number, or nothing for a key that never expires.")
        if not faults:
            grants: dict[str, Any] = {name: name in form for name in _GRANTS}
            grants |= {name: _listed(form.get(name, "")) for name in _NAMED}
            try:
                record, text = house().access.create(
                    form.get("name", ""), **grants, expires_seconds=int(days) * _DAY_SECONDS if days else None
                )
            except Invalid as fault:
                faults[""] = fault.detail
            else:
                return _keys(session, made=(record.id, text))
        return _keys(session, typed=form, faults=faults)

    @blueprint.get("/operator/keys/<key_id>/rotate")
    def rotated_key(key_id: str) -> Response:
        """Lead back a browser that opens the address of a rotation anew."""
        return led_to(".operator_keys", required())

    @blueprint.post("/operator/keys/<key_id>/rotate")
    def rotate_key(key_id: str) -> Response:
        """Give a key another text, which is in this answer alone. The old one works for an hour."""
        session, _ = operator_form()
        text = house().access.rotate(key_id, _KEPT_OLD_SECONDS) if keys.is_id(key_id) else None
        if text is None:
            raise NotFound(f"There is no key {key_id[:12]}")
        return _keys(session, made=(key_id, text))

    @blueprint.post("/operator/keys/<key_id>/revoke")
    def revoke_key(key_id: str) -> Response:
        """Make a key worthless at once, if its id was typed."""
        session, form = operator_form()
        require_typed(form, key_id)
        if not house().access.revoke(key_id):
            raise NotFound(f"There is no key {key_id[:12]}")
        return led_to(".operator_keys", session)


def _keys(session: Session, *, faults: Mapping[str, str] | None = None, **told: Any) -> Response:
    now = datetime.now(UTC)
    found = [(one, _grants(one), one.is_expired(now), _text(one.expires_at)) for one in house().access.list()]
    response = operator_page("console/operator_keys.html", session, keys=found, faults=faults or {}, **told)
    response.status_code = 400 if faults else 200
    return response


def _fault_of(names: Sequence[str]) -> str:
    """Say which names are not ids of collections, and what would be right; nothing if all are. A grant takes ids alone."""
    catalogue, told = house().collections.catalogue, list[str]()
    for name in names:
        found = catalogue.get(name) if is_name(name) else None
        if found is None:
            ids = [one.id for one in catalogue.page()[0]]
            near = get_close_matches(name, ids, 3, 0.5) or ids[:3]
            told.append(gettext("There is no collection %(name)s. There are: %(ids)s.", name=name[:40], ids=", ".join(near)))
        elif found.id != name:
            told.append(gettext("%(alias)s is an alias. Write the id: %(id)s.", alias=name, id=found.id))
    return " ".join(told)


def _grants(record: KeyRecord) -> str:
    """Say what a key opens."""
    everything, exports, uploads = gettext("everything"), gettext("exports"), gettext("uploads")
    told = [everything] * record.admin + [exports] * record.export + [uploads] * record.ingest
    told += [gettext("project %(name)s", name=record.project)] if record.project else []
    for words, names in (
        (gettext("Homes"), record.homes),
        (gettext("Data sources"), record.datasources),
        (gettext("Datasets"), record.datasets),
    ):
        told += [f"{words}: {', '.join(map(str, names))}"] if names else []
    return "; ".join(told)


def _text(at: datetime | None) -> str:
    return "" if at is None else seconds_text(at)


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
