"""Keep documents and logs in one SQLite file, shared by the threads and processes of one machine."""

from __future__ import annotations

import glob
import os
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from typing import Any

from backends import sqlite_dumps, sqlite_log
from backends.checks import check_change, check_names
from backends.circuits import Circuit, FailsFast
from backends.disks import ReserveFile, free_bytes
from backends.dumps import Dumped
from backends.faults import TranslatesFaults
from backends.own_files import OwnFile, ShowsFiles, chunks_of
from backends.ports import (
    Change,
    Committed,
    Conflict,
    Document,
    Entry,
    KeepsReserve,
    KeepsSums,
    Part,
    StateStore,
    StoreDamaged,
    StoreFull,
    StoreUnavailable,
    StoreUnfit,
)
from backends.sqlite_changes import EXPIRE, LARGEST, LIVE, SCHEMA, WaitingCommit, apply
from backends.sqlite_clock import SqliteClock
from backends.sqlite_connections import SqliteConnections, close_before_forks
from backends.sqlite_damage import SqliteDamage, code_of
from backends.sqlite_file import SqliteFile
from backends.sqlite_sums import LAYOUT, Place, SqliteSums, add_columns
from backends.urls import chosen, path_and_options, seconds

_RESERVE_BYTES = 8 << 20
_MOST_NAMED = 10
_OPENED_BYTES = 1 << 20
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
_OPTIONS = {"timeout_seconds": "5", "synchronous": "normal"}
_GET = f"SELECT value, version, expires_at, checksum FROM documents WHERE space = ? AND key = ? AND {LIVE}"  # noqa: S608
# No UTF-8 byte is 0xFF: the cast makes the text that follows every key with the prefix, and that no key can be.
_SCAN = f"""
SELECT key, value, version, expires_at, checksum FROM documents
WHERE space = ? AND key >= ? AND key != ? AND key < CAST(? AS TEXT) AND {LIVE} ORDER BY key LIMIT ?
"""  # noqa: S608
_READ = """
SELECT sequence, value, checksum FROM entries WHERE space = ? AND log = ? AND sequence > ? ORDER BY sequence LIMIT ?
"""
_LAST = "SELECT sequence FROM logs WHERE space = ? AND log = ?"


