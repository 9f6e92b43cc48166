"""Pages of export jobs: asked for by a form, looked at while they are made, cancelled, downloaded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from flask import Blueprint, Response, redirect, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from blueprints.console.asked import read_asked
from blueprints.console.policy import is_fragment
from blueprints.console.reading import as_context, checked_form, reading_session
from blueprints.console.templating import page
from blueprints.current_request import house
from blueprints.export.jobs import admit_to_job, file_of_job, owner_of_request
from smarthouse_api.arrow.times import seconds_text
from smarthouse_api.states.jobs.views import JobView

_UNFINISHED: Final = ("waiting", "running")


def add_jobs(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of the console."""

    @blueprint.post("/jobs")
    def create_job() -> ResponseReturnValue:
        """Ask for the chosen rows to be made into a file, and lead to the job's page."""
        owner, jobs, asked = owner_of_request(), house().states.jobs, read_asked(checked_form())
        made = jobs.ask(jobs.request(asked.filters, (asked.format,), aggregation=asked.aggregation), owner)
        return redirect(url_for(".job", job_id=made.id), 303)

    @blueprint.get("/jobs/<job_id>")
    def job(job_id: str) -> Response:
        """Show how far a job is."""
        admit_to_job(job_id)
        view = house().states.jobs.view(job_id)
        return page("console/_job.html" if is_fragment() else "console/job.html", **_told(view), **as_context())

    @blueprint.post("/jobs/<job_id>/cancel")
    def cancel_job(job_id: str) -> ResponseReturnValue:
        """Cancel a job, and remove its file."""
        if reading_session() is not None:
            checked_form()
        admit_to_job(job_id)
        house().states.jobs.cancel(job_id)
        return redirect(url_for(".job", job_id=job_id), 303)

    @blueprint.get("/jobs/<job_id>/file")
    def job_file(job_id: str) -> Response:
        """Give the file of a job, in a session."""
        return file_of_job(job_id)


def _told(view: JobView) -> dict[str, Any]:
    file = "Export.file" if reading_session() is None else "Console.job_file"
    times = {"created": view.created_at, "finished": view.finished_at, "expires": view.expires_at}
    return {
        "job": view,
        "file": url_for(file, job_id=view.id),
        "state": state_names()[view.state],
        "is_unfinished": view.state in _UNFINISHED,
        "times": {name: None if at is None else seconds_text(datetime.fromtimestamp(at, UTC)) for name, at in times.items()},
    }


def state_names() -> dict[str, str]:
    """Name the states that a job can be in."""
    return {
        "waiting": gettext("Waiting for its turn"),
        "running": gettext("Being made"),
        "done": gettext("Done"),
        "failed": gettext("Failed"),
        "cancelled": gettext("Cancelled"),
        "expired": gettext("The file is gone"),
    }
