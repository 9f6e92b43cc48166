"""Parts of a job that an engine of its own makes: it reads, redacts and sorts the rows, and writes them to the object store.

1. The engine finds the different things, and attributes, that the rows are about. These are few.
2. A `Redactor`, the same that makes rows here, decides about them. Its decisions are put as tables beside the parts.
3. The engine joins the rows of each part with them, leaves out repeats, sorts, and writes. For text formats it writes lines.
4. The engine makes gzip files of the lines, and Parquet files of the rows, which are linked as they are, see `engine_rows`. All
   files are removed with the dataset's parts.

What the engine cannot do is made here, as without such an engine: rows of earlier versions, aggregates, and all if it refuses.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from sqlglot import exp

from smarthouse_api.arrow.readable import readable_columns
from smarthouse_api.arrow.row_lines import lines_of, name_of_lines
from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.engine import Engine, EngineFailed, Kind, Sources, WritesFiles
from smarthouse_api.states.export.engine_lines import (
    ATTRIBUTE_PIECES,
    NUMBER_PIECES,
    NUMBERS,
    THING_PIECES,
    WORD_PIECES,
    SeveralValues,
    pieces_of_attributes,
    pieces_of_numbers,
    pieces_of_things,
    pieces_of_words,
    with_pieces,
)
from smarthouse_api.states.export.engine_queries import (
    SPAN,
    select_attributes,
    select_numbers,
    select_published,
    select_states,
    select_things,
    together,
)
from smarthouse_api.states.export.engine_texts import WHOLE, WRITTEN, select_homes, select_table, select_text, select_told
from smarthouse_api.states.export.published_rows import PublishedRows, Question
from smarthouse_api.states.export.shapes import STATE_CHANGES
from smarthouse_api.states.groups import Groups
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.jobs.book import Dropped, JobBook
from smarthouse_api.states.jobs.encoding import EncodedRows
from smarthouse_api.states.jobs.engine_files import EngineFiles
from smarthouse_api.states.jobs.engine_rows import Text, WrittenWrongly, has_rows, rows_in_order, table, told_of
from smarthouse_api.states.jobs.model import Dataset
from smarthouse_api.states.jobs.plan import Days, PlannedPart
from smarthouse_api.states.query import ExportPart, within_days_of
from smarthouse_api.states.records.judging import ATTRIBUTES, ATTRIBUTES_TOLD, THINGS, THINGS_TOLD, WORDS, WORDS_TOLD, Judging
from smarthouse_api.states.records.schema import ROWS
from smarthouse_api.states.records.uuids import without_uuids

_MOST_SHARES: Final = 16.0
"""A part is as much as so many parts that are made here: an engine has a cost for each query."""

_LOOK_SECONDS: Final = 0.2
_REST_SECONDS: Final = 600.0
_GROUPS: Final = pa.schema([("own_day", pa.int64()), ("type", pa.string()), ("unit_key", pa.string())])
_ASKED: Final = THINGS.append(pa.field("is_asked", pa.bool_()))
_NO_ROWS: Final = pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in ROWS], schema=ROWS)
"""Is yielded while an engine is waited for, so that the reader of the rows can look whether to go on."""

Reading = Generator[pa.RecordBatch | EncodedRows]
Given = TypeVar("Given")

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
        self._lines = lines_of(formats, STATE_CHANGES.source([]))
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
        question, folder = self._question, f"{self._folder}/{number:06d}"
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
        yield from self._waited(query, self._sources, folder, SPAN)
        yield from self._checked(self._encoded(folder))

    def _encoded(self, folder: str) -> Reading:
        """Have the engine make texts of the lines that it has written, and a table of the rows, and read them."""
        files, written = self._work.files, {WRITTEN: self._work.files.uri(folder)}
        if not has_rows(files, folder):  # no engine could tell what columns there are
            return
        told = told_of(self._engine.read(written, select_told(self._kinds)), self._kinds)
        yield _NO_ROWS
        homes = (name for batch in self._engine.read(written, select_homes()) for name in batch.column(0).to_pylist())
        names, texts = frozenset(homes), dict[str, Text]()
        for name in self._dataset.request.formats:
            if (kind := name_of_lines(name)) in self._kinds:
                texts[name] = text = Text.of(name, kind, told)
                if text.size:
                    query = select_text(kind, text.after, text.end)
                    yield from self._waited(query, written, f"{folder}-{name}", WHOLE, "lines")
        runs = {name: partial(self._checked, text.run(files, f"{folder}-{name}")) for name, text in texts.items()}
        if "parquet" in self._dataset.request.formats:
            yield from self._waited(select_table(), written, f"{folder}-table", WHOLE, "table")
            runs["parquet"] = partial(self._checked, table(files, f"{folder}-table", told))
        has_others = len(runs) < len(self._dataset.request.formats)
        rows = self._checked(rows_in_order(files, folder, ROWS.names)) if has_others else ()
        yield EncodedRows(told.rows, told.first_us, told.last_us, names, runs, rows)

    def _checked(self, given: Iterable[Given]) -> Generator[Given]:
        """Pass on what an engine has written. What is wrong is told as `Unavailable`, and the engine rests."""
        try:
            yield from given
        except WrittenWrongly as fault:
            told = f"The query engine {fault}"
            self._work.rest(told)
            raise Unavailable(f"{told}; the rows are made again") from fault

    def _waited(self, query: exp.Select, sources: Sources, folder: str, by: str, kind: Kind = "rows") -> Reading:
        """Have the engine write, and wait for it."""
        files, book, (_, attempt, name) = self._work.files, self._work.book, folder.split("/")
        writing = self._engine.writing(query, sources, files.uri(folder), by, kind)
        note = book.begin_writing(self._dataset, f"{attempt}-{name}", writing.token, self._engine.write_seconds)
        try:
            writing.begin()
            while not writing.wait(_LOOK_SECONDS):
                yield _NO_ROWS
        finally:
            if writing.stop():
                book.end_writing(note)

    @property
    def _is_typed(self) -> bool:
        """Tell whether a format is asked for whose rows are not lines."""
        return not self._lines or any(name_of_lines(name) is None for name in self._dataset.request.formats)

    @property
    def _kinds(self) -> list[str]:
        """The names of the kinds of lines that the engine writes."""
        return [one.name for one in self._lines]

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
            publishable = without_uuids if redactor.is_raw else _unchanged
            pieces = (pieces_of_numbers(batch, self._lines, publishable) for batch in numbers)
            try:
                put("numbers", with_pieces(NUMBERS, self._lines, NUMBER_PIECES), pieces)
            except SeveralValues:
                self._lines = []
            yield _NO_ROWS
        lines = self._lines
        found = self._stream(select_things(parts, question.filters, hidden))
        judged = (readable_columns(self._asked(judging.things(batch)), THINGS_TOLD) for batch in found)
        things = (pieces_of_things(batch, lines) for batch in judged)
        put("things", with_pieces(_ASKED, lines, THING_PIECES), things)
        yield _NO_ROWS
        words = iter([judging.words()])
        if redactor.is_raw:
            states = self._stream(select_states(parts, question.filters, hidden))
            words = (readable_columns(judging.states(batch.column(0)), WORDS_TOLD) for batch in states)
        put("words", with_pieces(WORDS, lines, WORD_PIECES), (pieces_of_words(batch, lines) for batch in words))
        yield _NO_ROWS
        texts = self._stream(select_attributes(parts, question.filters, hidden, uploaded=redactor.is_raw))
        judged = (judging.attributes(batch.column(0).to_pylist()) for batch in texts)
        judged = (readable_columns(batch, ATTRIBUTES_TOLD, is_json=True) for batch in judged)
        told = (pieces_of_attributes(batch, lines) for batch in judged)
        put("told_attributes", with_pieces(ATTRIBUTES, lines, ATTRIBUTE_PIECES), told)
        yield _NO_ROWS
        if question.groups is not None:
            put("day_groups", _GROUPS, [_groups(question.groups)])
        return uris

    def _stream(self, query: exp.Select) -> Generator[pa.RecordBatch]:
        return self._engine.read({"states": self._question.snapshot}, query)

    def _asked(self, things: pa.RecordBatch) -> pa.RecordBatch:
        """Tell of each thing whether the filters want it by what is published of it."""
        numbers = pa.array(np.arange(things.num_rows))
        named = {"entity_id": "entity_told", "device_class": "class_told"}
        columns = {name: things.column(of).dictionary_encode() for name, of in named.items()} | {"number": numbers}
        kept = self._question.filters.keep_published(pa.RecordBatch.from_pydict(columns))
        return things.append_column("is_asked", pc.is_in(numbers, kept.column("number"))).cast(_ASKED)


def _unchanged(states: pa.Array) -> pa.Array:
    return states


def _groups(groups: Groups) -> pa.RecordBatch:
    rows = [(day * DAY_US, kind, "" if unit is None else f"={unit}") for day, kind, unit in sorted(groups, key=repr)]
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.RecordBatch.from_pydict(dict(zip(_GROUPS.names, map(list, columns), strict=True)), _GROUPS)
