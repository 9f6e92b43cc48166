"""Parts of a job that an engine of its own makes: it reads, redacts and sorts the rows, and writes them to the object store.

1. The engine finds the different things, and attributes, that the rows are about. These are few.
2. A `Redactor`, the same that makes rows here, decides about them. Its decisions are put as tables beside the parts.
3. The engine joins the rows of each part with them, leaves out repeats, sorts, and writes. For text formats it writes lines.
4. The rows are read in their order, each place in it once. Lines are only deflated; Parquet is encoded here. All files are
   removed with the dataset's parts.

What the engine cannot do is made here, as without such an engine: rows of earlier versions, aggregates, and all if it refuses.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from sqlglot import exp

from smarthouse_api.arrow.row_lines import lines_of, name_of_lines
from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.engine import Engine, EngineFailed, WritesFiles
from smarthouse_api.states.export.engine_lines import (
    ATTRIBUTE_PIECES,
    NUMBER_PIECES,
    NUMBERS,
    THING_PIECES,
    WORD_PIECES,
    SeveralValues,
    piece,
    pieces_of_attributes,
    pieces_of_numbers,
    pieces_of_things,
    pieces_of_words,
    with_pieces,
)
from smarthouse_api.states.export.engine_queries import (
    BESIDE_LINES,
    LINE,
    PLACE,
    SPAN,
    select_attributes,
    select_numbers,
    select_published,
    select_things,
    together,
)
from smarthouse_api.states.export.published_rows import PublishedRows, Question
from smarthouse_api.states.export.shapes import STATE_CHANGES
from smarthouse_api.states.groups import Groups
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.jobs.book import Dropped, JobBook
from smarthouse_api.states.jobs.encoding import lines_column
from smarthouse_api.states.jobs.engine_files import EngineFiles
from smarthouse_api.states.jobs.model import Dataset
from smarthouse_api.states.jobs.plan import Days, PlannedPart
from smarthouse_api.states.query import ExportPart, within_days_of
from smarthouse_api.states.records.judging import ATTRIBUTES, THINGS, WORDS, Judging
from smarthouse_api.states.records.schema import ROWS

_MOST_SHARES: Final = 16.0
"""A part is as much as so many parts that are made here: an engine has a cost for each query."""

_LOOK_SECONDS: Final = 0.2
_REST_SECONDS: Final = 600.0
_SPAN: Final = re.compile(rf"[^/]+/[^/]+/[0-9]+/{SPAN}=([0-9]+)/[^/._][^/]*\.parquet")
"""The path of a file with rows. Those of Hadoop's own begin with `.` or `_`."""

_TEXTS: Final = [field.name for field in ROWS if pa.types.is_string(field.type)]
_GROUPS: Final = pa.schema([("own_day", pa.int64()), ("type", pa.string()), ("unit_key", pa.string())])
_ASKED: Final = THINGS.append(pa.field("is_asked", pa.bool_()))
_NO_ROWS: Final = pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in ROWS], schema=ROWS)
"""Is yielded while an engine is waited for, so that the reader of the rows can look whether to go on."""

Reading = Generator[pa.RecordBatch]

log = logging.getLogger(__name__)


