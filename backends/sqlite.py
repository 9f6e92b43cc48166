"""Keep documents and logs in one SQLite file, shared by the threads and processes of one machine."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from backends.checks import check_change, check_names
from backends.faults import TranslatesFaults
from backends.ports import ABSENT, Change, Committed, Conflict, Document, Entry, StateStore, StoreFull, StoreUnavailable
from backends.sqlite_connections import SqliteConnections, close_before_forks
from backends.urls import chosen, path_and_options, seconds

_OPTIONS = {"timeout_seconds": "5", "synchronous": "normal"}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spaces (space TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    space TEXT, key TEXT, version INTEGER NOT NULL, expires_at REAL, value BLOB NOT NULL, PRIMARY KEY (space, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS documents_by_expiry ON documents (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS logs (space TEXT, log TEXT, sequence INTEGER NOT NULL, PRIMARY KEY (space, log)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    space TEXT, log TEXT, sequence INTEGER, value BLOB NOT NULL, PRIMARY KEY (space, log, sequence)
) WITHOUT ROWID;
"""
_LIVE = "(expires_at IS NULL OR expires_at > ?)"
_GET = f"SELECT value, version FROM documents WHERE space = ? AND key = ? AND {_LIVE}"  # noqa: S608
_VERSION = f"SELECT version FROM documents WHERE space = ? AND key = ? AND {_LIVE}"  # noqa: S608
# No UTF-8 byte is 0xFF: the cast makes the text that follows every key with the prefix, and that no key can be.
_SCAN = f"""
SELECT key, value, version FROM documents
WHERE space = ? AND key >= ? AND key != ? AND key < CAST(? AS TEXT) AND {_LIVE} ORDER BY key LIMIT ?
"""  # noqa: S608
_READ = "SELECT sequence, value FROM entries WHERE space = ? AND log = ? AND sequence > ? ORDER BY sequence LIMIT ?"
_LAST = "SELECT sequence FROM logs WHERE space = ? AND log = ?"
_NEXT_VERSION = "INSERT INTO spaces VALUES (?, 1) ON CONFLICT DO UPDATE SET version = version + 1 RETURNING version"
_PUT = "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?)"
_DELETE = "DELETE FROM documents WHERE space = ? AND key = ?"
_ADVANCE = "INSERT INTO logs VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET sequence = sequence + 1 RETURNING sequence"
_APPEND = "INSERT INTO entries VALUES (?, ?, ?, ?)"
_DROP = "DELETE FROM entries WHERE space = ? AND log = ? AND sequence = ?"
_EXPIRE = """
DELETE FROM documents WHERE (space, key) IN (SELECT space, key FROM documents WHERE expires_at <= ? LIMIT ?)
"""
_ERASE = tuple(f"DELETE FROM {table} WHERE space = ?" for table in ("documents", "entries", "logs", "spaces"))  # noqa: S608
_LARGEST = 2**63 - 1
_EXPIRED_AT_ONCE = 256


@dataclass(slots=True, eq=False)
class _WaitingCommit:
    """Holds a commit that waits for its turn, and what became of it."""

    space: str
    change: Change
    outcome: Committed | Exception | None = None


