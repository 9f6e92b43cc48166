"""The engine inside the process: DataFusion, which `deltalake` brings along."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from sqlglot import exp
from sqlglot.dialects.postgres import Postgres

from smarthouse_api.lake.engine import Engine, name_of_source
from smarthouse_api.lake.files import lake_faults

# Large batches: what follows has a cost for each batch in Python.
_SESSION: Final = {"datafusion.execution.batch_size": "8192"}


class DataFusion(Postgres):
    """Writes a query in the SQL of the engine inside `deltalake`: PostgreSQL's, with timestamps beyond the nanosecond range."""

    class Generator(Postgres.Generator):  # type: ignore[misc, valid-type] # sqlglot names its generators at run time
        TRANSFORMS = {  # noqa: RUF012 - the dialect's own way to say it
            **Postgres.Generator.TRANSFORMS,
            exp.UnixToTime: lambda self, node: (
                f"""arrow_cast({self.sql(node, "this")}, 'Timestamp(Microsecond, Some("UTC"))')"""
            ),
            exp.UnixMicros: lambda self, node: f"arrow_cast({self.sql(node, 'this')}, 'Int64')",
        }


class EmbeddedEngine(Engine):
    """Runs queries in this process, with the DataFusion engine that `deltalake` brings along."""

    def stream(self, table: DeltaTable, query: exp.Select) -> Generator[pa.RecordBatch]:
        with lake_faults():
            builder = QueryBuilder(_SESSION).register(name_of_source(query), table)
            # Iterating the result itself holds the GIL; the reader over its C stream does not.
            yield from pa.RecordBatchReader.from_stream(builder.execute(query.sql(DataFusion)))

    def check(self) -> str:
        return "in the process"
