"""What runs a query over a snapshot of the lake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from sqlglot import exp
from sqlglot.dialects.postgres import Postgres

from smarthouse_api.lake.table import lake_faults


class DataFusion(Postgres):
    """The SQL of the engine inside `deltalake`: PostgreSQL's, with timestamps beyond the nanosecond range."""

    class Generator(Postgres.Generator):  # type: ignore[misc, valid-type] # sqlglot names its generators at run time
        TRANSFORMS = {  # noqa: RUF012 - the dialect's own way to say it
            **Postgres.Generator.TRANSFORMS,
            exp.UnixToTime: lambda self, node: (
                f"""arrow_cast({self.sql(node, "this")}, 'Timestamp(Microsecond, Some("UTC"))')"""
            ),
        }


class EmbeddedEngine:
    """DataFusion, in this process."""

    # Large batches: what follows has a cost for each batch in Python.
    SESSION = {"datafusion.execution.batch_size": "8192"}  # noqa: RUF012

    def stream(self, table: DeltaTable, query: exp.Select) -> Iterator[pa.RecordBatch]:
        """The result of `query`, in which the snapshot `table` is called `states`, batch by batch."""
        with lake_faults():
            builder = QueryBuilder(self.SESSION).register("states", table)
            # Iterating the result itself holds the GIL; the reader over its C stream does not.
            yield from pa.RecordBatchReader.from_stream(builder.execute(query.sql(DataFusion)))


def open_engine(url: str) -> Any:
    """The engine that `SMARTHOUSE_ENGINE_URL` names."""
    if url != "embedded":
        raise ValueError(f"unknown engine {url!r}; there is embedded")
    return EmbeddedEngine()
