"""Plans for a Spark Connect endpoint: a query over a snapshot, whose result is sent or written to files."""

from __future__ import annotations

import re
import uuid
import warnings
from typing import Final
from urllib.parse import unquote

from deltalake import DeltaTable
from sqlglot import exp

from smarthouse_api.lake.engine import Kind, Sources

with warnings.catch_warnings():
    # pyspark has not been tried with pandas 3 by its authors. It insists on importing pandas; we use none of it.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    import pyspark.sql.connect.proto as pb

_OPTIONS: Final[dict[Kind, dict[str, str]]] = {
    "rows": {},
    "table": {
        "compression": "zstd",
        # As Apache Spark knows it. In v2, times are stored as differences.
        "parquet.block.size": str(24 << 20),
        "parquet.block.row.count.limit": "100000",
        "parquet.writer.version": "v2",
        # As Sail knows it. It stores nothing as differences while it may use a dictionary.
        "max_row_group_size": "100000",
        "writer_version": "2.0",
        "dictionary_enabled": "false",
    },
    "lines": {"compression": "gzip", "lineSep": "\n"},
}
"""Each engine leaves out what only the other one knows."""


def query_plan(query: exp.Select, sources: Sources) -> pb.Plan:
    """Plan a query whose rows are sent."""
    return pb.Plan(root=_query(query, sources))


def writing_plan(query: exp.Select, sources: Sources, uri: str, by: str, kind: Kind) -> pb.Plan:
    """Plan a query whose rows are written as Parquet, or as lines, below a URI that does not exist yet.

    query: is used up. by: the column whose values are the folders.
    """
    writing = pb.WriteOperation(
        input=_query(query, sources, copy=False),
        source="text" if kind == "lines" else "parquet",
        options=_OPTIONS[kind],
        path=_location(uri),
        mode=pb.WriteOperation.SAVE_MODE_ERROR_IF_EXISTS,
        partitioning_columns=[by],
    )
    return pb.Plan(command=pb.Command(write_operation=writing))


def _query(query: exp.Select, sources: Sources, *, copy: bool = True) -> pb.Relation:
    """Write `query` as Spark's SQL over its sources. Texts are sent apart, as values: in the SQL, Spark would unescape them,
    and replace `${...}` by its settings or its server's environment.

    Each source has a name of this query's own. Apache Spark makes it a view of the whole session while it reads the SQL: of
    two queries at once with one name, one would find no view, or the other's snapshot.
    """
    texts: dict[str, pb.Expression] = {}
    names = {name: f"snapshot_{uuid.uuid4().hex}" for name in sources}

    def set_aside(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Table) and node.name in names:
            return exp.to_table(names[node.name], alias=node.alias or node.name)
        if not (isinstance(node, exp.Literal) and node.is_string):
            return node
        name = f"text{len(texts)}"
        texts[name] = pb.Expression(literal=pb.Expression.Literal(string=node.this))
        return exp.Placeholder(this=name)

    sql = query.transform(set_aside, copy=copy).sql("spark", identify=True)
    references = [
        pb.Relation(
            common=pb.RelationCommon(plan_id=number),
            subquery_alias=pb.SubqueryAlias(input=pb.Relation(read=_read(source)), alias=names[name]),
        )
        for number, (name, source) in enumerate(sources.items(), 2)
    ]
    whole = pb.WithRelations(
        root=pb.Relation(common=pb.RelationCommon(plan_id=1), sql=pb.SQL(query=sql, named_arguments=texts)),
        references=references,
    )
    return pb.Relation(common=pb.RelationCommon(plan_id=2 + len(references)), with_relations=whole)


def _read(source: DeltaTable | str) -> pb.Read:
    if isinstance(source, str):
        return pb.Read(data_source=pb.Read.DataSource(format="parquet", paths=[_location(source)]))
    version = {"versionAsOf": str(source.version())}
    return pb.Read(data_source=pb.Read.DataSource(format="delta", paths=[_location(source.table_uri)], options=version))


def _location(uri: str) -> str:
    """Write a URI as Hadoop, below Spark, expects it: paths unescaped, and `s3a` for S3. Sail takes either."""
    return re.sub("^s3://", "s3a://", unquote(uri))
