"""Export jobs as clients and the housekeeper see them: asked for, looked at, cancelled, downloaded, and forgotten."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import msgspec

from backends.ports import Conflict, NoSuchObject, ObjectStore, SignsUrls, StateStore
from config.groups import ExportSettings, JobSettings
from smarthouse_api.coordination.idempotency import Replies, RequestKey, pair_of
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.leased_answers import LeasedAnswer, Slots
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.coordination.room import Room
from smarthouse_api.errors import Gone, Invalid, NotFound, TooMany, Unavailable
from smarthouse_api.lake.repairs import told
from smarthouse_api.lake.snapshot_marks import encoded
from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.jobs.book import JobBook, Known
from smarthouse_api.states.jobs.citation import citation
from smarthouse_api.states.jobs.linking import extract_of
from smarthouse_api.states.jobs.making import FORGOTTEN, Maker
from smarthouse_api.states.jobs.model import PREFIX, SPACE, Dataset, Job, Request
from smarthouse_api.states.query import Filters
from smarthouse_api.states.rebuilding import Rebuilding
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Uploads

OPERATOR: Final = "operator"
"""The owner of jobs from the command line, which no limit refuses."""

KEPT: Final = "kept-exports"
"""The lease that those share who send a kept file."""

_URL_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 0.05
_TIDY_SECONDS: Final = 60.0
_ID: Final = re.compile("[0-9a-f]{32}", re.ASCII)
_RETRY_SECONDS: Final = 600
_ERASED: Final = "The file is gone, because a home was erased that it may have held; ask for the export again"
_EXPIRED: Final = "The file has expired; ask for the export again"
_LOST: Final = "The file is gone; ask for the export again"
_OTHER_RULES: Final = "The file was made by other rules of privacy than the service has now; ask for the export again"

log = logging.getLogger(__name__)


class Asked(msgspec.Struct, frozen=True):
    """Answers the one who asks for a job. replayed: it answers an earlier request."""

    id: str
    replayed: bool = False


_REPLY: Final = pair_of(Asked)


@dataclass(frozen=True, kw_only=True)
class JobView:
    """Tells a client of a job: how far it is, and what came of it.

    state: `waiting`, `running`, `done`, `failed`, `cancelled` or `expired`. rows_in_all: None if it is not known yet.
    fraction: of the rows; of the parts while it is not known how many rows there are. bytes: of the file; until it is made, of
    what is made for it. times: in seconds since 1970. citation: once it is done.
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
    has_file: bool = False


@dataclass(frozen=True)
class Figures:
    """Counts jobs for an operator: those that wait, those that run, and the files that are kept with their bytes."""

    waiting: int
    running: int
    kept: int
    bytes: int


class KeptFile(LeasedAnswer):
    """Sends the file of a dataset, or a part of it. Until it is closed, a forget waits for it for a while, and then ends it."""

    def __init__(self, objects: ObjectStore, dataset: Dataset, lease: Lease, ending: ExitStack) -> None:
        super().__init__(lease, ending)
        self._objects, self._dataset = objects, dataset
        self.size_bytes, self.etag, self.rows = dataset.size_bytes, dataset.version, dataset.rows
        self.file_name, self.media_type, self.incomplete = dataset.file_name, dataset.media_type, dataset.incomplete
        self.is_whole = False

    def body(self, first: int = 0, last: int | None = None) -> Iterator[bytes]:
        """Return the bytes from `first` to `last`. Raises `LeaseLost`, `Gone`, and `Unavailable` for what is not whole."""
        left = (self.size_bytes if last is None else last + 1) - first
        try:
            chunks = self._objects.stream(self._dataset.file, first, left, chunk_bytes=256 << 10)
        except NoSuchObject:
            raise Gone(_LOST) from None
        for chunk in self._while_leased(chunks, _LOOK_SECONDS):
            left -= len(chunk)
            yield chunk
        if left:
            raise Unavailable("The file changed while it was sent; repeat the download")
        self.is_whole = True


