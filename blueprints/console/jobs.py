"""Pages of export jobs: asked for by a form, looked at while they are made, cancelled, downloaded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from flask import Blueprint, Response, redirect, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from blueprints.console.asked import read_asked
from blueprints.console.forms import read_form
from blueprints.console.policy import is_fragment
from blueprints.console.templating import page
from blueprints.current_request import house
from blueprints.export.jobs import admit_to_job, owner_of_request
from smarthouse_api.arrow.times import seconds_text
from smarthouse_api.states.jobs.views import JobView

_UNFINISHED: Final = ("waiting", "running")


def add_jobs(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of the console."""

    @blueprint.post("/jobs")
    def create_job() -> ResponseReturnValue:
        """Ask for the chosen rows to be made into a file, and lead to the job's page."""
        owner, jobs, asked = owner_of_request(), house().states.jobs, read_asked(read_form())
        made = jobs.ask(jobs.request(asked.filters, (asked.format,), aggregation=asked.aggregation), owner)
        return redirect(url_for(".job", job_id=made.id), 303)

    @blueprint.get("/jobs/<job_id>")
    def job(job_id: str) -> Response:
        """Show how far a job is."""
        admit_to_job(job_id)
        view = house().states.jobs.view(job_id)
        return page("console/_job.html" if is_fragment() else "console/job.html", **_told(view))

    @blueprint.post("/jobs/<job_id>/cancel")
    def cancel_job(job_id: str) -> ResponseReturnValue:
        """Cancel a job, and remove its file."""
        admit_to_job(job_id)
        house().states.jobs.cancel(job_id)
        return redirect(url_for(".job", job_id=job_id), 303)


def _told(view: JobView) -> dict[str, Any]:
    states = {
        "waiting": gettext("Waiting for its turn"),
        "running": gettext("Being made"),
        "done": gettext("Done"),
        "failed": gettext("Failed"),
        "cancelled": gettext("Cancelled"),
        "expired": gettext("The file is gone"),
    }
    times = {"created": view.created_at, "finished": view.finished_at, "expires": view.expires_at}
    return {
        "job": view,
        "state": states[view.state],
        "is_unfinished": view.state in _UNFINISHED,
        "times": {name: None if at is None else seconds_text(datetime.fromtimestamp(at, UTC)) for name, at in times.items()},
    }
