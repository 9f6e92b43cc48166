"""The port of a query engine: it runs a query over a snapshot of the lake."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import ClassVar

import pyarrow as pa
from deltalake import DeltaTable
from sqlglot import exp


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

    def close(self) -> None:  # noqa: B027
        """Let go of connections. They are made again when the engine is next used."""


def name_of_source(query: exp.Select) -> str:
    """Return the name that a query has for the table that it reads; any name for a query that reads no table."""
    return next((source.name for source in query.find_all(exp.Table) if source.name), "table")
