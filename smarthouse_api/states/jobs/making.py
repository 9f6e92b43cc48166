"""Makes the datasets that jobs ask for, part by part, so that another process goes on where one dies.

1. Whoever takes a job finds out what it asks for: a snapshot of the lake, and which homes are hidden. If there is a dataset of
   the same, made or being made, the job joins it. Else it gets a new one.
2. Whoever holds the lease of a dataset makes it. A reader's lease keeps the files of its snapshot.
3. Each part is put into the object store in each format, then noted. What is noted is not made again.
4. The file is put together of the parts, then the dataset is done, and the parts are removed.
5. If the snapshot is gone, or a home is forgotten that it may hold, the dataset is dropped and its jobs get another.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import Final

import msgspec
import pyarrow as pa
from deltalake import DeltaTable

from backends.ports import ABSENT, ObjectStore, StateStore, StoreError
from config.groups import ExportSettings, JobSettings
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.coordination.leases import Lease, LeaseLost, Leases
from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.coordination.room import Room
from smarthouse_api.errors import Forbidden, Refused, TooLarge, Unavailable
from smarthouse_api.lake.repairs import told
from smarthouse_api.lake.snapshot_marks import encoded, mark_of
from smarthouse_api.states.aggregates.asked import LENGTHS, Aggregation
from smarthouse_api.states.chores import StatesChores
from smarthouse_api.states.contents.service import Contents
from smarthouse_api.states.export.coverage import Coverage
from smarthouse_api.states.export.dataset import Exports
from smarthouse_api.states.export.published_rows import PublishedRows
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.jobs.book import Dropped, JobBook, Known
from smarthouse_api.states.jobs.encoding import PartInFormat
from smarthouse_api.states.jobs.linking import LostPart, extract_of, linked, source_of
from smarthouse_api.states.jobs.model import Dataset, Job, Part, Progress, Request, encode
from smarthouse_api.states.query import ExportPart, Filters
from smarthouse_api.states.rebuilding import Rebuilding
from smarthouse_api.states.table import StatesTable
from smarthouse_api.version import own_version

_LOOK_SECONDS: Final = 0.2
_MOST_FAULTS: Final = 8
_LONGEST_REST_SECONDS: Final = 60.0
_TRIES: Final = 3
_TIMES_LONGER: Final = 8
FORGOTTEN: Final = "begun anew: a home was erased that it might have held"
_OUTDATED: Final = "begun anew with the newest data: its snapshot of the lake is gone"
_NEWER: Final = "begun anew by another version of the service"
_LOST: Final = "begun anew: a part of it was lost"
_FAILED: Final = "The service failed to make it, and its log says why; ask again, or tell its operator"

log = logging.getLogger(__name__)


class Stopped(Exception):
    """Says that this process is to stop working on a dataset; another goes on."""


class _Anew(Exception):
    """Says that a dataset must be begun anew, and why."""


@dataclass(frozen=True)
class _Planned:
    """Plans a part: the first and the last of its days, and what reads its rows."""

    first: date
    last: date
    read: Callable[[], Generator[pa.RecordBatch]]

    @property
    def days(self) -> tuple[str, str]:
        return self.first.isoformat(), self.last.isoformat()


class Maker:
    """Works on jobs: any number of makers may, in any process."""

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        book: JobBook,
        leases: Leases,
        homes: Homes,
        table: StatesTable,
        chores: StatesChores,
        rebuilding: Rebuilding,
        exports: Exports,
        contents: Contents,
        room: Room,
        export_settings: ExportSettings,
        settings: JobSettings,
    ) -> None:
        self._state, self._objects, self._book, self._leases, self._homes = state, objects, book, leases, homes
        self._table, self._chores, self._rebuilding, self._exports = table, chores, rebuilding, exports
        self._contents, self._asking, self._room = contents, contents.asking, room
        self._export_settings, self._settings = export_settings, settings
        level, few = export_settings.privacy, (export_settings.min_homes, export_settings.enrolled_after_days)
        published = level, sorted(export_settings.words), export_settings.pseudonyms, few if level == "strict" else ()
        self.rules = hashlib.sha256(encode(published)).hexdigest()[:16]
        """A digest of the rules of privacy that hold now."""

    def is_wanted(self) -> bool:
        """Tell whether there is a job that is not done."""
        return bool(self._book.todo())

    def work(self, is_over: Callable[[], bool] = lambda: False, only: str | None = None) -> bool:
        """Work on the job whose turn it is, until it is done; whether there was one that nobody else works on.

        is_over: asked between two batches; if it says so, the rest is left to others. only: the one job to work on.
        """
        if not (todo := self._book.todo()):
            return False
        done = (known.dataset.jobs for known in self._book.datasets() if known.dataset.state == "done")
        for name, id_, _ in _in_turn(todo, [owner for jobs in done for _, owner in jobs]):
            if only not in (None, id_):
                continue
            found = self._book.job(id_)
            if found is None or found[0].ended is not None:
                self._book.forget_todo(name)
            elif found[0].retry_at <= self._state.now() and self._is_worked_on(name, *found, is_over):
                return True
        return False

    def question(self, request: Request) -> str:
        """Name all that decides the answer to a request, except what the lake holds."""
        named = self._export_settings.license, self._export_settings.author, own_version()
        told = named, msgspec.structs.replace(request, fresh=True)
        return hashlib.sha256(encode(told)).hexdigest()

    def is_current(self, dataset: Dataset, snapshot: DeltaTable | None, hidden: Sequence[str], incomplete: str | None) -> bool:
        """Tell whether a dataset is what the same question would be answered with now. hidden: digests of the homes."""
        mark = None if snapshot is None else mark_of(self._table.name, snapshot)
        now, aggregation = self._state.now(), dataset.request.aggregation
        if dataset.state == "done" and (dataset.expires_at or 0.0) <= now:
            return False
        # The last states of aggregates are held until now: in the next interval they have another one.
        if aggregation is not None and now // _seconds(aggregation) != dataset.at // _seconds(aggregation):
            return False
        return (dataset.mark, dataset.excluded, dataset.incomplete) == (mark, tuple(hidden), incomplete)

    def hidden(self) -> list[str]:
        """Return digests of the homes that are hidden now."""
        return sorted(map(digest_of, self._homes.hidden()))

    def remove(self, dataset: Dataset) -> None:
        """Remove all objects of a dataset."""
        self._objects.delete([info.key for info in self._objects.list(dataset.folder)])

    def remove_parts(self, dataset: Dataset) -> None:
        """Remove what a dataset's file was put together of."""
        self._objects.delete([info.key for info in self._objects.list(dataset.folder) if info.key != dataset.file])

    def _is_worked_on(self, name: str, job: Job, document: int, is_over: Callable[[], bool]) -> bool:
        known = None if job.dataset is None else self._book.known(job.dataset)
        if known is None and job.dataset is not None and self._book.dataset(job.dataset) is not None:
            self._book.forget_todo(name)  # it was buried while the job joined it
            return True
        what = f"job/{job.id}" if known is None else f"dataset/{known.dataset.version}"
        if (lease := self._leases.try_hold(what)) is None:
            return False
        with lease:
            if known is None:
                self._attempt(job, partial(self._prepare, job, document))
            elif known.dataset.state == "done":
                self._book.forget_todo(name)
            else:
                self._attempt(job, _Making(self, known.dataset, lease, is_over))
        return True

    def _attempt(self, job: Job, act: _Making | Callable[[], None]) -> None:
        """Do something for a job. What fails is done again later, unless it would fail again."""
        making = act if isinstance(act, _Making) else None
        dataset = None if making is None else making.dataset
        try:
            act()
        except Stopped:
            pass
        except LeaseLost:
            log.info("an export job was broken off, and goes on")
        except Dropped:
            # Another process may have finished it meanwhile.
            if dataset is not None and self._book.known(dataset.version) is None:
                self.remove(dataset)
        except (Unavailable, StoreError, TimeoutError) as fault:
            self._failed(
                job.id, dataset, str(fault), is_final=False, has_progressed=making is not None and making.has_progressed
            )
        except Refused as fault:
            self._failed(job.id, dataset, fault.detail, is_final=True)
        except Exception:  # a fault of ours, logged with its trace
            log.exception("an export job failed")
            self._failed(job.id, dataset, _FAILED, is_final=True)

    def _failed(self, id_: str, dataset: Dataset | None, told: str, *, is_final: bool, has_progressed: bool = False) -> None:
        """Note that an attempt failed, with each job that waits for it."""
        known = None if dataset is None else self._book.known(dataset.version)
        if dataset is not None and known is None:
            self.remove(dataset)
            return
        for one in [id_] if known is None else [job for job, _ in known.dataset.jobs]:
            while (found := self._book.job(one)) is not None and found[0].ended is None:
                job, document = found
                faults = 1 if has_progressed else job.faults + 1
                if is_final or faults >= _MOST_FAULTS:
                    if known is not None:
                        self._given_up(known, told)
                        return
                    failed = msgspec.structs.replace(job, ended="failed", told=told)
                else:
                    retry_at = self._state.now() + min(0.5 * 2**faults, _LONGEST_REST_SECONDS)
                    failed = msgspec.structs.replace(job, told=told, faults=faults, retry_at=retry_at)
                if self._book.change(failed, document):
                    log.warning("an export job %s: %s", failed.ended or "is tried again", told)
                    break

    def _given_up(self, known: Known | None, told: str) -> None:
        while known is not None and known.dataset.state == "making":
            if self._book.bury(known, "failed", told):
                log.warning("an export job failed: %s", told)
                self.remove(known.dataset)
                return
            known = self._book.known(known.dataset.version)

    def _prepare(self, job: Job, document: int) -> None:
        """Find the dataset that a job asks for, or begin it."""
        request = job.request
        self.check_rules(request)
        filters = request.filters.kept(self._table.first_kept_day())
        needed = filters if request.aggregation is None else request.aggregation.widened(filters)
        self._rebuilding.refuse_held(*needed.span)
        if request.fresh:
            self._chores.flush()
        with self._table.reading() as lease:
            self._rebuilding.refuse_held(*needed.span)
            repairs, excluded = self._rebuilding.repairs.touching(*needed.span), self.hidden()
            snapshot, count = self._counted(needed, lease)
            found = told([*repairs, *self._rebuilding.repairs.touching(*needed.span)])
            if count == 0 and found is not None:
                raise Unavailable(f"No row can be given now: {found}")
            incomplete = "; ".join(filter(None, (found, self._rebuilding.lacking(needed.span[0])))) or None
            question = self.question(request) if self._asking.has_lasting_names else secrets.token_hex(32)
            newest, equal = self._book.equal(question)
            known = None if newest is None else self._book.known(newest)
            if known is not None and self.is_current(known.dataset, snapshot, excluded, incomplete):
                self._book.join(job, document, known)  # else it is done again
                return
            now = self._state.now()
            dataset = Dataset(
                version=secrets.token_hex(16),
                question=question,
                jobs=(),
                request=request,
                filters=filters,
                mark=None if snapshot is None else mark_of(self._table.name, snapshot),
                excluded=tuple(excluded),
                at=now,
                made_by=own_version(),
                rows_in_all=count if request.aggregation is None or count == 0 else None,
                incomplete=incomplete,
                secret="" if self._asking.has_lasting_names else self._asking.secret().hex(),
            )
            if count == 0:
                dataset = msgspec.structs.replace(dataset, state="done", finished_at=now, expires_at=self._expiry(now))
            self._book.join(job, document, Known(dataset, ABSENT), equal)

    def _counted(self, filters: Filters, lease: Lease) -> tuple[DeltaTable | None, int | None]:
        """Open the newest snapshot, and count its rows that pass the filters; None if they cannot be counted now."""
        count = None
        for _ in range(_TRIES):
            asked = self._asking.ready(filters)
            found = None if asked is None else self._exports.whole(asked)
            if found is None:
                return None, 0
            snapshot = found[0]
            self._table.note(lease, snapshot)
            try:
                with self._contents.open() as opened:
                    if opened.version == snapshot.version():
                        count = opened.select(filters).rows
            except Unavailable as fault:
                log.info("an export job does not know how many rows it will have: %s", fault)
                break
            if count is not None:
                break
        return snapshot, count

    def check_rules(self, request: Request) -> None:
        """Check that a request was made by the rules of privacy that hold now. Raises `Forbidden`."""
        if request.rules != self.rules:
            raise Forbidden("The service publishes by other rules than when this was asked for; ask again")

    def _expiry(self, now: float) -> float:
        return now + self._settings.hours * 3600


