"""The port of a query engine: it runs a query over a snapshot of the lake."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from typing import ClassVar, Literal

import pyarrow as pa
from deltalake import DeltaTable
from sqlglot import exp

from smarthouse_api.errors import Unavailable


class Engine(ABC):
    """Runs queries over snapshots of the lake, in this process or on a server.

    It may be made before a fork. After the fork, many threads use it at once. reads_log: it finds a snapshot by its version, in
    the log of the table.
    """

    reads_log: ClassVar[bool] = False

    @abstractmethod
    def stream(self, table: DeltaTable, query: exp.Select) -> Generator[pa.RecordBatch]:
        """Run `query`, whose FROM is the snapshot `table`, and yield its result batch by batch, in no order.

        Columns have the names and types of the table, except that a text may come as a `string_view`. Read the result without
        pausing, to its end, or close it, which stops the query. Raises `Unavailable` or `StoreUnavailable`, at the first batch
        or at a later one: a result that ends is whole.
        """

    @abstractmethod
    def check(self) -> str:
        """Return one line for readiness. Raises `Unavailable` if the engine does not answer."""

    def is_cold(self) -> bool:
        """Tell whether a first query would take long, because the engine is new."""
        return False

    def warm(self, table: DeltaTable) -> None:  # noqa: B027
        """Have a cold engine load what a query of the table needs, in a thread of its own: it may take minutes."""

    def close(self) -> None:  # noqa: B027
        """Let go of connections. They are made again when the engine is next used."""


class EngineFailed(Unavailable):
    """Says that an engine answers, and cannot do what it was asked for: another try may fail, too."""


class Writing(ABC):
    """Waits for an engine that writes the result of a query. token: names it for `WritesFiles.stop_writing`, in any process."""

    token: str

    @abstractmethod
    def begin(self) -> None:
        """Have the engine begin. Raises `Unavailable`."""

    @abstractmethod
    def wait(self, seconds: float) -> bool:
        """Wait at most so long, and tell whether all is written. Raises `Unavailable`, and `EngineFailed`."""

    @abstractmethod
    def stop(self) -> bool:
        """Have the engine stop, if it still writes. Tell whether it surely writes no more. Repeatable."""


Sources = Mapping[str, DeltaTable | str]
"""What each table in a query is: a snapshot, or the URI of a Parquet file, or of a folder of such files."""


Kind = Literal["rows", "table", "lines"]
"""What an engine writes: rows that are read again, rows for any reader, or lines of text."""


class WritesFiles(ABC):
    """The power of some engines to write the result of a query to the object store, by themselves."""

    @property
    @abstractmethod
    def write_seconds(self) -> float:
        """The time that one query may take to be written. 0: the engine is not to write."""

    @abstractmethod
    def read(self, sources: Sources, query: exp.Select) -> Generator[pa.RecordBatch]:
        """Run a query over all that is to be written, or was, as `Engine.stream` does, for as long as a writing may take."""

    @abstractmethod
    def writing(self, query: exp.Select, sources: Sources, uri: str, by: str, kind: Kind = "rows") -> Writing:
        """Prepare the writing of the rows of `query` as Parquet files below `uri`, where nothing may be.

        query: is used up. by: the column whose values name folders, `<by>=<value>`, in which the rows are without it.
        kind: `table`: store them as small as it can, in row groups of a bounded size; `lines`: write the only other column as
        lines of text, in gzip files whose names end in `.gz`.
        """

    @abstractmethod
    def stop_writing(self, token: str) -> bool:
        """Have the engine stop writing. Tell whether it surely writes no more: False if it does not answer. Repeatable."""


def name_of_source(query: exp.Select) -> str:
    """Return the name that a query has for the table that it reads; any name for a query that reads no table."""
    return next((source.name for source in query.find_all(exp.Table) if source.name), "table")