class Jobs:
    """Takes jobs, tells how far they are, and keeps their files for as long, and as many, as the settings say."""

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        book: JobBook,
        maker: Maker,
        leases: Leases,
        keyring: Keyring,
        replies: Replies,
        homes: Homes,
        uploads: Uploads,
        table: StatesTable,
        rebuilding: Rebuilding,
        room: Room,
        export_settings: ExportSettings,
        settings: JobSettings,
        *,
        is_open: bool,
    ) -> None:
        self._state, self._objects, self._book, self._leases = state, objects, book, leases
        self._keyring, self._replies, self._homes, self._room = keyring, replies, homes, room
        self._uploads, self._table, self._rebuilding = uploads, table, rebuilding
        self._export_settings, self._settings, self._is_open = export_settings, settings, is_open
        self.maker = maker
        self._slots = Slots(export_settings.at_once, "This worker sends as many files as it can at once; ask again")

    def owner_of(self, address: str) -> str:
        """Name a client without a key, so that nobody can tell the address."""
        return f"address/{hmac.digest(self._keyring.key('jobs'), address.encode(), 'sha256').hex()[:32]}"

    def request(
        self,
        filters: Filters,
        formats: tuple[str, ...],
        *,
        metadata: bool = True,
        fresh: bool = True,
        aggregation: Aggregation | None = None,
        is_bare: bool = False,
    ) -> Request:
        """Make a request by the service's present rules. Raises `Invalid` for what does not go together."""
        if aggregation is not None:
            aggregation.widened(filters)
        if is_bare and len(formats) > 1:
            raise Invalid("bare: a file that is no zip has one format; ask for one, or for a zip")
        return Request(filters, formats, metadata and not is_bare, fresh, self.maker.rules, aggregation, is_bare)

    def ask(self, request: Request, owner: str, request_key: RequestKey | None = None) -> Asked:
        """Ask for an export. Raises `TooMany`, `Unavailable` if there are too many, and `KeyReused`."""
        if (earlier := self._replies.earlier(SPACE, request_key, _REPLY)) is not None:
            return earlier
        self._room.check()
        asked = Asked(secrets.token_hex(16))
        job = Job(asked.id, owner, request, self._state.now())
        try:
            self._book.add(job, lambda: self._check_room(owner), self._replies.puts(request_key, asked, _REPLY))
        except Conflict:  # another attempt at the same request was first
            return self.ask(request, owner, request_key)
        return asked

    def _check_room(self, owner: str) -> None:
        if owner == OPERATOR:
            return
        owners = [one for _, _, one in self._book.todo()]
        done = [known.dataset for known in self._book.datasets() if known.dataset.state == "done"]
        owners += [one for dataset in done for _, one in dataset.jobs]
        if owners.count(owner) >= self._settings.per_client:
            most = self._settings.per_client
            raise TooMany(f"You have {most} export jobs that wait, run or have a file; delete some, or wait", _RETRY_SECONDS)
        if len(owners) >= self._settings.most:
            raise Unavailable("There are as many export jobs as the service keeps; repeat the request later")
        if sum(dataset.size_bytes for dataset in done) >= self._settings.bytes:
            raise Unavailable("The files of export jobs take up as much room as they may; repeat the request later")

    def owner(self, id_: str) -> str:
        """Tell whose a job is. Raises `NotFound`."""
        return self._find(id_)[0].owner

    def view(self, id_: str) -> JobView:
        """Tell how far a job is. Raises `NotFound`."""
        return self._view(self._find(id_)[0])

    def views(self) -> list[JobView]:
        """List the jobs that wait, run, or have a file, the oldest first."""
        ids = {id_ for _, id_, _ in self._book.todo()}
        ids |= {id_ for known in self._book.datasets() for id_, _ in known.dataset.jobs}
        found = (self._book.job(id_) for id_ in ids)
        return sorted((self._view(one[0]) for one in found if one is not None), key=lambda view: view.created_at)

    def unfinished(self, request: Request, owner: str) -> str | None:
        """Find a job of a client that asks the same, and is not done."""
        for _, id_, one in self._book.todo():
            found = self._book.job(id_) if one == owner else None
            if found is not None and found[0].ended is None and found[0].request == request:
                return id_
        return None

    def figures(self) -> Figures:
        """Count the jobs and the files that are kept."""
        todo, datasets = self._book.todo(), [known.dataset for known in self._book.datasets()]
        running = {id_ for dataset in datasets if dataset.state == "making" for id_, _ in dataset.jobs}
        kept = [dataset.size_bytes for dataset in datasets if dataset.size_bytes]
        return Figures(sum(id_ not in running for _, id_, _ in todo), len(running), len(kept), sum(kept))

    def cancel(self, id_: str) -> JobView:
        """Cancel a job, and remove its file, unless another job has the same. Repeatable. Raises `NotFound`."""
        while True:
            job, document = self._find(id_)
            if job.ended is not None:
                return self._view(job)
            if self._book.change(msgspec.structs.replace(job, ended="cancelled"), document):
                break
        dataset = None if job.dataset is None else self._book.dataset(job.dataset)
        if dataset is not None:
            self._leave(dataset, id_)
        return self.view(id_)

    def open(self, id_: str) -> KeptFile | None:
        """Open the file of a job; None if it has no rows. Raises `NotFound` while there is none, and `Gone`."""
        view = self.view(id_)
        if view.state in ("waiting", "running"):
            raise NotFound(f"The file is not made yet: the job is {view.state}")
        if view.state in ("failed", "cancelled") or view.version is None:
            raise Gone(f"There is no file: the job {'failed' if view.state == 'failed' else 'was cancelled'}")
        return self.open_version(view.version)

    def open_version(self, version: str) -> KeptFile | None:
        """Open the file of a dataset; None if it has no rows. Raises `NotFound`, and `Gone` with the reason."""
        dataset = self._usable(version)
        if not dataset.rows:
            return None
        with ExitStack() as ending:
            ending.enter_context(self._slots)
            lease = self._leases.share(KEPT)
            ending.callback(lease.release)
            lease.tell(_note(dataset))
            dataset = self._usable(version)  # under the lease, which a forget breaks before the file goes
            try:
                self._objects.stream(dataset.file, 0, 0)
            except NoSuchObject:
                raise Gone(_LOST) from None
            return KeptFile(self._objects, dataset, lease, ending.pop_all())

    def signed_url(self, id_: str) -> str | None:
        """Make a URL of the object store's own for the file of a job; None if it makes none, or there is no file."""
        view = self.view(id_)
        if not view.has_file or view.version is None or not isinstance(self._objects, SignsUrls):
            return None
        dataset = self._usable(view.version)
        return self._objects.signed_url(dataset.file, _URL_SECONDS, dataset.file_name)

    def equal(self, request: Request) -> KeptFile | None:
        """Open a file that is kept and holds what the same request would be answered with now; None if there is none."""
        version, _ = self._book.equal(self.maker.question(request))
        known = None if version is None else self._book.known(version)
        if known is None or known.dataset.state != "done" or not known.dataset.rows:
            return None
        if request.fresh and self._uploads.queue.read(limit=1):
            return None
        dataset, filters = known.dataset, request.filters.kept(self._table.first_kept_day())
        if dataset.filters != filters:
            return None
        needed = filters if request.aggregation is None else request.aggregation.widened(filters)
        found = told(self._rebuilding.repairs.touching(*needed.span))
        incomplete = "; ".join(filter(None, (found, self._rebuilding.lacking(needed.span[0])))) or None
        if not self.maker.is_current(dataset, self._table.open(), self.maker.hidden(), incomplete):
            return None
        try:
            return self.open_version(dataset.version)
        except (NotFound, Gone, Unavailable):
            return None

    def forget(self, keys: Collection[str], wait_seconds: float) -> None:
        """Remove all that is made, or was, and may hold rows of hidden homes. keys: their internal keys. Repeatable.

        Whoever sends such a file has so many seconds to finish, and is then broken off.
        """
        if not keys:
            return
        self._leases.break_shared(KEPT, wait_seconds, self._homes.spared(keys))
        for known in list(self._book.datasets()):
            left: Known | None = known
            while left is not None and self._may_hold(left.dataset, keys):
                # Its bytes go before its document: if this process dies in between, the next one finds it.
                self.maker.remove(left.dataset)
                if self._forgotten(left):
                    self.maker.remove(left.dataset)  # what was put meanwhile
                    break
                left = self._book.known(known.dataset.version)

    def _forgotten(self, known: Known) -> bool:
        if known.dataset.state == "making":
            return self._book.begin_anew(known, FORGOTTEN)
        return self._book.bury(known, "forgotten", _ERASED)

    def keep(self) -> None:
        """Tidy once a minute, in one of all processes."""
        if self._leases.claim("export-jobs", _TIDY_SECONDS):
            self.tidy()

    def tidy(self) -> None:
        """Remove the files that have expired, and the datasets that no job asks for any more."""
        now = self._state.now()
        for known in list(self._book.datasets()):
            dataset = known.dataset
            if dataset.state == "done" and (dataset.expires_at or 0.0) <= now:
                self.maker.remove(dataset)
                self._book.bury(known, "expired", _EXPIRED)
            for id_, _ in dataset.jobs:
                if (found := self._book.job(id_)) is None or found[0].ended is not None:
                    self._leave(dataset, id_)

    def _leave(self, dataset: Dataset, id_: str) -> None:
        if self._book.leave(dataset, id_):
            self.maker.remove(dataset)

    def sweep(self) -> None:
        """Remove the objects that belong to no dataset, and what is left of parts, from processes that died.

        A file that is missing, as after a restore of a backup, is told as gone.
        """
        kept = [known for known in self._book.datasets() if known.dataset.size_bytes]
        found = dict[str, list[str]]()
        for info in self._objects.list(PREFIX):
            found.setdefault(info.key.removeprefix(PREFIX).partition("/")[0], []).append(info.key)
        for version, names in found.items():  # the documents after the objects: a new dataset has its document first
            known = self._book.known(version)
            if known is None:
                self._objects.delete(names)
            elif known.dataset.state == "done":
                self._objects.delete([name for name in names if name != known.dataset.file])
        for known in kept:
            if known.dataset.file not in found.get(known.dataset.version, ()):
                self._book.bury(known, "expired", _LOST)

    def _find(self, id_: str) -> tuple[Job, int]:
        found = self._book.job(id_) if _ID.fullmatch(id_) else None
        if found is None:
            raise NotFound("There is no such export job, or not any more")
        return found

    def _view(self, job: Job) -> JobView:
        dataset = None if job.dataset is None or job.ended is not None else self._book.dataset(job.dataset)
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
            )
        rows, size, in_all, fraction = dataset.rows, dataset.size_bytes, dataset.rows_in_all, None
        state, words = self._state_of(dataset)
        is_done = state == "done"
        if dataset.state == "making":
            progress = self._book.progress(dataset.version)
            rows, size = progress.rows, progress.bytes
            parts = progress.parts / max(1, progress.parts_in_all)
            fraction = min(1.0, parts if in_all is None else rows / max(1, in_all))
        extract = extract_of(dataset, self._export_settings, is_open=self._is_open)
        return JobView(
            id=job.id,
            state=state,
            formats=formats,
            rows=rows,
            rows_in_all=in_all,
            bytes=size,
            fraction=1.0 if is_done else fraction,
            told="; ".join(filter(None, (words or (dataset.incomplete if is_done else job.told), job.anew))) or None,
            created_at=job.at,
            finished_at=dataset.finished_at,
            expires_at=dataset.expires_at,
            version=None if dataset.state in ("making", "failed") else dataset.version,
            citation=citation(extract) if is_done and rows else None,
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
                self._check(dataset)
            except Gone as fault:
                return "expired", fault.detail
            return "done", None if dataset.rows else "No record passes the filters"
        return "expired", dataset.told

    def _usable(self, version: str) -> Dataset:
        dataset = self._book.dataset(version) if _ID.fullmatch(version) else None
        if dataset is None or dataset.state in ("making", "failed"):
            raise NotFound("There is no such version of a dataset, or not any more")
        self._check(dataset)
        return dataset

    def _check(self, dataset: Dataset) -> None:
        """Check that the file of a dataset may be read. Raises `Gone`."""
        if dataset.state != "done":
            raise Gone(dataset.told or _EXPIRED)
        if (dataset.expires_at or 0.0) <= self._state.now():
            raise Gone(_EXPIRED)
        if dataset.request.rules != self.maker.rules:
            raise Gone(_OTHER_RULES)
        if self._may_hold(dataset, self._homes.hidden()):
            raise Gone(_ERASED)

    def _may_hold(self, dataset: Dataset, keys: Collection[str]) -> bool:
        """Tell whether a dataset may hold rows of hidden homes."""
        if dataset.state == "done" and not dataset.rows:
            return False
        new = [key for key in keys if digest_of(key) not in dataset.excluded]
        return bool(new) and not self._homes.spared(new)(_note(dataset))


def _note(dataset: Dataset) -> bytes:
    return b"" if dataset.mark is None else encoded([dataset.mark])
