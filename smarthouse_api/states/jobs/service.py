"""Export jobs as clients and the housekeeper see them: asked for, looked at, cancelled, downloaded, and forgotten."""

from __future__ import annotations

import hmac
import re
import secrets
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from backends.ports import Conflict
from smarthouse_api.coordination.idempotency import Replies, RequestKey, pair_of
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.errors import Gone, Invalid, NotFound, TooMany, Unavailable
from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.jobs.book import Known
from smarthouse_api.states.jobs.gone_versions import drop_beyond, told_anew
from smarthouse_api.states.jobs.kept_files import CROWDED, ERASED, EXPIRED, FOLLOWED, KEPT, LOST, REMOVED, KeptFile, KeptFiles
from smarthouse_api.states.jobs.maker import Maker
from smarthouse_api.states.jobs.model import PREFIX, SPACE, Dataset, Job, Request
from smarthouse_api.states.jobs.views import Figures, JobView, Views
from smarthouse_api.states.jobs.workshop import FORGOTTEN, Workshop, note_of
from smarthouse_api.states.query import Filters
from smarthouse_api.states.uploads import Uploads

OPERATOR: Final = "operator"
"""The owner of jobs from the command line, which no limit refuses."""

_ADDRESS: Final = "address/"
_KEY: Final = "key/"
_TIDY_SECONDS: Final = 60.0
_ID: Final = re.compile("[0-9a-f]{32}", re.ASCII)
_RETRY_SECONDS: Final = 30
"""Nobody knows when a job will end: most do within a minute."""

_TAKEN_SECONDS: Final = 600.0
"""After this time a file may go for another client's that has none yet. Else many strangers would keep all others out."""


class Asked(msgspec.Struct, frozen=True):
    """Answers the one who asks for a job. replayed: it answers an earlier request."""

    id: str
    replayed: bool = False


_REPLY: Final = pair_of(Asked)


