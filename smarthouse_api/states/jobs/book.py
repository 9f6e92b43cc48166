"""The documents of jobs and datasets, and every commit that changes them.

1. A job is added in a turn: two that come at once cannot both take the last place.
2. A job joins a dataset in one commit with it, so that nobody drops a dataset that a job has just joined.
3. What the maker of a dataset commits depends on the dataset's document. Dropping that ends the making.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import Final, NamedTuple

import msgspec

from backends.ports import ABSENT, Change, Conflict, Put, StateStore
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.states.jobs.homes_in_files import holds, joined
from smarthouse_api.states.jobs.model import (
    ENDED_SECONDS,
    SPACE,
    Dataset,
    Job,
    Part,
    Progress,
    encode,
    read_dataset,
    read_job,
    read_part,
    read_plan,
    read_progress,
)

_TURN: Final = "turn"
_PROGRESS_SECONDS: Final = 86400.0
_WRITING_SECONDS: Final = 900.0
"""How long after its time an engine may still be found to write."""


class Known(NamedTuple):
    """Holds a dataset and the version of its document, for a commit that depends on it."""

    dataset: Dataset
    document: int


class Dropped(Exception):
    """Says that a dataset is not wanted any more, or must be begun anew: its making stops."""


class JobBook:
    """Keeps the documents of jobs and datasets in one state store."""

    def __init__(self, state: StateStore, version_days: float) -> None:
        """version_days: how long a version is remembered once its file is gone."""
        self._state, self._gone_seconds = state, version_days * 86400

    def job(self, id_: str) -> tuple[Job, int] | None:
        """Find a job, and the version of its document."""
        found = self._state.get(SPACE, f"job/{id_}")
        return None if found is None else (read_job(found.value), found.version)

    def todo(self) -> list[tuple[str, str, str]]:
        """List the jobs that are not done, the oldest first: the document's name, the job's id, and whose it is."""
        found = self._state.scan_all(SPACE, "todo/")
        return [(name, name.rpartition("/")[2], document.value.decode()) for name, document in found]

    def datasets(self) -> Iterator[Known]:
        """List the datasets that are made or kept."""
        for _, document in self._state.scan_all(SPACE, "dataset/"):
            yield Known(read_dataset(document.value), document.version)

    def known(self, version: str) -> Known | None:
        """Find a dataset that is made or kept."""
        found = self._state.get(SPACE, f"dataset/{version}")
        return None if found is None else Known(read_dataset(found.value), found.version)

    def dataset(self, version: str) -> Dataset | None:
        """Find a dataset, also one that is no longer kept."""
        if (known := self.known(version)) is not None:
            return known.dataset
        gone = self._state.get(SPACE, f"gone/{version}")
        return None if gone is None else read_dataset(gone.value)

    def gone(self) -> Iterator[Known]:
        """List the datasets whose file is gone, or could not be made."""
        for _, document in self._state.scan_all(SPACE, "gone/"):
            yield Known(read_dataset(document.value), document.version)

    def rebury(self, some: Sequence[Known], state: str, told: str) -> bool:
        """Note another reason why files are gone; False if a document has changed meanwhile."""
        puts, expect = list[Put](), dict[str, int]()
        for known in some:
            gone = msgspec.structs.replace(known.dataset, state=state, told=told)
            puts.append(Put(f"gone/{gone.version}", encode(gone), self._gone_seconds))
            expect[puts[-1].key] = known.document
        try:
            self._state.commit(SPACE, Change(expect, tuple(puts)))
        except Conflict:
            return False
        return True

    def equal(self, question: str) -> tuple[str | None, int]:
        """Find the newest dataset for a question: its version, and that of the document, for `join`."""
        found = self._state.get(SPACE, f"equal/{question}")
        return (None, ABSENT) if found is None else (found.value.decode(), found.version)

    def add(self, job: Job, check: Callable[[], None], replies: Sequence[Put]) -> None:
        """Add a job unless `check`, which looks at what there is, refuses. Raises `Conflict` if a reply exists already."""
        while True:
            turn = self._state.get(SPACE, _TURN)
            check()
            expect = {_TURN: turn.version if turn else ABSENT, f"job/{job.id}": ABSENT, **{put.key: ABSENT for put in replies}}
            puts = (Put(_TURN, b""), Put(f"job/{job.id}", encode(job)), Put(_todo(job), job.owner.encode()), *replies)
            try:
                self._state.commit(SPACE, Change(expect, puts))
            except Conflict:
                if any(self._state.get(SPACE, put.key) is not None for put in replies):
                    raise
            else:
                return

    def join(self, job: Job, document: int, known: Known, equal: int | None = None) -> bool:
        """Have a job ask for a dataset, which may be new; False if something has changed meanwhile.

        document: the version of the job's. known: the dataset before, with `ABSENT` for a new one. equal: the version of the
        document that names the newest dataset for the question, if this one takes its place.
        """
        dataset = msgspec.structs.replace(known.dataset, jobs=(*known.dataset.jobs, (job.id, job.owner)))
        expect = {f"job/{job.id}": document, f"dataset/{dataset.version}": known.document}
        puts = [Put(f"dataset/{dataset.version}", encode(dataset))]
        if equal is not None:
            expect[f"equal/{dataset.question}"] = equal
            puts.append(Put(f"equal/{dataset.question}", dataset.version.encode()))
        joined = msgspec.structs.replace(job, dataset=dataset.version, told=None, faults=0, retry_at=0.0)
        is_done = dataset.state == "done"
        puts.append(Put(f"job/{job.id}", encode(joined), self._gone_seconds if is_done else None))
        try:
            self._state.commit(SPACE, Change(expect, tuple(puts), (_todo(job),) if is_done else ()))
        except Conflict:
            return False
        return True

    def change(self, job: Job, document: int) -> bool:
        """Replace a job's document; False if it has changed meanwhile. A job that has ended is remembered for an hour."""
        # A store that is full takes only what expires, and a forget must succeed there.
        seconds, deletes = (ENDED_SECONDS, (_todo(job),)) if job.ended else (FOR_GOOD_SECONDS, ())
        name = f"job/{job.id}"
        try:
            self._state.commit(SPACE, Change({name: document}, (Put(name, encode(job), seconds),), deletes))
        except Conflict:
            return False
        return True

    def forget_todo(self, name: str) -> None:
        """Take a job off the list of those that are not done. name: of the document."""
        self._state.commit(SPACE, Change(deletes=(name,)))

    def leave(self, dataset: Dataset, id_: str, told: str) -> bool:
        """Take a job off a dataset; whether that was dropped, because no other job asks for it. told: why its file is gone."""
        while (known := self.known(dataset.version)) is not None:
            left = tuple(job for job in known.dataset.jobs if job[0] != id_)
            if not left:
                if self.bury(known, "expired", told) if known.dataset.state == "done" else self._drop(known):
                    return True
            elif self._put(known, msgspec.structs.replace(known.dataset, jobs=left)):
                return False
        return False

    def parts(self, version: str) -> dict[int, Part]:
        """Return the parts that are made, by their numbers. They may have been made in any order."""
        found = self._state.scan_all(SPACE, f"part/{version}/")
        return {int(name.rpartition("/")[2]): read_part(document.value) for name, document in found}

    def add_part(self, dataset: Dataset, number: int, part: Part, homes: bytes | None = None) -> None:
        """Note a part that was made, with the homes that have rows in it, if they are known.

        Raises `Dropped`, also if parts were given up since the dataset was read.
        """
        name, of_homes = f"part/{dataset.version}/{number:06d}", f"homes/{dataset.version}"
        while (known := self.in_turn(dataset)) is not None:
            found = self._state.get(SPACE, of_homes)
            before = found.value if found else b""
            after = None if homes is None else joined(before, homes)
            puts = [Put(name, encode(msgspec.structs.replace(part, has_homes=after is not None)))]
            if after is not None and after != before:
                puts.append(Put(of_homes, after))
            expect = {f"dataset/{dataset.version}": known.document, of_homes: found.version if found else ABSENT}
            with suppress(Conflict):  # a job has joined it, or left it
                self._state.commit(SPACE, Change(expect, tuple(puts)))
                return
        raise Dropped

    def may_have_rows(self, dataset: Dataset, keys: Iterable[str]) -> bool:
        """Tell whether the file of a dataset may have rows of homes, whatever their days. keys: their internal keys."""
        found = self._state.get(SPACE, f"homes/{dataset.version}") if dataset.knows_homes else None
        return found is None or holds(found.value, dataset.version, keys)

    def in_turn(self, dataset: Dataset) -> Known | None:
        """Find a dataset that is being made, as far as no part was given up since; None otherwise."""
        known = self.known(dataset.version)
        is_same = known is not None and known.dataset.state == "making" and known.dataset.turn == dataset.turn
        return known if is_same else None

    def plan(self, version: str) -> tuple[tuple[date, date], ...] | None:
        """Return the days of each part, as they were planned first; None if nothing was planned yet."""
        found = self._state.get(SPACE, f"plan/{version}")
        return None if found is None else read_plan(found.value)

    def add_plan(self, dataset: Dataset, days: Sequence[tuple[date, date]], told: str) -> None:
        """Note the days of each part, and what the parts tell, see `told`. Raises `Dropped`."""
        puts = Put(f"plan/{dataset.version}", encode(days)), Put(f"told/{dataset.version}", told.encode())
        while (known := self.in_turn(dataset)) is not None:
            with suppress(Conflict):
                self._state.commit(SPACE, Change({f"dataset/{dataset.version}": known.document}, puts))
                return
        raise Dropped

    def told(self, version: str) -> str | None:
        """Return the digest of what the parts of a dataset tell, as they were planned first."""
        found = self._state.get(SPACE, f"told/{version}")
        return None if found is None else found.value.decode()

    def give_up_parts(self, known: Known, is_good: Callable[[Part], bool], excluded: Sequence[str], told: str) -> bool:
        """Give up parts that may hold homes, and whatever is being made; False if the dataset has changed meanwhile.

        is_good: tells which parts stay. excluded: digests of the homes. told: what the jobs say of it.
        """
        dataset, made = known.dataset, self.parts(known.dataset.version)
        kept = tuple(number for number, part in made.items() if dataset.has_part(number, part) and is_good(part))
        # Which part is noted until this is committed, and is not among these, counts as given up.
        homes = tuple(sorted({*dataset.excluded, *excluded}))
        left = msgspec.structs.replace(dataset, turn=dataset.turn + 1, kept=kept, excluded=homes, rows_in_all=None)
        deletes = [f"part/{dataset.version}/{number:06d}" for number in made if number not in kept]
        # A store that is full takes only what expires, and a forget must succeed there.
        put = Put(f"dataset/{dataset.version}", encode(left), FOR_GOOD_SECONDS)
        if not self._commit(known, Change(puts=(put,), deletes=tuple(deletes))):
            return False
        self._tell_jobs(dataset, told)
        return True

    def begin_writing(self, dataset: Dataset, name: str, token: str, seconds: float) -> str:
        """Note that an engine is to write for a dataset, before it does; the document's name. Raises `Dropped`.

        token: stops the writing. seconds: that it may take. Some time later the document expires.
        """
        note = f"writing/{dataset.version}/{name}"
        while (known := self.in_turn(dataset)) is not None:
            put = Put(note, token.encode(), seconds + _WRITING_SECONDS)
            with suppress(Conflict):
                self._state.commit(SPACE, Change({f"dataset/{dataset.version}": known.document}, (put,)))
                return note
        raise Dropped

    def end_writing(self, name: str) -> None:
        """Note that a writing is over. name: of its document."""
        self._state.commit(SPACE, Change(deletes=(name,)))

    def writings(self, version: str | None = None) -> list[tuple[str, str]]:
        """List the writings that may be under way, of one dataset or of all: the documents' names, and what stops each."""
        prefix = "writing/" if version is None else f"writing/{version}/"
        return [(name, document.value.decode()) for name, document in self._state.scan_all(SPACE, prefix)]

    def progress(self, version: str) -> Progress:
        """Tell how far a dataset is."""
        found = self._state.get(SPACE, f"progress/{version}")
        return Progress() if found is None else read_progress(found.value)

    def tell(self, dataset: Dataset, progress: Progress) -> None:
        """Note how far a dataset is. Raises `Dropped` if it is not wanted any more, or parts of it were given up."""
        if self.in_turn(dataset) is None:
            raise Dropped
        self._state.put(SPACE, f"progress/{dataset.version}", encode(progress), ttl_seconds=_PROGRESS_SECONDS)

    def finish(self, making: Dataset, finished: Callable[[Dataset], Dataset]) -> Dataset:
        """Note that a file is made, and that its jobs are done. Raises `Dropped`."""
        version = making.version
        while (known := self.in_turn(making)) is not None:
            done = finished(known.dataset)
            settled = self._settled(done, self._gone_seconds + (done.expires_at or done.at) - done.at)
            puts, deletes = (Put(f"dataset/{version}", encode(done)), *settled.puts), (*settled.deletes, *self._made(version))
            if self._commit(known, Change(settled.expect, puts, deletes)):
                return done
        raise Dropped

    def bury(self, known: Known, state: str, told: str) -> bool:
        """Note that a file is gone, or cannot be made, and why; False if the dataset has changed meanwhile."""
        gone = msgspec.structs.replace(known.dataset, state=state, told=told, secret="", excluded=())
        settled = self._settled(gone, self._gone_seconds)
        puts = (Put(f"gone/{gone.version}", encode(gone), self._gone_seconds), *settled.puts)
        gone_too = f"dataset/{gone.version}", f"homes/{gone.version}", *self._equal(gone)
        deletes = (*gone_too, *settled.deletes, *self._made(gone.version))
        return self._commit(known, Change(settled.expect, puts, deletes))

    def begin_anew(self, known: Known, told: str) -> bool:
        """Drop a dataset that is not done, so that its jobs get another one; False if it has changed meanwhile."""
        if not self._drop(known):
            return False
        self._tell_jobs(known.dataset, told)
        return True

    def _tell_jobs(self, dataset: Dataset, told: str) -> None:
        for id_, _ in dataset.jobs:
            while (found := self.job(id_)) is not None and found[0].ended is None:
                if self.change(msgspec.structs.replace(found[0], anew=told, told=None, faults=0, retry_at=0.0), found[1]):
                    break

    def _settled(self, dataset: Dataset, seconds: float) -> Change:
        """Make the change of the jobs whose dataset is done or gone."""
        found = (self.job(id_) for id_, _ in dataset.jobs)
        jobs = [one for one in found if one is not None and one[0].ended is None]
        return Change(
            {f"job/{job.id}": document for job, document in jobs},
            tuple(Put(f"job/{job.id}", encode(job), seconds) for job, _ in jobs),
            tuple(_todo(job) for job, _ in jobs),
        )

    def _drop(self, known: Known) -> bool:
        version = known.dataset.version
        documents = f"dataset/{version}", f"homes/{version}", *self._equal(known.dataset)
        return self._commit(known, Change(deletes=(*documents, *self._made(version))))

    def _put(self, known: Known, dataset: Dataset) -> bool:
        return self._commit(known, Change(puts=(Put(f"dataset/{dataset.version}", encode(dataset)),)))

    def _commit(self, known: Known, change: Change) -> bool:
        name = f"dataset/{known.dataset.version}"
        try:
            self._state.commit(SPACE, replace(change, expect={**change.expect, name: known.document}))
        except Conflict:
            return False
        return True

    def _equal(self, dataset: Dataset) -> tuple[str, ...]:
        return (f"equal/{dataset.question}",) if self.equal(dataset.question)[0] == dataset.version else ()

    def _made(self, version: str) -> Iterable[str]:
        parts = (name for name, _ in self._state.scan_all(SPACE, f"part/{version}/"))
        return (*parts, *(f"{kind}/{version}" for kind in ("plan", "told", "progress")))


def _todo(job: Job) -> str:
    return f"todo/{round(job.at * 1e6):020d}/{job.id}"
