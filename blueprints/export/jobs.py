"""Export jobs: a dataset that is made in the background, kept for a while, and downloaded in as many tries as it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from blueprints import path_segments
from blueprints.bodies import whole_body
from blueprints.byte_ranges import KNOWN, PART, PART_HEADERS, ranged_response
from blueprints.current_request import client_network, count_request, house
from blueprints.dialects import problems
from blueprints.export.jobs_schemas import FILE_HEADERS, FOUND_HEADERS, JOB, JOB_HEADERS, JobQuerySchema, JobSchema, told
from blueprints.export.readers import admit_reader, note
from blueprints.export.schemas import EMPTY, ZIP, known_formats
from blueprints.hosts import url_of
from blueprints.idempotency import IDEMPOTENCY_KEY, replayed_header, request_key
from blueprints.openapi import OPTIONAL_BEARER
from blueprints.responses import closed_when_sent, empty_response, json_response
from smarthouse_api.access.keys import KeyRecord
from smarthouse_api.errors import Invalid, NotFound
from smarthouse_api.states.jobs.kept_files import KeptFile
from smarthouse_api.states.jobs.service import Jobs
from smarthouse_api.states.jobs.views import NOTHING


@dataclass(frozen=True)
class _Handed:
    """Counts the rows of a file that the object store sends itself."""

    rows: int
    is_whole: bool = True


def add_jobs(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of Export."""

    @blueprint.route("/jobs")
    class AllJobs(MethodView):
        @blueprint.arguments(JobQuerySchema, location="query", error_status_code=400)
        @blueprint.response(202, JobSchema, headers=JOB_HEADERS)
        @problems(blueprint, "create_job", 409, 410, parameters=[IDEMPOTENCY_KEY], security=OPTIONAL_BEARER)
        def post(self, query: dict[str, Any]) -> Response:
            """Ask for a dataset to be made and kept.

            It takes the parameters of a download. `Location` names the job, which tells how far it is and where the file is.
            """
            owner, jobs = owner_of_request(), _jobs()
            if whole_body():
                raise Invalid("The request has a body; give the parameters in the query, as for a download")
            formats = known_formats(query["formats"])
            options = {name: query[name] for name in ("metadata", "fresh", "aggregation", "is_bare", "since")}
            wanted = jobs.request(query["filters"], formats, **options)
            asked = jobs.ask(wanted, owner, request_key(owner, b""))
            headers = {"Location": _url(asked.id), **replayed_header(asked.replayed)}
            return json_response(told(jobs.view(asked.id)), 202, headers)

    @path_segments.route(blueprint, "/jobs/<segment:job_id>", parameters=[JOB])
    class OneJob(MethodView):
        @blueprint.response(200, JobSchema)
        @problems(blueprint, "read_job", 404, security=OPTIONAL_BEARER)
        def get(self, job_id: str) -> Response:
            """Tell how far a job is."""
            admit_to_job(job_id)
            return json_response(told(_jobs().view(job_id)), headers={"Cache-Control": "no-store"})

        @blueprint.response(200, JobSchema)
        @problems(blueprint, "cancel_job", 404, security=OPTIONAL_BEARER)
        def delete(self, job_id: str) -> Response:
            """Cancel a job, and remove its file."""
            admit_to_job(job_id)
            return json_response(told(_jobs().cancel(job_id)))

    @path_segments.route(blueprint, "/jobs/<segment:job_id>/file", parameters=[JOB])
    @blueprint.response(200, **ZIP, description="The dataset, zipped; with `bare`, the file itself", headers=FILE_HEADERS)
    @blueprint.alt_response(204, description="No row passes the filters", headers=EMPTY)
    @blueprint.alt_response(206, **ZIP, description="The requested bytes", headers={**FILE_HEADERS, **PART_HEADERS})
    @blueprint.alt_response(302, description="Redirects to the object store", headers=FOUND_HEADERS)
    @blueprint.alt_response(304, description="The client has these bytes already")
    @problems(blueprint, "download_job", 404, 410, 416, parameters=[*PART, KNOWN], security=OPTIONAL_BEARER)
    def file(job_id: str) -> Response:
        """Download the file of a job, or a range of its bytes.

        The bytes are the same each time, so that a client that was broken off goes on with `Range`.
        """
        return file_of_job(job_id)


def file_of_job(job_id: str) -> Response:
    """Answer with the file of a job, or a part of it, or lead to it. Raises as the view above."""
    key = admit_to_job(job_id)
    if (url := _jobs().signed_url(job_id)) is not None:
        if key is not None:
            note(key, _Handed(_jobs().view(job_id).rows), _jobs().asked(job_id))()
        return empty_response(302, {"Location": url, "Cache-Control": "no-store"})
    kept = _jobs().open(job_id)
    if kept is None:
        return empty_response(headers={"X-Empty-Reason": _jobs().view(job_id).told or NOTHING})
    return kept_response(kept, key, {})


def owner_of_request() -> str:
    """Count and admit the request, and name whose job it asks for: of its key, or of its address."""
    count_request("export")
    key = admit_reader()
    return f"key/{key.id}" if key is not None else _jobs().owner_of(client_network())


def kept_response(kept: KeptFile, key: KeyRecord | None, headers: dict[str, str], *, is_the_only_one: bool = True) -> Response:
    """Answer with a kept file. key: whose download is logged. is_the_only_one: the URL never gives another file."""

    def respond() -> Response:
        file = kept.etag, kept.size_bytes, kept.file_name, kept.media_type, kept.body
        response = ranged_response("a kept export", *file, is_the_only_one=is_the_only_one)
        response.headers.update(headers)
        if kept.incomplete is not None:
            response.headers["X-Incomplete"] = kept.incomplete
        if kept.since_note is not None:
            response.headers["X-Since-Note"] = kept.since_note
        if key is not None:
            response.call_on_close(note(key, kept, kept.request))
        return response

    return closed_when_sent(kept.close, respond)


def _jobs() -> Jobs:
    return house().states.jobs


def _url(job_id: str) -> str:
    return url_of(".OneJob", job_id=job_id)


def admit_to_job(job_id: str) -> KeyRecord | None:
    """Admit those who may see a job: by its id, or where rows need a key, by the key that asked. Raises `NotFound`."""
    count_request("export")
    key = admit_reader()
    owner = _jobs().owner(job_id)
    if key is not None and not key.admin and owner != f"key/{key.id}":
        raise NotFound("There is no such export job, or not any more")
    return key
