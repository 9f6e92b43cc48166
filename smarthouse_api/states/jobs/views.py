"""Jobs as clients and operators see them: how far each is, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from smarthouse_api.errors import Gone
from smarthouse_api.states.export.citation import citation
from smarthouse_api.states.jobs.kept_files import KeptFiles
from smarthouse_api.states.jobs.linking import extract_of
from smarthouse_api.states.jobs.model import Dataset, Job
from smarthouse_api.states.jobs.workshop import Workshop

NOTHING: Final = "No record passes the filters"
NOTHING_NEW: Final = "No record came after that version"
PUT_TOGETHER: Final = "All rows are made, and the file is being put together"

_MOST_BEFORE_DONE: Final = 0.99


@dataclass(frozen=True, kw_only=True)
class JobView:
    """Tells a client of a job: how far it is, and what came of it.

    state: `waiting`, `running`, `done`, `failed`, `cancelled` or `expired`. rows_in_all: None if it is not known yet.
    fraction: of the rows; of the parts while it is not known how many rows there are; less than 1 until the file is made.
    bytes: of the file; until it is made, of what is made for it. told: in words, why it is as it is. times: in seconds since
    1970. citation: once it is done. since: the version that it continues.
    """

    id: str
    state: str
    formats: tuple[str, ...]
    rows: int
    rows_in_all: int | None
    bytes: int
    fraction: float | None
    told: str | None
    created_at: float
    finished_at: float | None = None
    expires_at: float | None = None
    version: str | None = None
    citation: str | None = None
    since: str | None = None
    has_file: bool = False


@dataclass(frozen=True)
class Figures:
    """Counts jobs for an operator: those that wait, those that run, and the files that are kept with their bytes."""

    waiting: int
    running: int
    kept: int
    bytes: int


class Views:
    """Looks at jobs."""

    def __init__(self, shop: Workshop, files: KeptFiles) -> None:
        self._shop, self._files = shop, files

    def of(self, job: Job) -> JobView:
        """Look at one job."""
        dataset = None if job.dataset is None or job.ended is not None else self._shop.book.dataset(job.dataset)
        formats = job.request.formats
        if dataset is None:
            state = job.ended or "waiting"
            return JobView(
                id=job.id,
                state=state,
                formats=formats,
                rows=0,
                rows_in_all=None,
                bytes=0,
                fraction=0.0 if state == "waiting" else None,
                told="; ".join(filter(None, (job.told, job.anew))) or None,
                created_at=job.at,
                since=job.request.since,
            )
        rows, size, in_all, fraction = dataset.rows, dataset.size_bytes, dataset.rows_in_all, None
        state, words = self._state_of(dataset)
        is_done, doing = state == "done", None
        if dataset.state == "making":
            progress = self._shop.book.progress(dataset.version)
            rows, size = progress.rows, progress.bytes
            parts = progress.parts / max(1, progress.parts_in_all)
            fraction = min(_MOST_BEFORE_DONE, parts if in_all is None else rows / max(1, in_all))
            doing = PUT_TOGETHER if 0 < progress.parts_in_all == progress.parts else None
        of_rows = "; ".join(filter(None, (dataset.incomplete, dataset.since_note))) if is_done else job.told or doing
        extract = extract_of(dataset, self._shop.export_settings, is_open=self._shop.exports.is_open)
        return JobView(
            id=job.id,
            state=state,
            formats=formats,
            rows=rows,
            rows_in_all=in_all,
            bytes=size,
            fraction=1.0 if is_done else fraction,
            told="; ".join(filter(None, (words or of_rows, job.anew))) or None,
            created_at=job.at,
            finished_at=dataset.finished_at,
            expires_at=dataset.expires_at,
            version=None if dataset.state in ("making", "failed") else dataset.version,
            citation=citation(extract) if is_done and rows else None,
            since=job.request.since,
            has_file=is_done and rows > 0,
        )

    def _state_of(self, dataset: Dataset) -> tuple[str, str | None]:
        """Tell the state of a dataset's jobs, and why it is so."""
        if dataset.state == "making":
            return "running", None
        if dataset.state == "failed":
            return "failed", dataset.told
        if dataset.state == "done":
            try:
                self._files.check(dataset)
            except Gone as fault:
                return "expired", fault.detail
            if dataset.rows:
                return "done", None
            return "done", NOTHING if dataset.request.since is None else NOTHING_NEW
        return "expired", dataset.told

    def figures(self) -> Figures:
        """Count the jobs and the files that are kept."""
        todo, datasets = self._shop.book.todo(), [known.dataset for known in self._shop.book.datasets()]
        running = {id_ for dataset in datasets if dataset.state == "making" for id_, _ in dataset.jobs}
        kept = [dataset.size_bytes for dataset in datasets if dataset.size_bytes]
        return Figures(sum(id_ not in running for _, id_, _ in todo), len(running), len(kept), sum(kept))