class SqliteState(TranslatesFaults, StateStore):
    """Keeps documents and logs in a file: `sqlite://path?timeout_seconds=5&synchronous=normal`.

    timeout_seconds: how long to wait for another process that writes. synchronous: `full`, a commit waits for the disk;
    `normal`, a power cut may lose it, a crash of the processes does not.
    """

    DRIVER_ERRORS = (sqlite3.Error, OSError)

    def __init__(self, url: str) -> None:
        self._path, options = path_and_options(url, _OPTIONS)
        self._synchronous = chosen(options, "synchronous", ("full", "normal"))
        self._timeout_seconds = seconds(options, "timeout_seconds")
        self._start_afresh()
        close_before_forks(self)

    def get(self, space: str, key: str) -> Document | None:
        check_names(space, key)
        rows = self._rows(_GET, (space, key, time.time()))
        return Document(*rows[0]) if rows else None

    def scan(self, space: str, prefix: str = "", after: str = "", limit: int = 1000) -> list[tuple[str, Document]]:
        check_names(space)
        # One lower bound, so that a page begins where the last ended; as text, Python and UTF-8 agree about the order.
        begin, end = max(prefix, after), prefix.encode() + b"\xff"
        rows = self._rows(_SCAN, (space, begin, after, end, time.time(), max(limit, 0)))
        return [(key, Document(value, version)) for key, value, version in rows]

    def read(self, space: str, log: str, after: int = 0, limit: int = 1000) -> list[Entry]:
        check_names(space, log)
        return [Entry(*row) for row in self._rows(_READ, (space, log, min(after, _LARGEST), max(limit, 0)))]

    def last_sequence(self, space: str, log: str) -> int:
        check_names(space, log)
        rows = self._rows(_LAST, (space, log))
        return int(rows[0][0]) if rows else 0

    def commit(self, space: str, change: Change) -> Committed:
        check_change(space, change)
        waiting = _WaitingCommit(space, change)
        self._queue.append(waiting)
        # The thread whose turn it is commits for all that wait, so that they share one wait for the disk.
        with self._turn:
            if waiting.outcome is None:
                self._settle([self._queue.popleft() for _ in range(len(self._queue))])
        if isinstance(waiting.outcome, Committed):
            return waiting.outcome
        raise waiting.outcome or StoreUnavailable("the commit was interrupted")

    def erase(self, space: str) -> None:
        check_names(space)
        with self._turn, self._writing() as connection:
            for statement in _ERASE:
                connection.execute(statement, (space,))

    def scrub(self) -> None:
        deadline = time.monotonic() + self._timeout_seconds
        with self._turn:
            with self._writing() as connection:
                connection.execute(_EXPIRE, (time.time(), -1))
            with self._writer.borrowed() as connection:
                # `secure_delete` is not enough: a cell that moves to another page leaves a copy, which nothing overwrites.
                self._insist(connection, "VACUUM")
            with self._patient.borrowed() as connection:
                while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    if time.monotonic() > deadline:
                        raise StoreUnavailable("SQLite: a reader holds on to the write-ahead log")

    def check(self) -> str:
        with self._turn, self._writing() as connection:
            connection.execute("PRAGMA user_version = 1")
        return f"SQLite {sqlite3.sqlite_version} can be written to"

    def close(self) -> None:
        self._patient.close()
        self._writer.close()

    def fault_of(self, error: Exception, method: str) -> StoreUnavailable:
        if not isinstance(error, sqlite3.Error):
            return super().fault_of(error, method)
        return (StoreFull if _code(error) == sqlite3.SQLITE_FULL else StoreUnavailable)(f"SQLite: {error}")

    def before_fork(self) -> None:
        self._writer.shut()
        self._patient.shut()

    def after_fork_in_parent(self) -> None:
        self._patient.reopen()
        self._writer.reopen()

    def after_fork_in_child(self) -> None:
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._turn = threading.Lock()
        self._queue: deque[_WaitingCommit] = deque()
        self._patient = SqliteConnections(lambda: self._connect(self._timeout_seconds))
        # The one that writes does its own waiting: SQLite's sleeps up to 0.1 s between tries, and another process slips in.
        self._writer = SqliteConnections(lambda: self._connect(0))

    def _connect(self, busy_seconds: float) -> sqlite3.Connection:
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
        try:
            self._insist(connection, "PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute("PRAGMA secure_delete = ON")
            self._insist(connection, "PRAGMA user_version")
            if connection.execute("PRAGMA user_version").fetchone() == (0,):
                self._insist(connection, "BEGIN IMMEDIATE")
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    connection.execute(statement)
                connection.execute("PRAGMA user_version = 1")
                connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _rows(self, query: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._patient.borrowed() as connection:
            return connection.execute(query, parameters).fetchall()

    def _settle(self, batch: list[_WaitingCommit]) -> None:
        left = batch
        try:
            while left:
                self._transact(left)
                left = [waiting for waiting in left if waiting.outcome is None]
        finally:
            for waiting in left:
                waiting.outcome = StoreUnavailable("the commit was interrupted")

    def _transact(self, batch: list[_WaitingCommit]) -> None:
        """Commit the batch in one transaction. If one commit of it fails by itself, give the outcome to that one alone."""
        culprit: _WaitingCommit | None = None
        outcomes: list[Committed | Conflict] = []
        try:
            with self._writing() as connection:
                for culprit in batch:
                    outcomes.append(_apply(connection, culprit.space, culprit.change))
                culprit = None
        except Exception as error:
            # Each of those who wait raises an error of its own. A copy of the driver's would lose its code.
            told = self.fault_of(error, "commit") if isinstance(error, self.DRIVER_ERRORS) else error
            for waiting in [culprit] if culprit else batch:
                waiting.outcome = type(told)(*told.args)
                waiting.outcome.__cause__ = error
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                waiting.outcome = outcome

    def _insist(self, connection: sqlite3.Connection, statement: str) -> None:
        """Execute `statement` as soon as the file is not busy, within the timeout."""
        deadline = time.monotonic() + self._timeout_seconds
        while True:
            try:
                connection.execute(statement).fetchall()
                return
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.0002, 0.001))  # noqa: S311

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._writer.borrowed() as connection:
            self._insist(connection, "BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise


def _apply(connection: sqlite3.Connection, space: str, change: Change) -> Committed | Conflict:
    """Do `change` within the transaction, or nothing of it when an expectation does not hold."""
    execute = connection.execute
    now = time.time()
    for key, wanted in change.expect.items():
        row = execute(_VERSION, (space, key, now)).fetchone()
        found = row[0] if row else ABSENT
        if found != wanted:
            return Conflict(f"{key!r} in {space!r} has version {found}, not {wanted}")
    version = execute(_NEXT_VERSION, (space,)).fetchall()[0][0]
    for put in change.puts:
        expires_at = None if put.ttl_seconds is None else now + put.ttl_seconds
        execute(_PUT, (space, put.key, version, expires_at, put.value))
    for key in change.deletes:
        execute(_DELETE, (space, key))
    sequences = [_append(connection, space, log, value) for log, value in change.appends]
    for log, sequence in change.drops:
        execute(_DROP, (space, log, min(sequence, _LARGEST)))
    # More than were put, or documents with a lifetime would pile up.
    execute(_EXPIRE, (now, _EXPIRED_AT_ONCE + 2 * len(change.puts)))
    return Committed(version, tuple(sequences))


def _append(connection: sqlite3.Connection, space: str, log: str, value: bytes) -> int:
    sequence: int = connection.execute(_ADVANCE, (space, log)).fetchall()[0][0]
    connection.execute(_APPEND, (space, log, sequence, value))
    return sequence


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