class SqliteState(FailsFast, TranslatesFaults, StateStore, KeepsReserve, KeepsSums, ShowsFiles):
    """Keeps documents and logs in a file: `sqlite://path?timeout_seconds=5&synchronous=normal`.

    timeout_seconds: how long to wait for another process that writes. synchronous: `full`, a commit waits for the disk;
    `normal`, a power cut may lose it, a crash of the processes does not.

    The file `path-reserve` keeps aside what a scrub takes, which writes the whole store twice.
    """

    DRIVER_ERRORS = (sqlite3.Error, OSError)

    def __init__(self, url: str) -> None:
        self._path, options = path_and_options(url, _OPTIONS)
        self._synchronous = chosen(options, "synchronous", ("full", "normal"))
        self._timeout_seconds = seconds(options, "timeout_seconds")
        self._damage, self._file = SqliteDamage(), SqliteFile(self._path)
        self._sums, self._looked_to = SqliteSums(), Place()
        self._reserve = ReserveFile(f"{self._path}-reserve")
        self._start_afresh()
        close_before_forks(self)

    def circuit_of(self, is_write: bool, place: str) -> Circuit:
        # Whoever holds the lock for writing hinders no reader.
        return self._circuit(is_write)

    def get(self, space: str, key: str) -> Document | None:
        check_names(space, key)
        rows = self._rows(_GET, (space, key, self._time()))
        return self._sums.document(space, key, *rows[0]) if rows else None

    def scan(self, space: str, prefix: str = "", after: str = "", limit: int = 1000) -> list[tuple[str, Document]]:
        check_names(space)
        # One lower bound, so that a page begins where the last ended; as text, Python and UTF-8 agree about the order.
        begin, end = max(prefix, after), prefix.encode() + b"\xff"
        rows = self._rows(_SCAN, (space, begin, after, end, self._time(), max(limit, 0)))
        return self._sums.damaged.whole(lambda row: (row[0], self._sums.document(space, *row)), rows)

    def read(self, space: str, log: str, after: int = 0, limit: int = 1000) -> list[Entry]:
        check_names(space, log)
        rows = self._rows(_READ, (space, log, min(after, LARGEST), max(limit, 0)))
        return self._sums.entries(space, log, rows)

    def last_sequence(self, space: str, log: str) -> int:
        check_names(space, log)
        rows = self._rows(_LAST, (space, log))
        return int(rows[0][0]) if rows else 0

    def commit(self, space: str, change: Change) -> Committed:
        check_change(space, change)
        waiting = WaitingCommit(space, change, time.monotonic())
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
            sqlite_dumps.forget(connection, space)

    def scrub(self) -> None:
        deadline = time.monotonic() + self._timeout_seconds
        with self._turn:
            with self._writing() as connection:
                connection.execute(EXPIRE, (self._time(), -1))
            with self._writer.borrowed() as connection:
                # `secure_delete` is not enough: a cell that moves to another page leaves a copy, which nothing overwrites.
                self._insist(connection, "VACUUM")
            with self._patient.borrowed() as connection:
                while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    if time.monotonic() > deadline:
                        raise StoreUnavailable("SQLite: a reader holds on to the write-ahead log")

    def check(self) -> str:
        with self._turn, self._writing() as connection:
            connection.execute(f"PRAGMA user_version = {LAYOUT}")
        with self._patient.borrowed() as connection:
            self._damage.look(connection)
            _, after = self._sums.look(connection, self._looked_to)
            self._looked_to = after or Place()
        return f"SQLite {sqlite3.sqlite_version} can be written to"

    def size_bytes(self) -> int:
        return self._file.size_bytes()

    def spaces(self) -> Iterator[str]:
        yield from (space for (space,) in self._rows("SELECT space FROM spaces", ()))

    def dump(self, around: AbstractContextManager[object] = nullcontext()) -> Iterator[Dumped]:  # noqa: B008
        with self._patient.borrowed() as connection:
            copy = sqlite_dumps.copied(connection, around)
        with closing(copy):
            yield from sqlite_dumps.dumped(copy, self._sums)

    def leftovers(self) -> list[str]:
        return sqlite_dumps.side_files_with_content(self._path)

    def accept_leftovers(self) -> None:
        sqlite_log.accept(self._path)
        damaged = [*self.verify(), *(part.name_in_logs for part in self.look_through())]
        if damaged:
            told = ", ".join(damaged[:_MOST_NAMED]) + (", …" if len(damaged) > _MOST_NAMED else "")
            name = os.path.basename(self._path)
            raise StoreDamaged(f"SQLite: {name} is damaged, with its log, too: {told}; restore a backup")

    def load(self, dump: Iterable[Dumped]) -> None:
        written = f"{self._path}.loading"
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        sqlite_dumps.remove(written)  # of one that died
        try:
            sqlite_dumps.write(written, SCHEMA, dump)
            self.before_fork()
            try:
                sqlite_dumps.put_in_place(written, self._path)
                self._file.replace()
            finally:
                self.after_fork_in_parent()
        except BaseException:
            with suppress(OSError):
                sqlite_dumps.remove(written)
            raise

    def verify(self) -> Iterator[str]:
        yield from (str(line) for (line,) in self._rows("PRAGMA integrity_check", ()) if line != "ok")

    def own_files(self, tables: Collection[str]) -> Iterator[OwnFile]:
        for path in sorted(glob.glob(f"{glob.escape(self._path)}*")):
            yield OwnFile(os.path.basename(path), self._bytes_of(path), path=path)

    def damaged(self) -> list[Part]:
        return self._sums.damaged.left(self)

    def reading_around(self) -> AbstractContextManager[None]:
        return self._sums.damaged.reading_around()

    def look_through(self) -> Iterator[Part]:
        place: Place | None = Place()
        while place is not None and self._file.is_there():
            with self._patient.borrowed() as connection:
                parts, place = self._sums.look(connection, place)
            yield from parts

    def add_sums(self) -> Iterator[int]:
        place: Place | None = Place()
        while place is not None and self._file.is_there():
            with self._turn, self._writing() as connection:
                count, place = self._sums.add(connection, place)
            yield count

    def close(self) -> None:
        self._patient.close()
        self._writer.close()

    def now(self) -> float:
        return self._time()

    def free_bytes(self) -> int:
        return free_bytes(os.path.dirname(self._path))

    def keep_reserve(self) -> None:
        # In steps, or it would grow with every commit.
        scrubbed = -(-2 * self.size_bytes() // _RESERVE_BYTES) * _RESERVE_BYTES
        self._reserve.keep(_RESERVE_BYTES + scrubbed)

    def spend_reserve(self) -> bool:
        return self._reserve.spend()

    def fault_of(self, error: Exception, method: str) -> StoreUnavailable:
        if not isinstance(error, sqlite3.Error):
            return super().fault_of(error, method)
        if (damaged := self._damage.fault_of(error)) is not None:
            return damaged
        return (StoreFull if _is_full(error) else StoreUnavailable)(f"SQLite: {error}")

    def before_fork(self) -> None:
        self._writer.shut()
        self._patient.shut()

    def after_fork_in_parent(self) -> None:
        self._patient.reopen()
        self._writer.reopen()

    def after_fork_in_child(self) -> None:
        self._start_afresh()

    def _bytes_of(self, path: str) -> Iterator[bytes]:
        """Read one of the files. To close it ends SQLite's locks of this process, so that no connection is open meanwhile."""
        self.before_fork()
        try:
            yield from chunks_of(path)
        finally:
            self.after_fork_in_parent()

    def _start_afresh(self) -> None:
        self._turn = threading.Lock()
        self._queue: deque[WaitingCommit] = deque()
        self._clock = SqliteClock()
        self._patient = SqliteConnections(lambda: self._connect(self._timeout_seconds), self._file.check)
        # The one that writes does its own waiting: SQLite's sleeps up to 0.1 s between tries, and another process slips in.
        self._writer = SqliteConnections(lambda: self._connect(0), self._file.check)

    def _connect(self, busy_seconds: float) -> sqlite3.Connection:
        try:
            return self._opened(busy_seconds)
        except sqlite3.Error as error:
            # The files beside it take some room. Without them, nothing can be read either.
            if not _is_full(error) or not self._reserve.spend_some(_OPENED_BYTES):
                raise
        return self._opened(busy_seconds)

    def _opened(self, busy_seconds: float) -> sqlite3.Connection:
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        had_log = sqlite_log.look(self._path)
        connection = sqlite3.connect(self._path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
        try:
            self._refuse_foreign(connection)
            self._insist(connection, "PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute("PRAGMA secure_delete = ON")
            ((layout,),) = self._insist(connection, "PRAGMA user_version")
            if had_log:  # so that the next look, after another crash, can compare the pages
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            if layout < LAYOUT:
                self._insist(connection, "BEGIN IMMEDIATE")
                for statement in filter(str.strip, SCHEMA.split(";")):
                    connection.execute(statement)
                add_columns(connection)
                connection.execute(f"PRAGMA user_version = {LAYOUT}")
                connection.execute("COMMIT")
            self._clock.set_by(connection, lambda one: self._insist(one, "BEGIN IMMEDIATE"))
            self._file.note()
        except BaseException:
            connection.close()
            raise
        return connection

    def _refuse_foreign(self, connection: sqlite3.Connection) -> None:
        """Raise `StoreUnfit` if the file is another program's, before a byte of it is changed."""
        tables = {name for (name,) in self._insist(connection, "SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and "documents" not in tables:
            raise StoreUnfit(
                f"SQLite: {os.path.basename(self._path)} is a database of another program; let SMARTHOUSE_DATA_DIR or"
                " SMARTHOUSE_STATE_URL name another place"
            )

    def _time(self) -> float:
        if not self._clock.is_set and self._file.is_there():  # who only asks for the time makes no file
            with self._patient.borrowed():  # which sets it
                pass
        return self._clock.now()

    def _rows(self, query: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        if not self._file.is_there() and not os.path.exists(f"{self._path}-wal"):
            return []  # who only reads makes no file
        with self._patient.borrowed() as connection:
            return connection.execute(query, parameters).fetchall()

    def _settle(self, batch: list[WaitingCommit]) -> None:
        left = batch
        try:
            while left:
                self._transact(left)
                left = [waiting for waiting in left if waiting.outcome is None]
        finally:
            for waiting in left:
                waiting.outcome = StoreUnavailable("the commit was interrupted")

    def _transact(self, batch: list[WaitingCommit]) -> None:
        """Commit the batch in one transaction. If one commit of it fails by itself, give the outcome to that one alone."""
        culprit: WaitingCommit | None = None
        outcomes: list[Committed | Conflict] = []
        try:
            # Nobody waits longer than the timeout, the turn included: the first of them has waited longest.
            with self._writing(batch[0].began_at) as connection:
                for culprit in batch:
                    outcomes.append(apply(connection, culprit.space, culprit.change, self._clock.now(), self._sums))
                culprit = None
                self._clock.note(connection)
        except Exception as error:
            # Each of those who wait raises an error of its own. A copy of the driver's would lose its code.
            told = self.fault_of(error, "commit") if isinstance(error, self.DRIVER_ERRORS) else error
            for waiting in [culprit] if culprit else batch:
                waiting.outcome = type(told)(*told.args)
                waiting.outcome.__cause__ = error
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                waiting.outcome = outcome

    def _insist(self, connection: sqlite3.Connection, statement: str, since: float | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of `statement`, executed once the file is not busy, within the timeout after `since`, or now."""
        deadline = (time.monotonic() if since is None else since) + self._timeout_seconds
        while True:
            try:
                return connection.execute(statement).fetchall()
            except sqlite3.OperationalError as error:
                if code_of(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.0002, 0.001))  # noqa: S311

    @contextmanager
    def _writing(self, since: float | None = None) -> Iterator[sqlite3.Connection]:
        with self._writer.borrowed() as connection:
            self._insist(connection, "BEGIN IMMEDIATE", since)
            try:
                yield connection
                connection.execute("COMMIT")
                self._file.check()  # else the commit is in a file that is no longer there
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) in _NO_ROOM
