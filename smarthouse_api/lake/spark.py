"""A Spark Connect endpoint as the engine: Apache Spark 4 with Delta, or Sail.

We speak its protocol with the messages that `pyspark` brings along, but do not use pyspark's own session. That one retries for
ten minutes, runs threads, and may wait for ever; ours tells within seconds that an engine does not answer.

The endpoint reads the table itself, at the version that an export opened. We tell it where the table is, and send no
credentials. Its operator gives it credentials of its own, which need only to read: `AWS_*` variables for Sail,
`spark.hadoop.fs.s3a.*` for Spark. A folder must have the same path there, and be readable for the endpoint's user.
"""

from __future__ import annotations

import logging
import re
import threading
import uuid
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import unquote

import grpc
import pyarrow as pa
from deltalake import DeltaTable
from sqlglot import exp

from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.engine import Engine, name_of_source

with warnings.catch_warnings():
    # pyspark has not been tried with pandas 3 by its authors. It insists on importing pandas; we use none of it.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    import pyspark.sql.connect.proto as pb
    from pyspark.sql.connect.client import DefaultChannelBuilder
    from pyspark.sql.connect.proto.base_pb2_grpc import SparkConnectServiceStub

ANSWER_SECONDS = 5.0
"""Seconds that an endpoint may take to answer a check. It is checked before each query, and at this interval during one."""

QUERY_SECONDS = 120.0
"""Seconds that one query may take, from its start to its last row. An export asks for some 65,000 rows at a time."""

_URL = re.compile(r"sc://(\[[0-9A-Fa-f:.]+\]|[^\s/:;?#@\[\]]+)(:[0-9]+)?(/(;[^\s;=?#]+=[^\s;=?#]*)*)?")
_SSL = re.compile(r";use_ssl=(?!(true|false)(;|$))")
_CHANNEL = [
    # A batch is as large as the engine makes it; a part of an export is held in memory anyway.
    ("grpc.max_receive_message_length", -1),
    # Else a new channel waits with the old one for its next try to connect, up to two minutes.
    ("grpc.use_local_subchannel_pool", 1),
]

log = logging.getLogger(__name__)