class Jobs:
    """Takes jobs, tells how far they are, and keeps their files for as long, and as many, as the settings say."""

    def __init__(self, shop: Workshop, keyring: Keyring, replies: Replies, uploads: Uploads) -> None:
        self._shop, self._keyring, self._replies, self.maker = shop, keyring, replies, Maker(shop)
        self.files = KeptFiles(shop, self.maker.preparing, uploads)
        self._views, self.continuing = Views(shop, self.files), self.maker.preparing.continuing

    def owner_of(self, address: str) -> str:
        """Name a client without a key, so that nobody can tell the address."""
        return f"{_ADDRESS}{hmac.digest(self._keyring.key('jobs'), address.encode(), 'sha256').hex()[:32]}"

    def request(
        self,
        filters: Filters,
        formats: tuple[str, ...],
        *,
        metadata: bool = True,
        fresh: bool = True,
        aggregation: Aggregation | None = None,
        is_bare: bool = False,
        since: str | None = None,
    ) -> Request:
        """Make a request by the service's present rules. Raises `Invalid` for what does not go together.

        since: the version whose rows are not wanted again, see `Continuing.filters`.
        """
        if since is not None:
            filters = self.continuing.filters(since, filters)
            aggregation = self.continuing.aggregation(since, aggregation)
        if aggregation is not None:
            aggregation.widened(filters)
        if is_bare and len(formats) > 1:
            raise Invalid("bare: a file that is no zip has one format; ask for one, or for a zip")
        return Request(filters, formats, metadata and not is_bare, fresh, self._shop.rules, aggregation, is_bare, since)

    def ask(self, request: Request, owner: str, request_key: RequestKey | None = None) -> Asked:
        """Ask for an export. Raises `TooMany`, `Unavailable` if there are too many, and `KeyReused`."""
        if (earlier := self._replies.earlier(SPACE, request_key, _REPLY)) is not None:
            return earlier
        self._shop.room.check()
        asked = Asked(secrets.token_hex(16))
        job = Job(asked.id, owner, request, self._shop.state.now())
        try:
            self._shop.book.add(job, lambda: self._check_room(owner), self._replies.puts(request_key, asked, _REPLY))
        except Conflict:  # another attempt at the same request was first
            return self.ask(request, owner, request_key)
        return asked

    def _check_room(self, owner: str) -> None:
        if owner == OPERATOR:
            return
        while True:
            owners = [one for _, _, one in self._shop.book.todo()]
            done = [known.dataset for known in self._shop.book.datasets() if known.dataset.state == "done"]
            owners += [one for dataset in done for _, one in dataset.jobs]
            if (own := owners.count(owner)) >= (most := self._shop.settings.per_client):
                if self._end_oldest(done, {owner}, FOLLOWED):
                    continue
                raise TooMany(f"You have {most} export jobs that wait or run; delete some, or wait", _RETRY_SECONDS)
            if len(owners) >= self._shop.settings.most:
                refusal = "There are as many export jobs as the service keeps; repeat the request later"
            elif sum(dataset.size_bytes for dataset in done) >= self._shop.settings.bytes:
                refusal = "The files of export jobs take up as much room as they may; repeat the request later"
            else:
                return
            if not self._make_room(owner, own, done):
                raise Unavailable(refusal)

    def _make_room(self, owner: str, own: int, done: Sequence[Dataset]) -> bool:
        """End a finished job for a new one: one that has no file, or else the oldest of the clients that have the most.

        If these have one more than the client, who has `own`, only what was finished a while ago ends: who asked can have taken
        it. No client without a key ends the file of one with a key.
        """
        if empty := [dataset for dataset in done if not dataset.rows]:
            return self._end_oldest(empty, {one for dataset in empty for _, one in dataset.jobs}, CROWDED)
        owners = (one for dataset in done for _, one in dataset.jobs)
        counts = Counter(one for one in owners if one.startswith(_ADDRESS) or (owner.startswith(_KEY) and one.startswith(_KEY)))
        weights = {one: (one.startswith(_ADDRESS), count) for one, count in counts.items()}
        most = max(weights.values(), default=(False, 0))
        if most[1] <= own:
            return False
        if most[1] == own + 1:
            late = self._shop.state.now() - _TAKEN_SECONDS
            done = [dataset for dataset in done if (dataset.finished_at or 0.0) <= late]
        return self._end_oldest(done, {one for one, weight in weights.items() if weight == most}, CROWDED)

    def _end_oldest(self, done: Sequence[Dataset], owners: Collection[str], told: str) -> bool:
        """End the oldest finished job of some clients; False if there is none."""
        for dataset in sorted(done, key=lambda dataset: dataset.finished_at or 0.0):
            for id_, one in dataset.jobs:
                if one in owners:
                    self._leave(dataset, id_, told)
                    return True
        return False

    def owner(self, id_: str) -> str:
        """Tell whose a job is. Raises `NotFound`."""
        return self._find(id_)[0].owner

    def view(self, id_: str) -> JobView:
        """Tell how far a job is. Raises `NotFound`."""
        return self._views.of(self._find(id_)[0])

    def asked(self, id_: str) -> Request:
        """Return what a job was asked for. Raises `NotFound`."""
        return self._find(id_)[0].request

    def views(self) -> list[JobView]:
        """List the jobs that wait, run, or have a file, the oldest first."""
        ids = {id_ for _, id_, _ in self._shop.book.todo()}
        ids |= {id_ for known in self._shop.book.datasets() for id_, _ in known.dataset.jobs}
        found = (self._shop.book.job(id_) for id_ in ids)
        return sorted((self._views.of(one[0]) for one in found if one is not None), key=lambda view: view.created_at)

    def unfinished(self, request: Request, owner: str) -> str | None:
        """Find a job of a client that asks the same, and is not done."""
        for _, id_, one in self._shop.book.todo():
            found = self._shop.book.job(id_) if one == owner else None
            if found is not None and found[0].ended is None and found[0].request == request:
                return id_
        return None

    def figures(self) -> Figures:
        """Count the jobs and the files that are kept."""
        return self._views.figures()

    def cancel(self, id_: str) -> JobView:
        """Cancel a job, and remove its file, unless another job has the same. Repeatable. Raises `NotFound`."""
        while True:
            job, document = self._find(id_)
            if job.ended is not None:
                return self._views.of(job)
            if self._shop.book.change(msgspec.structs.replace(job, ended="cancelled"), document):
                break
        dataset = None if job.dataset is None else self._shop.book.dataset(job.dataset)
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
        return self.files.open(view.version)

    def signed_url(self, id_: str) -> str | None:
        """Make a URL of the object store's own for the file of a job; None if it makes none, or there is no file."""
        view = self.view(id_)
        return None if not view.has_file or view.version is None else self.files.signed_url(view.version)

    def are_sent(self) -> bool:
        """Tell whether somebody downloads a file of a dataset."""
        return bool(self._shop.leases.shared(KEPT))

    def forget(self, keys: Collection[str], wait_seconds: float) -> None:
        """Remove all that is made, or was, and may hold rows of hidden homes. keys: their internal keys. Repeatable.

        Whoever sends such a file has so many seconds to finish, and is then broken off. Of what is being made, only parts of
        days go on which a home has rows.
        """
        if not keys:
            return
        self._shop.leases.break_shared(KEPT, wait_seconds, lambda note: not self._shop.may_send(note, keys))
        for known in list(self._shop.book.datasets()):
            left: Known | None = known
            while left is not None and self._shop.may_hold(left.dataset, keys):
                if left.dataset.state == "making" and left.dataset.is_resumable:
                    new = [key for key in keys if digest_of(key) not in left.dataset.excluded]
                    if self._shop.give_up(left, new):
                        break
                    left = self._shop.book.known(known.dataset.version)
                    continue
                # Its bytes go before its document: if this process dies in between, the next one finds it.
                self._shop.remove(left.dataset)
                if self._forgotten(left):
                    self._shop.remove(left.dataset)  # what was put meanwhile
                    break
                left = self._shop.book.known(known.dataset.version)
            self._shop.remove_given_up(known.dataset.version)  # also what a forget has left that died
        self._shop.engine.files.remove_late(self._shop.is_made)
        # Who continues such a version is told.
        spared, gone = self._shop.homes.spared(keys), (known for known in self._shop.book.gone() if known.dataset.rows)
        held = [known for known in gone if known.dataset.state == "expired" and not spared(note_of(known.dataset))]
        told_anew(self._shop.book, held, "forgotten", ERASED)

    def _forgotten(self, known: Known) -> bool:
        if known.dataset.state == "making":
            return self._shop.book.begin_anew(known, FORGOTTEN)
        return self._shop.book.bury(known, "forgotten", ERASED)

    def warm_engine(self) -> None:
        """Have an engine of its own that is new load what the first job needs."""
        engine = self._shop.engine.engine
        if engine.is_cold() and (snapshot := self._shop.table.open()) is not None:
            engine.warm(snapshot)

    def keep(self) -> None:
        """Tidy once a minute, in one of all processes."""
        if self._shop.leases.claim("export-jobs", _TIDY_SECONDS):
            self.tidy()

    def tidy(self) -> None:
        """Remove the files that have expired, the datasets that no job asks for any more, and versions beyond those kept."""
        now = self._shop.state.now()
        for known in list(self._shop.book.datasets()):
            dataset = known.dataset
            if dataset.state == "done" and (dataset.expires_at or 0.0) <= now:
                self._shop.remove(dataset)
                self._shop.book.bury(known, "expired", EXPIRED)
            for id_, _ in dataset.jobs:
                if (found := self._shop.book.job(id_)) is None or found[0].ended is not None:
                    self._leave(dataset, id_)
        self._shop.engine.files.sweep(self._shop.is_made)
        drop_beyond(self._shop.state, list(self._shop.book.gone()))

    def _leave(self, dataset: Dataset, id_: str, told: str = REMOVED) -> None:
        if self._shop.book.leave(dataset, id_, told):
            self._shop.remove(dataset)

    def sweep(self) -> None:
        """Remove the objects that belong to no dataset, and what is left of parts, from processes that died.

        A file that is missing, as after a restore of a backup, is told as gone.
        """
        kept = [known for known in self._shop.book.datasets() if known.dataset.size_bytes]
        found = dict[str, list[str]]()
        for info in self._shop.objects.list(PREFIX):
            found.setdefault(info.key.removeprefix(PREFIX).partition("/")[0], []).append(info.key)
        for version, names in found.items():  # the documents after the objects: a new dataset has its document first
            known = self._shop.book.known(version)
            if known is None:
                self._shop.objects.delete(names)
            elif known.dataset.state == "making":
                self._shop.remove_given_up(version)
            elif known.dataset.state == "done":
                self._shop.objects.delete([name for name in names if name not in (known.dataset.file, known.dataset.sums)])
        for known in kept:
            if known.dataset.file not in found.get(known.dataset.version, ()):
                self._shop.book.bury(known, "expired", LOST)

    def _find(self, id_: str) -> tuple[Job, int]:
        found = self._shop.book.job(id_) if _ID.fullmatch(id_) else None
        if found is None:
            raise NotFound("There is no such export job, or not any more")
        return found
