"""The operator's pages: what the command line tells and does, behind an administrator's key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from flask import Blueprint, Response, request

from blueprints.console import key_sessions
from blueprints.console.collections import add_collections
from blueprints.console.dead_letters import add_dead_letters
from blueprints.console.definitions import add_definitions
from blueprints.console.forms import read_form
from blueprints.console.operator_homes import add_homes
from blueprints.console.operator_overview import add_overview
from blueprints.console.operator_sessions import KIND, operator_form, operator_page, require_typed, required
from blueprints.console.operator_storage import add_storage
from blueprints.console.sessions import led_to, left_to, required_form
from blueprints.current_request import count_request, house
from blueprints.parameters import refuse_unknown
from smarthouse_api.access import keys
from smarthouse_api.access.keys import KeyRecord
from smarthouse_api.access.sessions import Session
from smarthouse_api.arrow.times import seconds_text
from smarthouse_api.errors import Invalid, NotFound

_KEPT_OLD_SECONDS: Final = 3600.0
_GRANTS: Final = ("admin", "export", "ingest")
_NAMED: Final = ("datasources", "datasets")
_DAY_SECONDS: Final = 86400.0


blueprint = Blueprint("Operator", __name__, url_prefix="/console", template_folder="templates")
add_overview(blueprint)
add_storage(blueprint)
add_homes(blueprint)
add_collections(blueprint)
add_definitions(blueprint)
add_dead_letters(blueprint)

_CHOOSING: Final = frozenset({"Operator.operator_collections", "Operator.records", "Operator.dead_letters"})
"""The pages that read what was chosen, and refuse what they do not know."""


@blueprint.before_request
def refuse_parameters() -> None:
    """Refuse parameters of a page that takes none. Raises `Invalid`."""
    if request.endpoint not in _CHOOSING:
        refuse_unknown()


@blueprint.post("/operator")
def sign_in_operator() -> Response:
    """Begin a session for an administrator's key."""
    count_request("rights")
    form = read_form()
    session = key_sessions.begin(KIND, form.get("key", ""), house().access.require_admin)
    return led_to("Sample.sample" if form.get("to") == "sample" else ".operator", session)


@blueprint.post("/operator/leave")
def leave_operator() -> Response:
    """End the session."""
    return left_to(".operator", required_form(KIND)[0])


@blueprint.get("/operator/keys")
def operator_keys() -> Response:
    """List the keys and what they open."""
    return _keys(required())


@blueprint.post("/operator/keys")
def create_key() -> Response:
    """Make a key, whose text is in this answer alone."""
    session, form = operator_form()
    grants: dict[str, Any] = {name: name in form for name in _GRANTS}
    grants |= {name: _listed(form.get(name, "")) for name in _NAMED}
    days = _days(form.get("days", ""))
    record, text = house().access.create(form.get("name", ""), **grants, expires_seconds=days)
    return _keys(session, made=(record.id, text))


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


@blueprint.get("/operator/jobs")
def operator_jobs() -> Response:
    """List the export jobs that wait, run, or have a file."""
    session, jobs = required(), house().states.jobs.views()
    told = [(one, seconds_text(datetime.fromtimestamp(one.created_at, UTC))) for one in jobs]
    return operator_page("console/operator_jobs.html", session, jobs=told)


@blueprint.post("/operator/jobs/<job_id>/cancel")
def end_job(job_id: str) -> Response:
    """Cancel a job, and remove its file."""
    session, _ = operator_form()
    house().states.jobs.cancel(job_id)
    return led_to(".operator_jobs", session)


def _keys(session: Session, made: tuple[str, str] | None = None) -> Response:
    now = datetime.now(UTC)
    found = [(one, _grants(one), one.is_expired(now), _text(one.expires_at)) for one in house().access.list()]
    return operator_page("console/operator_keys.html", session, keys=found, made=made)


def _grants(record: KeyRecord) -> str:
    told = ["everything"] * record.admin + ["exports"] * record.export + ["uploads"] * record.ingest
    told += [f"project {record.project}"] if record.project else []
    for what in ("homes", "datasources", "datasets"):
        if names := getattr(record, what):
            told.append(f"{what} {', '.join(map(str, names))}")
    return "; ".join(told)


def _text(at: datetime | None) -> str:
    return "" if at is None else seconds_text(at)


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _days(text: str) -> float | None:
    if not text.strip():
        return None
    if not text.strip().isdecimal() or len(text) > 6:
        raise Invalid("days: must be a whole number, or nothing for a key that never expires")
    return int(text) * _DAY_SECONDS
