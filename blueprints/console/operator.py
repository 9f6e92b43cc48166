"""The operator's pages: what the command line tells and does, behind an administrator's key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from flask import Blueprint, Response, request

from blueprints.console import key_sessions
from blueprints.console.collections import add_collections
from blueprints.console.dead_letters import add_dead_letters
from blueprints.console.definitions import add_definitions
from blueprints.console.forms import read_form
from blueprints.console.jobs import state_names
from blueprints.console.operator_homes import add_homes
from blueprints.console.operator_keys import add_keys
from blueprints.console.operator_overview import add_overview
from blueprints.console.operator_sessions import KIND, operator_form, operator_page, required
from blueprints.console.operator_storage import add_storage
from blueprints.console.sessions import led_to, left_to, required_form
from blueprints.current_request import count_request, house
from blueprints.parameters import refuse_unknown
from smarthouse_api.arrow.times import seconds_text

blueprint = Blueprint("Operator", __name__, url_prefix="/console", template_folder="templates")
add_overview(blueprint)
add_storage(blueprint)
add_homes(blueprint)
add_collections(blueprint)
add_definitions(blueprint)
add_dead_letters(blueprint)
add_keys(blueprint)

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


@blueprint.get("/operator/jobs")
def operator_jobs() -> Response:
    """List the export jobs that wait, run, or have a file."""
    session, jobs = required(), house().states.jobs.views()
    told = [(one, seconds_text(datetime.fromtimestamp(one.created_at, UTC))) for one in jobs]
    return operator_page("console/operator_jobs.html", session, jobs=told, states=state_names())


@blueprint.post("/operator/jobs/<job_id>/cancel")
def end_job(job_id: str) -> Response:
    """Cancel a job, and remove its file."""
    session, _ = operator_form()
    house().states.jobs.cancel(job_id)
    return led_to(".operator_jobs", session)
