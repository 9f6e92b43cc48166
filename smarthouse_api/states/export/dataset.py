"""Exports: a zip of the wanted rows in each format, and of the documents about them, made while it is sent.

1. What was acknowledged is brought into the lake.
2. A snapshot is opened under a reader's lease.
3. For each format, its rows are read part by part, sorted, made private and written.
4. The documents tell what was written.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import chain
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from config.groups import ExportSettings
from smarthouse_api.arrow.formats import FORMATS, Frame
from smarthouse_api.arrow.read_ahead import read_ahead
from smarthouse_api.arrow.schema_rows import SchemaRows
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.leased_answers import LeasedAnswer, Slots
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.table import files_of
from smarthouse_api.states.chores import StatesChores
from smarthouse_api.states.export.archive import Member, Written, archive
from smarthouse_api.states.export.coverage import Coverage
from smarthouse_api.states.export.documents import documents
from smarthouse_api.states.export.metadata import Extract
from smarthouse_api.states.export.order import ordered
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.query import Filters, parts, select_groups, select_rows
from smarthouse_api.states.records.privacy import Redactor
from smarthouse_api.states.records.schema import ROWS
from smarthouse_api.states.table import StatesTable

_READ_AHEAD_BYTES = 8 << 20
_OBJECTS: Final = frozenset({"attributes"})
_FRAME: Final = Frame(b"[", b"\n]\n", first=b"\n")


class Export(LeasedAnswer):
    """Sends one export: iterating it gives the zip's bytes, once. It must be closed.

    is_whole: whether all bytes were given.
    """

    def __init__(self, file_name: str, chunks: Iterator[bytes], rows: Rows, lease: Lease, ending: ExitStack) -> None:
        super().__init__(lease, ending)
        self.file_name, self._chunks, self._rows = file_name, chunks, rows
        self.is_whole = False

    @property
    def rows(self) -> int:
        """Return the number of rows of the last file that were read so far."""
        return self._rows.count

    def __iter__(self) -> Iterator[bytes]:
        yield from self._while_leased(self._chunks)
        self.is_whole = True


class Exports:
    """Makes exports of one lake, and limits how many run at once."""

    def __init__(
        self,
        chores: StatesChores,
        homes: Homes,
        table: StatesTable,
        engine: Engine,
        keyring: Keyring,
        settings: ExportSettings,
    ) -> None:
        self._chores, self._homes, self._table, self._engine = chores, homes, table, engine
        self._keyring, self._settings = keyring, settings
        self._slots = Slots(settings.at_once, "This worker makes as many exports as it can at once; ask again")

    def open(self, formats: Sequence[str], filters: Filters, *, metadata: bool = True, fresh: bool = True) -> Export | None:
        """Open an export of the rows that pass `filters`, all acknowledged uploads included; None if no row does.

        formats: names in `FORMATS`. metadata: whether the zip also holds the documents about the export. fresh: whether to wait
        for uploads that the lake does not hold yet; else `Uploads.held_until` says which it holds. A fault while the zip
        is read is raised to its reader, before the end.
        """
        with ExitStack() as ending:
            ending.enter_context(self._slots)
            if fresh:
                self._chores.flush()
            lease = self._table.reading()
            ending.callback(lease.release)
            rows = self._rows(filters, lease)
            if rows is None:
                return None
            ending.callback(rows.close)
            made_at = datetime.now(UTC)
            stem = f"smarthouse_extract_{made_at:%Y-%m-%d}"
            coverage = Coverage()

            def member(name: str) -> Member:
                return Member(f"{stem}.{name}", FORMATS[name].write(row_source(coverage.noted(rows))), FORMATS[name].packed)

            def trailer(files: list[Written]) -> Iterator[Member]:
                extract = Extract(
                    id=uuid.uuid4().hex,
                    generated_at=made_at,
                    rows=rows.count,
                    filters=filters,
                    settings=self._settings,
                    first=coverage.first,
                    last=coverage.last,
                )
                return documents(extract, files, stem)

            chunks = archive(map(member, formats), modified_at=made_at, trailer=trailer if metadata else None)
            ending.callback(chunks.close)
            return Export(f"{stem}.zip", chunks, rows, lease, ending.pop_all())

    def _rows(self, filters: Filters, lease: Lease) -> Rows | None:
        snapshot = self._table.open()
        if snapshot is None:
            return None
        key = secrets.token_bytes(32) if self._settings.pseudonyms == "rotating" else self._keyring.key("export")
        redactor = Redactor(key, strict=self._settings.privacy == "strict")
        rows = Rows(snapshot, filters, self._engine, self._homes, lease, redactor, self._settings)
        return None if rows.is_empty() else rows


class Rows:
    """Reads the published rows of one export, for each format anew from the same snapshot."""

    def __init__(
        self,
        snapshot: DeltaTable,
        filters: Filters,
        engine: Engine,
        homes: Homes,
        lease: Lease,
        redactor: Redactor,
        settings: ExportSettings,
    ) -> None:
        self._snapshot, self._filters, self._engine = snapshot, filters, engine
        self._homes, self._lease, self._redactor = homes, lease, redactor
        self._parts = list(parts(files_of(snapshot), filters))
        self._groups = self._published_groups(settings.min_homes) if settings.privacy == "strict" else None
        self._begun: tuple[pa.RecordBatch, Generator[pa.RecordBatch]] | None = None
        self.count = 0

    def is_empty(self) -> bool:
        """Return whether there is no row. The first row is kept, so that finding it is not done twice."""
        rest = self._ahead()
        if (first := next(rest, None)) is None:
            return True
        self._begun = first, rest
        return False

    def close(self) -> None:
        """Stop reading ahead, if no format has begun to read."""
        if self._begun is not None:
            self._begun[1].close()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self._begun is None:
            return self._ahead()
        (first, rest), self._begun = self._begun, None
        return chain([first], rest)

    def _ahead(self) -> Generator[pa.RecordBatch]:
        """Read batches and make them private in a thread of their own, while earlier ones are encoded."""
        return read_ahead(self._batches(), _READ_AHEAD_BYTES, lambda batch: int(batch.nbytes))

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the published rows, part by part, and count them anew. Raises `LeaseLost` if the lease was broken."""
        self.count = 0
        for part in self._parts if self._groups != [] else ():
            query = select_rows(part, self._filters, self._homes.hidden(), self._groups)
            rows = ordered(self._engine.stream(self._snapshot, query))
            visible = None if rows is None else self._without_hidden(rows)
            if visible is not None and visible.num_rows:
                self.count += visible.num_rows
                yield self._redactor(visible)

    def _without_hidden(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows without those of homes that were forgotten since the query began.

        The mark of a forgotten home is removed only after this lease is broken. So if there is no mark and the lease holds,
        there is nothing to hide.
        """
        hidden = self._homes.hidden()
        self._lease.check()
        if not hidden:
            return rows
        home = rows.column("home")
        of_hidden = pc.is_in(home.dictionary, pa.array(sorted(hidden), pa.string()))
        return rows.filter(pc.invert(of_hidden.take(home.indices)))

    def _published_groups(self, min_homes: int) -> list[tuple[str, str | None]]:
        query = select_groups(self._filters, self._homes.hidden(), min_homes)
        return [tuple(row.values()) for batch in self._engine.stream(self._snapshot, query) for row in batch.to_pylist()]


def row_source(batches: Iterable[pa.RecordBatch]) -> SchemaRows:
    """Make rows of an export writable in any format. batches: of the columns of `ROWS`, read one by one."""
    return SchemaRows(batches, ROWS, objects=_OBJECTS, frame=_FRAME)
