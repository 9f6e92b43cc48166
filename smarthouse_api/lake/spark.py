"""A Spark Connect endpoint as the engine: Apache Spark 4 with Delta, or Sail.

We speak its protocol with the messages that `pyspark` brings along, but do not use pyspark's own session. That one retries for
ten minutes, runs threads, and may wait for ever; ours tells within seconds that an engine does not answer.

The endpoint reads the table itself, at the version that an export opened. We tell it where the table is, and send no
credentials. Its operator gives it credentials of its own: `AWS_*` variables for Sail, `spark.hadoop.fs.s3a.*` for Spark. They
need only to read the lake, and to write below `tables/parts`. A folder must have the same path there, and be readable for the
endpoint's user.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import uuid
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import grpc
import pyarrow as pa
from deltalake import DeltaTable
from sqlglot import exp

from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.engine import Engine, EngineFailed, Kind, Sources, WritesFiles, Writing, name_of_source
from smarthouse_api.lake.spark_plans import query_plan, writing_plan
from smarthouse_api.lake.spark_writing import SparkWriting

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

WRITE_SECONDS = 3600.0
"""Seconds that the writing of one part of a job may take."""

_URL = re.compile(r"sc://(\[[0-9A-Fa-f:.]+\]|[^\s/:;?#@\[\]]+)(:[0-9]+)?(/(;[^\s;=?#]+=[^\s;=?#]*)*)?")
_SSL = re.compile(r";use_ssl=(?!(true|false)(;|$))")
_CHANNEL = [
    # A batch is as large as the engine makes it; a part of an export is held in memory anyway.
    ("grpc.max_receive_message_length", -1),
    # Else a new channel waits with the old one for its next try to connect, up to two minutes.
    ("grpc.use_local_subchannel_pool", 1),
]

_OUTAGES: Final = {
    grpc.StatusCode.UNAVAILABLE: "cannot be reached",
    grpc.StatusCode.DEADLINE_EXCEEDED: "does not answer in time",
    grpc.StatusCode.CANCELLED: "does not answer any more",
}
"""What it means if a call ends without the server's own words."""

_STOP_SECONDS: Final = 0.2
_WARMING_ROWS: Final = 1000

log = logging.getLogger(__name__)