class _Making:
    """Makes one dataset, as far as it can now. lease: of the dataset."""

    def __init__(self, maker: Maker, dataset: Dataset, lease: Lease, is_over: Callable[[], bool]) -> None:
        self._maker, self.dataset, self._lease, self._is_over = maker, dataset, lease, is_over
        self._note = b"" if dataset.mark is None else encoded([dataset.mark])
        self._looked_at, self.has_progressed = float("-inf"), False
        self._rows = self._bytes = self._begun = self._planned = 0
        self._others_bytes = sum(
            known.dataset.size_bytes for known in maker._book.datasets() if known.dataset.version != dataset.version
        )

    def __call__(self) -> None:
        maker, dataset = self._maker, self.dataset
        try:
            with maker._table.reading() as reader:
                self._reader = reader
                parts = self._made(self._open())
                if self._rows:
                    self._link(parts)
        except (_Anew, LostPart) as fault:
            why = str(fault) or _LOST
            while (known := maker._book.known(dataset.version)) is not None and known.dataset.state == "making":
                if maker._book.begin_anew(known, why):
                    log.info("an export job is %s", why)
                    break
            raise Dropped from None
        if not self._rows:
            self._finish(0, [])
        maker.remove_parts(dataset)

    def _open(self) -> list[_Planned]:
        """Open the rows of the snapshot, whose files stay while the reader's lease is held; in the parts that are made."""
        maker, dataset = self._maker, self.dataset
        maker.check_rules(dataset.request)
        if dataset.made_by != own_version():
            raise _Anew(_NEWER)
        self._reader.tell(self._note)
        asked = maker._asking.ready(dataset.filters)
        snapshot = None if dataset.mark is None else maker._table.open_marked(dataset.mark)
        # What is hidden now stays hidden until this lease is broken: so its rows are not read.
        if asked is None or snapshot is None or not set(dataset.excluded) <= set(maker.hidden()):
            raise _Anew(_OUTDATED)
        secret, exports, reader = bytes.fromhex(dataset.secret) or maker._asking.secret(), maker._exports, self._reader

        def source(filters: Filters) -> PublishedRows:
            return exports.rows(snapshot, filters, reader, secret, exports.looks(snapshot, filters))

        rows, aggregation = source(asked), dataset.request.aggregation
        if aggregation is None:
            return [_Planned(part.first, part.last, partial(rows.of_part, part)) for part in rows.parts]
        now = round(dataset.at * 1e6)

        def aggregated(first: date, last: date) -> Generator[pa.RecordBatch]:
            return iter(exports.aggregates(source, replace(asked, since=first, until=last), aggregation, now))

        return [_Planned(*days, partial(aggregated, *days)) for days in _blocks(rows.parts, asked.span, aggregation)]

    def _made(self, plan: Sequence[_Planned]) -> list[Part]:
        """Make the parts that are not made yet; all of them."""
        maker, dataset = self._maker, self.dataset
        parts = maker._book.parts(dataset.version)
        if [part.days for part in parts] != [one.days for one in plan[: len(parts)]]:
            raise _Anew(_OUTDATED)
        self._rows, self._bytes = sum(part.rows for part in parts), sum(sum(part.sizes) for part in parts)
        self._planned = len(plan)
        for number, planned in enumerate(plan[len(parts) :], len(parts)):
            self._begun = number
            self._look(at_once=True)
            part = self._part(planned, number)
            maker._book.add_part(dataset.version, number, part)
            parts.append(part)
            self.has_progressed = True
        return parts

    def _part(self, planned: _Planned, number: int) -> Part:
        maker, formats, before = self._maker, self.dataset.request.formats, (self._rows, self._bytes)
        coverage, sizes = Coverage("time" if self.dataset.request.aggregation is None else "start"), list[int]()
        with ExitStack() as written:
            source, is_first = source_of(self.dataset), not self._rows
            writers = [written.enter_context(PartInFormat(name, source, is_first=is_first)) for name in formats]
            with closing(planned.read()) as batches:
                for batch in coverage.noted(batches):
                    for writer in writers:
                        writer.add(batch)
                    self._rows += batch.num_rows
                    self._bytes = before[1] + sum(writer.size for writer in writers)
                    self._look()
            if self._rows > before[0]:
                maker._room.check()
                for name, writer in zip(formats, writers, strict=True):
                    sizes.append(maker._objects.put(self.dataset.part(name, number), self._watched(writer.end())))
        self._bytes = before[1] + sum(sizes)
        first, last = (None if at is None else microseconds(at) for at in (coverage.first, coverage.last))
        # After it was put: what a forget has not seen is removed here.
        self._look(at_once=True)
        return Part(planned.days, self._rows - before[0], tuple(sizes), first, last)

    def _link(self, parts: Sequence[Part]) -> None:
        maker, dataset = self._maker, self._told(self.dataset, parts)
        extract = extract_of(dataset, maker._export_settings, is_open=maker._exports.is_open)
        maker._room.check()
        size = maker._objects.put(dataset.file, self._watched(linked(maker._objects, dataset, parts, extract)))
        self._look(at_once=True)
        self._finish(size, parts)

    def _finish(self, size: int, parts: Sequence[Part]) -> None:
        maker, now = self._maker, self._maker._state.now()

        def finished(dataset: Dataset) -> Dataset:
            done = {"state": "done", "size_bytes": size, "finished_at": now, "expires_at": maker._expiry(now), "secret": ""}
            return msgspec.structs.replace(self._told(dataset, parts), **done)

        maker._book.finish(self.dataset.version, finished)
        log.info("an export job is done: %d rows, %d bytes", self._rows, size)

    def _told(self, dataset: Dataset, parts: Sequence[Part]) -> Dataset:
        first = min((part.first_us for part in parts if part.first_us is not None), default=None)
        last = max((part.last_us for part in parts if part.last_us is not None), default=None)
        return msgspec.structs.replace(dataset, rows=self._rows, rows_in_all=self._rows, first_us=first, last_us=last)

    def _watched(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._look()
            yield chunk

    def _look(self, *, at_once: bool = False) -> None:
        """Look now and then whether to go on. Raises `Stopped`, `Dropped`, `LeaseLost`, `TooLarge`, and `_Anew`."""
        if self._is_over():
            raise Stopped
        if not at_once and time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        maker, dataset = self._maker, self.dataset
        self._looked_at = time.monotonic()
        maker._book.tell(dataset.version, Progress(self._rows, self._bytes, self._begun, self._planned))
        new = [key for key in maker._homes.hidden() if digest_of(key) not in dataset.excluded]
        if new and not maker._homes.spared(new)(self._note):
            raise _Anew(FORGOTTEN)
        self._lease.check()
        self._reader.check()
        if self._others_bytes + self._bytes > maker._settings.bytes:
            most = maker._settings.bytes
            raise TooLarge(f"The files of all jobs would be larger than {most} bytes; choose fewer days, homes or formats")


def _in_turn(todo: Sequence[tuple[str, str, str]], served: Sequence[str]) -> list[tuple[str, str, str]]:
    """Put jobs in the order in which their turn comes: first those of the clients that have had the fewest.

    served: whose the jobs are that are done, as often as each has any.
    """
    before = Counter(served)
    ranked = list[tuple[int, tuple[str, str, str]]]()
    for one in todo:
        ranked.append((before[one[2]], one))
        before[one[2]] += 1
    return [one for _, one in sorted(ranked)]


def _blocks(parts: Sequence[ExportPart], span: tuple[date, date], aggregation: Aggregation) -> list[tuple[date, date]]:
    """Put parts together to blocks of days, whose aggregates are made one after the other. Each reads the days before it, too:
    it must be much longer than these.
    """
    least = _TIMES_LONGER * aggregation.days_before
    blocks, first = list[tuple[date, date]](), span[0]
    for part in parts:
        if (part.last - first).days + 1 >= least or part.last >= span[1]:
            blocks.append((first, part.last))
            first = part.last if part.last == date.max else part.last + timedelta(days=1)
    return blocks or [span]


def _seconds(aggregation: Aggregation) -> float:
    return LENGTHS[aggregation.every] / 1e6