class EngineWork:
    """Has the engine of an installation make parts, as long as it can. rests_until: after a failure, by the monotonic clock."""

    def __init__(self, engine: Engine, homes: Homes, book: JobBook, files: EngineFiles) -> None:
        self.engine, self.homes, self.book, self.files = engine, homes, book, files
        self._rests_until = float("-inf")

    def parts_of(self, dataset: Dataset, rows: PublishedRows, days: Sequence[Days] | None = None) -> list[PlannedPart] | None:
        """Plan the parts of a dataset of state changes; None if the engine makes none. days: of the parts, once decided."""
        engine, question = self.engine, rows.question()
        if question is None or not isinstance(engine, WritesFiles) or not engine.write_seconds:
            return None
        making = _EngineParts(self, engine, dataset, rows, question)
        if days is None:
            days = [(some[0].first, some[-1].last) for some in together(rows.parts, _MOST_SHARES)]
        groups = (within_days_of(rows.parts, *one) for one in days)
        found = zip(days, groups, strict=True)
        return [PlannedPart(*one, partial(making.read, number, some)) for number, (one, some) in enumerate(found)]

    @property
    def rests(self) -> bool:
        """Tell whether the engine has failed lately, so that parts are made here."""
        return time.monotonic() < self._rests_until

    def rest(self, why: str) -> None:
        """Make parts here for some minutes."""
        self._rests_until = time.monotonic() + _REST_SECONDS
        log.warning("for %d minutes, the parts of export jobs are made here: %s", _REST_SECONDS // 60, why)


class _EngineParts:
    """Reads the parts of one dataset, which several threads may do at once."""

    def __init__(
        self, work: EngineWork, engine: WritesFiles, dataset: Dataset, rows: PublishedRows, question: Question
    ) -> None:
        self._work, self._engine, self._dataset, self._rows, self._question = work, engine, dataset, rows, question
        self._folder = f"{dataset.version}/{dataset.turn}-{secrets.token_hex(4)}"
        formats = dataset.request.formats
        self._lines = [] if question.redactor.is_raw else lines_of(formats, STATE_CHANGES.source([]))
        self._sources: Mapping[str, DeltaTable | str] = {}
        self._preparing = threading.Lock()

    def read(self, number: int, parts: Sequence[ExportPart]) -> Reading:
        """Read the published rows of some parts, in their order; a batch without rows comes while they are waited for."""
        if not self._work.rests and parts:
            try:
                yield from self._written(number, parts)
                return
            except EngineFailed as fault:  # no row was given yet
                if self._work.book.in_turn(self._dataset) is None:  # its files were removed
                    raise Dropped from None
                if not self._work.rests:
                    self._work.rest(str(fault))
        yield from self._rows.of_parts(parts)

    def _written(self, number: int, parts: Sequence[ExportPart]) -> Reading:
        for part in parts:
            self._rows.check(part)
            yield _NO_ROWS
        yield from self._prepared()
        question = self._question
        query = select_published(
            parts,
            question.filters,
            self._work.homes.hidden(),
            reviewed=question.redactor.reviewed,
            grouped=question.groups is not None,
            uploaded=question.redactor.is_raw,
            lines=self._lines,
            typed=self._is_typed,
        )
        name = f"{number:06d}"
        yield from self._waited(query, name)
        yield from self._in_order(f"{self._folder}/{name}")

    def _waited(self, query: exp.Select, name: str) -> Reading:
        """Have the engine write, and wait for it."""
        files, book = self._work.files, self._work.book
        writing = self._engine.writing(query, self._sources, files.uri(f"{self._folder}/{name}"), SPAN)
        note = book.begin_writing(
            self._dataset, f"{self._folder.rpartition('/')[2]}-{name}", writing.token, self._engine.write_seconds
        )
        try:
            writing.begin()
            while not writing.wait(_LOOK_SECONDS):
                yield _NO_ROWS
        finally:
            if writing.stop():
                book.end_writing(note)

    def _in_order(self, folder: str) -> Iterator[pa.RecordBatch]:
        """Read the rows that the engine wrote. Raises `Unavailable` if they are not in their order, or one is missing."""
        found = ((_SPAN.fullmatch(path), path) for path in self._work.files.paths(folder))
        spans = sorted((int(match[1]), path) for match, path in found if match is not None)
        span, place = -1, 0
        for number, path in spans:
            span, place = number, place if number == span else 0
            for batch in self._work.files.read(path, [name for name in self._names if name in _TEXTS]):
                places = batch.column(PLACE).to_numpy()
                if not np.array_equal(places, np.arange(place + 1, place + 1 + len(places))):
                    self._work.rest("the query engine has not written the rows in their order")
                    raise Unavailable("The query engine has not written the rows in their order; they are made again")
                place += len(places)
                yield self._written_rows(batch)

    @property
    def _is_typed(self) -> bool:
        """Tell whether a format is asked for whose rows are not lines."""
        return not self._lines or any(name_of_lines(name) is None for name in self._dataset.request.formats)

    @property
    def _names(self) -> Sequence[str]:
        """The columns of an export that the engine writes."""
        names: Sequence[str] = ROWS.names if self._is_typed else BESIDE_LINES
        return names

    def _written_rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Give the columns the types of an export's rows, and those of lines their names."""
        rows = _typed(batch, self._names)
        for one in self._lines:
            lines = batch.column(piece(one, LINE)).cast(pa.string())
            if lines.null_count:
                self._work.rest("the query engine has not written all lines")
                raise Unavailable("The query engine has not written all lines; they are made again")
            rows = rows.append_column(lines_column(one.name), lines)
        return rows

    def _prepared(self) -> Reading:
        """Put the tables that the engine joins rows with, once; wait for another thread that does."""
        while not self._preparing.acquire(timeout=_LOOK_SECONDS):
            yield _NO_ROWS
        try:
            if self._work.rests:
                raise EngineFailed("The query engine has just failed")
            if not self._sources:
                self._work.files.stop(self._dataset.version)
                self._work.files.remove(self._dataset.version)
                sources = yield from self._prepare()
                self._sources = {"states": self._question.snapshot, **sources}
        finally:
            self._preparing.release()

    def _prepare(self) -> Generator[pa.RecordBatch, None, dict[str, str]]:
        question, files, parts = self._question, self._work.files, self._rows.parts
        redactor, hidden = question.redactor, self._work.homes.hidden()
        judging, uris = Judging(redactor), dict[str, str]()

        def put(name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
            path = f"{self._folder}/{name}.parquet"
            files.put(path, schema, batches)
            uris[name] = files.uri(path)

        if self._lines:
            numbers = self._stream(select_numbers(parts, question.filters, hidden))
            pieces = (pieces_of_numbers(batch, self._lines) for batch in numbers)
            try:
                put("numbers", with_pieces(NUMBERS, self._lines, NUMBER_PIECES), pieces)
            except SeveralValues:
                self._lines = []
            yield _NO_ROWS
        lines = self._lines
        found = self._stream(select_things(parts, question.filters, hidden))
        things = (pieces_of_things(self._asked(judging.things(batch)), lines) for batch in found)
        put("things", with_pieces(_ASKED, lines, THING_PIECES), things)
        yield _NO_ROWS
        if not redactor.is_raw:
            put("words", with_pieces(WORDS, lines, WORD_PIECES), [pieces_of_words(judging.words(), lines)])
            texts = self._stream(select_attributes(parts, question.filters, hidden))
            told = (pieces_of_attributes(judging.attributes(batch.column(0).to_pylist()), lines) for batch in texts)
            put("told_attributes", with_pieces(ATTRIBUTES, lines, ATTRIBUTE_PIECES), told)
            yield _NO_ROWS
        if question.groups is not None:
            put("day_groups", _GROUPS, [_groups(question.groups)])
        return uris

    def _stream(self, query: exp.Select) -> Generator[pa.RecordBatch]:
        return self._engine.read(self._question.snapshot, query)

    def _asked(self, things: pa.RecordBatch) -> pa.RecordBatch:
        """Tell of each thing whether the filters want it by what is published of it."""
        numbers = pa.array(np.arange(things.num_rows))
        named = {"entity_id": "entity_told", "device_class": "class_told"}
        columns = {name: things.column(of).dictionary_encode() for name, of in named.items()} | {"number": numbers}
        kept = self._question.filters.keep_published(pa.RecordBatch.from_pydict(columns))
        return things.append_column("is_asked", pc.is_in(numbers, kept.column("number"))).cast(_ASKED)


def _typed(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """Give columns the types that they have in an export. Texts stay dictionary-encoded."""
    columns = {name: batch.column(name) for name in names}
    for name in columns.keys() & {"last_changed", "last_updated", "time"}:
        columns[name] = columns[name].cast(pa.int64()).cast(TIMESTAMP)
    if "received" not in columns:
        return pa.RecordBatch.from_pydict(columns)
    days = pc.divide(columns["received"].cast(pa.int64()), pa.scalar(DAY_US, pa.int64()))
    columns["received"] = days.cast(pa.int32()).cast(pa.date32())
    columns["utc_offset"] = columns["utc_offset"].cast(pa.int32())
    return pa.RecordBatch.from_pydict(columns)


def _groups(groups: Groups) -> pa.RecordBatch:
    rows = [(day * DAY_US, kind, "" if unit is None else f"={unit}") for day, kind, unit in sorted(groups, key=repr)]
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.RecordBatch.from_pydict(dict(zip(_GROUPS.names, map(list, columns), strict=True)), _GROUPS)