class SparkEngine(Engine, WritesFiles):
    """Runs queries on a Spark Connect endpoint, in one session that all threads share.

    url: `sc://host:port/;name=value...`, the values percent-encoded, in the notation of Spark's own clients. A `token` goes
    over TLS, except to `localhost`; `use_ssl=true` is TLS without a token; there are `user_id` and `user_agent`; any other name
    becomes a header.
    """

    reads_log = True

    def __init__(
        self,
        url: str,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        query_seconds: float = QUERY_SECONDS,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        try:
            if not _URL.fullmatch(url) or _SSL.search(url):
                raise ValueError
            self._builder = DefaultChannelBuilder(url, _CHANNEL)
        except ValueError:  # whose words may hold the token
            form = "sc://host:port or sc://host:port/;token=...;use_ssl=true, the values percent-encoded"
            raise ValueError(f"the engine's URL is malformed; write {form}") from None
        self._answer_seconds, self._query_seconds, self._write_seconds = answer_seconds, query_seconds, write_seconds
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._warming: threading.Thread | None = None

    def stream(self, table: DeltaTable, query: exp.Select) -> Generator[pa.RecordBatch]:
        return self._run({name_of_source(query): table}, query, self._query_seconds)

    def read(self, sources: Sources, query: exp.Select) -> Generator[pa.RecordBatch]:
        return self._run(sources, query, max(self._query_seconds, self._write_seconds))

    def _run(self, sources: Sources, query: exp.Select, seconds: float) -> Generator[pa.RecordBatch]:
        tables = (source for source in sources.values() if isinstance(source, DeltaTable))
        fields = (field for table in tables for field in pa.schema(table.schema().to_arrow()))
        plan, schema = query_plan(query, sources), pa.schema(fields)
        with self._faults():
            yield from self._ready().run(plan, schema, seconds)

    @property
    def write_seconds(self) -> float:
        return self._write_seconds

    def writing(self, query: exp.Select, sources: Sources, uri: str, by: str, kind: Kind = "rows") -> Writing:
        with self._faults():
            session = self._ready()
        plan, token = writing_plan(query, sources, uri, by, kind), f"{session.id} {uuid.uuid4()}"
        start = partial(session.execute, plan, token.partition(" ")[2], self._write_seconds)
        return SparkWriting(
            token, start, partial(_Watch, session, seconds=self._answer_seconds), self.stop_writing, self._faults
        )

    def stop_writing(self, token: str) -> bool:
        session, _, operation = token.partition(" ")
        try:
            return self._ready().stop(session, operation)
        except grpc.RpcError as fault:
            log.warning("the query engine at %s may go on writing: %s", self._builder.endpoint, fault.code().name)
            return False

    def is_cold(self) -> bool:
        with self._lock:
            return self._session is None or not self._session.is_warm

    def warm(self, table: DeltaTable) -> None:
        with self._lock:
            if self._warming is None or not self._warming.is_alive():
                self._warming = threading.Thread(target=self._warm, args=(table,), name="engine-warming", daemon=True)
                self._warming.start()

    def _warm(self, table: DeltaTable) -> None:
        some = exp.select("type").from_("states").limit(_WARMING_ROWS).subquery("some")
        query = exp.select("type", exp.Count(this=exp.Star()).as_("found")).from_(some).group_by("type")
        began_at = time.monotonic()
        with suppress(Unavailable), self._faults():
            session = self._ready()
            plan, schema = query_plan(query, {"states": table}), pa.schema(table.schema().to_arrow())
            for _ in session.run(plan, schema, max(self._query_seconds, self._write_seconds)):
                pass
            log.info("the query engine at %s is warm after %.1f s", self._builder.endpoint, time.monotonic() - began_at)
            session.is_warm = True

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
            told = _OUTAGES.get(code, "failed to run the query")
            kind = Unavailable if code in _OUTAGES else EngineFailed
            raise kind(f"The query engine at {endpoint} {told}; repeat the request later") from fault


class _Session:
    """Talks to the server in one session, over a channel of its own. We choose the session's id, so opening asks nothing.

    Every method but `close` raises `grpc.RpcError`.
    """

    def __init__(self, builder: DefaultChannelBuilder, answer_seconds: float) -> None:
        self.answered = self.is_warm = False
        self._known_as = ""
        self.id = str(uuid.uuid4())
        self._answer_seconds = answer_seconds
        self._channel = builder.toChannel()
        self._server = SparkConnectServiceStub(self._channel)
        self._headers = list(builder.metadata())
        self._names: dict[str, Any] = {
            "session_id": self.id,
            "user_context": pb.UserContext(user_id=builder.userId or "smarthouse"),
            "client_type": builder.userAgent,
        }

    def prepare(self) -> None:
        """Check that the server answers, and set its time zone to UTC, in which results have their times."""
        zone = pb.ConfigRequest.Set(pairs=[pb.KeyValue(key="spark.sql.session.timeZone", value="UTC")])
        request = pb.ConfigRequest(operation=pb.ConfigRequest.Operation(set=zone), **self._names)
        told = self._server.Config(request, timeout=self._answer_seconds, metadata=self._headers)
        if told.server_side_session_id != self._known_as:  # the server is another one than before
            self._known_as, self.is_warm = told.server_side_session_id, False
        self.answered = True

    def run(self, plan: pb.Plan, schema: pa.Schema, seconds: float) -> Iterator[pa.RecordBatch]:
        """Yield the plan's result, one message of the server at a time. A query that is not read to its end is interrupted.

        schema: has the types that the columns are to have, by their names.
        """
        operation = str(uuid.uuid4())
        answers = self.execute(plan, operation, seconds)
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

    def execute(self, plan: pb.Plan, operation: str, seconds: float) -> Any:
        """Begin an operation, and return the call, whose answers are to be read."""
        request = pb.ExecutePlanRequest(plan=plan, operation_id=operation, **self._names)
        return self._server.ExecutePlan(request, timeout=seconds, metadata=self._headers)

    def stop(self, session: str, operation: str) -> bool:
        """Have the server stop an operation of any session. Tell whether it knows of no such operation any more."""
        kind = pb.InterruptRequest.INTERRUPT_TYPE_OPERATION_ID
        named = {**self._names, "session_id": session}
        request = pb.InterruptRequest(interrupt_type=kind, operation_id=operation, **named)
        ends_at = time.monotonic() + self._answer_seconds
        while time.monotonic() < ends_at:
            try:
                told = self._server.Interrupt(request, timeout=self._answer_seconds, metadata=self._headers)
            except grpc.RpcError as fault:
                if fault.code() in _OUTAGES:
                    raise
                return True  # the session is closed, and all that it did
            if operation not in told.interrupted_ids:
                return True
            time.sleep(_STOP_SECONDS)
        return False

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


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Cast the columns of a batch that are the table's to the types that they have there."""
    types = {field.name: field.type for field in schema}
    return batch.cast(pa.schema([(field.name, types.get(field.name, field.type)) for field in batch.schema]))