class SparkEngine(Engine):
    """Runs queries on a Spark Connect endpoint, in one session that all threads share.

    url: `sc://host:port/;name=value...`, the values percent-encoded, in the notation of Spark's own clients. A `token` goes
    over TLS, except to `localhost`; `use_ssl=true` is TLS without a token; there are `user_id` and `user_agent`; any other name
    becomes a header.
    """

    reads_log = True

    def __init__(self, url: str, *, answer_seconds: float = ANSWER_SECONDS, query_seconds: float = QUERY_SECONDS) -> None:
        try:
            if not _URL.fullmatch(url) or _SSL.search(url):
                raise ValueError
            self._builder = DefaultChannelBuilder(url, _CHANNEL)
        except ValueError:  # whose words may hold the token
            form = "sc://host:port or sc://host:port/;token=...;use_ssl=true, the values percent-encoded"
            raise ValueError(f"the engine's URL is malformed; write {form}") from None
        self._answer_seconds, self._query_seconds = answer_seconds, query_seconds
        self._lock = threading.Lock()
        self._session: _Session | None = None

    def stream(self, table: DeltaTable, query: exp.Select) -> Generator[pa.RecordBatch]:
        plan, schema = _plan(table, query), pa.schema(table.schema().to_arrow())
        with self._faults():
            yield from self._ready().run(plan, schema, self._query_seconds)

    def check(self) -> str:
        with self._faults():
            self._ready()
        return f"Spark Connect at {self._builder.endpoint} answers"

    def close(self) -> None:
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()

    def _ready(self) -> _Session:
        """Return a session that has just answered. If an older one is gone with its server, open a new one."""
        session = self._current()
        try:
            session.prepare()
            return session
        except grpc.RpcError:
            self._drop(session)
            if not session.answered:
                raise
        return self._ready()

    def _current(self) -> _Session:
        with self._lock:
            if self._session is None:
                self._session = _Session(self._builder, self._answer_seconds)
            return self._session

    def _drop(self, session: _Session) -> None:
        """Stop using a session. Queries of other threads may still run in it: the last of them closes its channel."""
        with self._lock:
            if self._session is session:
                self._session = None

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn an error that the server answers instead of a result into `Unavailable`."""
        try:
            yield
        except grpc.RpcError as fault:
            code, endpoint = fault.code(), self._builder.endpoint
            log.error("the query engine at %s failed: %s: %.1000s", endpoint, code.name, fault.details())
            told = {
                grpc.StatusCode.UNAVAILABLE: "cannot be reached",
                grpc.StatusCode.DEADLINE_EXCEEDED: "does not answer in time",
                grpc.StatusCode.CANCELLED: "does not answer any more",
            }.get(code, "failed to run the query")
            raise Unavailable(f"The query engine at {endpoint} {told}; repeat the request later") from fault


class _Session:
    """Talks to the server in one session, over a channel of its own. We choose the session's id, so opening asks nothing.

    Every method but `close` raises `grpc.RpcError`.
    """

    def __init__(self, builder: DefaultChannelBuilder, answer_seconds: float) -> None:
        self.answered = False
        self._answer_seconds = answer_seconds
        self._channel = builder.toChannel()
        self._server = SparkConnectServiceStub(self._channel)
        self._headers = list(builder.metadata())
        self._names: dict[str, Any] = {
            "session_id": str(uuid.uuid4()),
            "user_context": pb.UserContext(user_id=builder.userId or "smarthouse"),
            "client_type": builder.userAgent,
        }

    def prepare(self) -> None:
        """Check that the server answers, and set its time zone to UTC, in which results have their times."""
        zone = pb.ConfigRequest.Set(pairs=[pb.KeyValue(key="spark.sql.session.timeZone", value="UTC")])
        request = pb.ConfigRequest(operation=pb.ConfigRequest.Operation(set=zone), **self._names)
        self._server.Config(request, timeout=self._answer_seconds, metadata=self._headers)
        self.answered = True

    def run(self, plan: pb.Plan, schema: pa.Schema, seconds: float) -> Iterator[pa.RecordBatch]:
        """Yield the plan's result, one message of the server at a time. A query that is not read to its end is interrupted.

        schema: has the types that the columns are to have, by their names.
        """
        operation = str(uuid.uuid4())
        request = pb.ExecutePlanRequest(plan=plan, operation_id=operation, **self._names)
        answers = self._server.ExecutePlan(request, timeout=seconds, metadata=self._headers)
        whole, watch = False, _Watch(self, answers, self._answer_seconds)
        watch.start()
        try:
            for answer in answers:
                if answer.HasField("arrow_batch"):
                    with pa.ipc.open_stream(answer.arrow_batch.data) as batches:
                        for batch in batches:
                            yield _typed(batch, schema)
            whole = True
        finally:
            watch.over.set()
            if not whole:
                answers.cancel()
                if not watch.gave_up:
                    self._interrupt(operation)

    def close(self) -> None:
        """Have the server forget the session, if it answers."""
        with suppress(grpc.RpcError):
            self._server.ReleaseSession(
                pb.ReleaseSessionRequest(**self._names), timeout=self._answer_seconds, metadata=self._headers
            )
        self._channel.close()

    def _interrupt(self, operation: str) -> None:
        """Have the server stop an operation: cancelling the call would end its answers, and not its work.

        The interrupt is not waited for, because a server whose threads are all busy may take long to see it.
        """
        kind = pb.InterruptRequest.INTERRUPT_TYPE_OPERATION_ID
        request = pb.InterruptRequest(interrupt_type=kind, operation_id=operation, **self._names)
        with suppress(ValueError):  # of a closed channel
            self._server.Interrupt.future(request, timeout=QUERY_SECONDS, metadata=self._headers)


class _Watch(threading.Thread):
    """Cancels a call once its server no longer answers: without this, the call would wait for its deadline."""

    def __init__(self, session: _Session, call: Any, seconds: float) -> None:
        super().__init__(name="engine-watch", daemon=True)
        self.over = threading.Event()
        self.gave_up = False
        self._session, self._call, self._seconds = session, call, seconds

    def run(self) -> None:
        while not self.over.wait(self._seconds) and not self.gave_up:
            try:
                self._session.prepare()
            except (grpc.RpcError, ValueError):  # the one of a server that is gone, the other of a closed channel
                self.gave_up = True
                self._call.cancel()


def _plan(table: DeltaTable, query: exp.Select) -> pb.Plan:
    """Write `query` as Spark's SQL over the snapshot. Texts are sent apart, as values: in the SQL, Spark would unescape them,
    and replace `${...}` by its settings or its server's environment.

    The snapshot has a name of this query's own. Apache Spark makes it a view of the whole session while it reads the SQL: of
    two queries at once with one name, one would find no view, or the other's snapshot.
    """
    texts: dict[str, pb.Expression] = {}
    source_name, own_name = name_of_source(query), f"snapshot_{uuid.uuid4().hex}"

    def set_aside(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Table) and node.name == source_name:
            return exp.to_table(own_name, alias=node.alias or source_name)
        if not (isinstance(node, exp.Literal) and node.is_string):
            return node
        name = f"text{len(texts)}"
        texts[name] = pb.Expression(literal=pb.Expression.Literal(string=node.this))
        return exp.Placeholder(this=name)

    sql = query.transform(set_aside).sql("spark", identify=True)
    version = {"versionAsOf": str(table.version())}
    source = pb.Read.DataSource(format="delta", paths=[_location(table.table_uri)], options=version)
    whole_table = pb.SubqueryAlias(input=pb.Relation(read=pb.Read(data_source=source)), alias=own_name)
    whole = pb.WithRelations(
        root=pb.Relation(common=pb.RelationCommon(plan_id=1), sql=pb.SQL(query=sql, named_arguments=texts)),
        references=[pb.Relation(common=pb.RelationCommon(plan_id=2), subquery_alias=whole_table)],
    )
    return pb.Plan(root=pb.Relation(common=pb.RelationCommon(plan_id=3), with_relations=whole))


def _location(uri: str) -> str:
    """Write a table's URI as Hadoop, below Spark, expects it: paths unescaped, and `s3a` for S3. Sail takes either."""
    return re.sub("^s3://", "s3a://", unquote(uri))


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Cast the columns of a batch that are the table's to the types that they have there."""
    types = {field.name: field.type for field in schema}
    return batch.cast(pa.schema([(field.name, types.get(field.name, field.type)) for field in batch.schema]))
