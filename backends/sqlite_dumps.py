"""Read all of a SQLite store at one moment, and write another store's content as a new file."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, suppress

from backends.dumps import Dumped, DumpedDocument, DumpedEntry, DumpedLog, DumpedSpace
from backends.sqlite_clock import now_of
from backends.sqlite_sums import LAYOUT, SqliteSums, document_row, entry_row

_SIDE_FILES = ("-wal", "-shm", "-journal")
_PUT = "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?)"
_APPEND = "INSERT INTO entries VALUES (?, ?, ?, ?, ?)"


def copied(source: sqlite3.Connection, around: AbstractContextManager[object]) -> sqlite3.Connection:
    """Copy the database into a temporary one, which SQLite keeps in an unnamed file.

    The moment of the copy is over soon. A read transaction of minutes would keep a scrub from the write-ahead log.
    """
    copy = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    try:
        with around:
            source.backup(copy)
    except BaseException:
        copy.close()
        raise
    return copy


def dumped(database: sqlite3.Connection, sums: SqliteSums) -> Iterator[Dumped]:
    """Read a database that nobody changes. Raises `PartDamaged`."""
    now = now_of(database)
    for space, version in database.execute("SELECT space, version FROM spaces ORDER BY space"):
        yield DumpedSpace(space, version)
        documents = "SELECT key, value, version, expires_at, checksum FROM documents WHERE space = ?"
        for key, value, its_version, expires_at, checksum in database.execute(documents, (space,)):
            if expires_at is None or expires_at > now:
                sums.document(space, key, value, its_version, expires_at, checksum)
                yield DumpedDocument(key, value, its_version, None if expires_at is None else expires_at - now)
        for log, last in database.execute("SELECT log, sequence FROM logs WHERE space = ?", (space,)):
            yield DumpedLog(log, last)
            entries = "SELECT sequence, value, checksum FROM entries WHERE space = ? AND log = ? ORDER BY sequence"
            for row in database.execute(entries, (space, log)):
                yield from (DumpedEntry(entry.sequence, entry.value) for entry in sums.entries(space, log, [row]))


def write(path: str, schema: str, dump: Iterable[Dumped]) -> None:
    """Write a dump as the database `path`, which must not exist, and wait for the disk."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(f"PRAGMA synchronous = FULL; BEGIN; {schema} PRAGMA user_version = {LAYOUT};")
        space = log = ""
        now = time.time()
        for one in dump:
            match one:
                case DumpedSpace():
                    space = one.space
                    forget(database, space)
                    if one.version:
                        database.execute("INSERT INTO spaces VALUES (?, ?)", (space, one.version))
                case DumpedDocument():
                    expires_at = None if one.ttl_seconds is None else now + one.ttl_seconds
                    database.execute(_PUT, document_row(space, one.key, one.version, expires_at, one.value))
                case DumpedLog():
                    log = one.log
                    database.execute("INSERT INTO logs VALUES (?, ?, ?)", (space, log, one.sequence))
                case DumpedEntry():
                    database.execute(_APPEND, entry_row(space, log, one.sequence, one.value))
        database.execute("COMMIT")


def put_in_place(written: str, path: str) -> None:
    """Replace the database `path`, and remove what SQLite kept beside it: the old log must not be replayed into the new one."""
    remove_side_files(path)
    os.replace(written, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove(path: str) -> None:
    """Remove a database and what SQLite kept beside it, as far as it is there."""
    remove_side_files(path)
    with suppress(FileNotFoundError):
        os.unlink(path)


def side_files_with_content(path: str) -> list[str]:
    """List the logs beside a database from which SQLite would change it when it is opened."""
    beside = (path + ending for ending in _SIDE_FILES if ending != "-shm")
    return [name for name in beside if os.path.exists(name) and os.path.getsize(name)]


def remove_side_files(path: str) -> None:
    """Remove the logs that SQLite keeps beside a database."""
    for ending in _SIDE_FILES:
        with suppress(FileNotFoundError):
            os.unlink(path + ending)


def forget(database: sqlite3.Connection, space: str) -> None:
    """Remove all of a space."""
    for table in ("documents", "entries", "logs", "spaces"):
        database.execute(f"DELETE FROM {table} WHERE space = ?", (space,))  # noqa: S608
