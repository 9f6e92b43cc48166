"""The rows of a home in its archive: as the lake keeps them, and as they are published now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable
from sqlglot import exp

from smarthouse_api.archives.entities import of_home
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.arrow.lines import Chunk
from smarthouse_api.arrow.schema_rows import SchemaRows
from smarthouse_api.arrow.views import without_views
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.lake.datafusion import EmbeddedEngine
from smarthouse_api.lake.snapshot_marks import encoded, mark_of
from smarthouse_api.states.export.shapes import STATE_CHANGES
from smarthouse_api.states.homes_table import HomesTable
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records.schema import PERIODS, STATES
from smarthouse_api.states.service import States

_OF_THE_LAKE: Final = frozenset({"day", "bucket", "home", "entered"})
_COLUMNS: Final = {
    "states": pa.schema([field for field in STATES if field.name not in _OF_THE_LAKE]),
    "statistics": pa.schema([field for field in PERIODS if field.name not in _OF_THE_LAKE]),
}
_OBJECTS: Final = frozenset({"attributes", "attributes_uploaded"})


class Rows:
    """Reads the rows of one home from one snapshot of each table. lease: a reader's, in which the snapshots are noted."""

    def __init__(self, states: States, home_key: str, lease: Lease) -> None:
        self._states, self._home_key, self._lease = states, home_key, lease
        self._tables: dict[str, tuple[HomesTable, DeltaTable | None]] = {
            table.name: (table, table.open()) for table in (states.table, states.statistics)
        }
        lease.tell(encoded(mark_of(name, found) for name, (_, found) in self._tables.items() if found is not None))

    def kept(self, name: str) -> Iterator[Chunk]:
        """Write the rows of a table as they are kept, a JSON object on each line, in the order of the lake's files."""
        schema, (table, snapshot) = _COLUMNS[name], self._tables[name]
        if snapshot is None:
            return
        query = (
            exp.select(*(exp.column(column, quoted=True) for column in schema.names))
            .from_(name)
            .where(*of_home(table, self._home_key))
        )
        batches = self._checked(EmbeddedEngine().stream(snapshot, query))
        yield from FORMATS["jsonl"].write(SchemaRows(batches, schema, objects=_OBJECTS & set(schema.names)))

    def published(self) -> Iterator[Chunk]:
        """Write the states as they are published now, a JSON object on each line."""
        states, snapshot = self._states, self._tables[self._states.table.name][1]
        asking, exports = states.contents.asking, states.exports
        asked = asking.ready(Filters(keys=(self._home_key,)).kept(states.table.first_kept_day()))
        if asked is None or snapshot is None:
            return
        rows = exports.rows(snapshot, asked, self._lease, asking.secret(), exports.looks(snapshot, asked))
        yield from FORMATS["jsonl"].write(STATE_CHANGES.source(rows))

    def _checked(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self._lease.check()
            yield without_views(batch)
