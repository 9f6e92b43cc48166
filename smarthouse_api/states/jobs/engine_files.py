"""The files that an engine of its own leaves for a job in the object store: its parts, and the tables that it joins rows with.

Those of a dataset lie in a place like that of a table, `parts/<version>`, because an engine writes there by itself. They are
removed together: half-written files that nobody writes any more cannot be told from those of another part.
The state store has a document `writing/<version>/<turn>-<attempt>-<number>` for each writing that may be under way. So nobody
who removes a dataset leaves behind what is written later: the engine is stopped first, also after the death of who began.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from backends.ports import ObjectStore
from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.engine import Engine, WritesFiles
from smarthouse_api.states.jobs.book import JobBook

PARTS: Final = "parts"
"""What the names of these places begin with."""

_IN_MEMORY_BYTES: Final = 8 << 20
_CHUNK_BYTES: Final = 1 << 20
_AT_ONCE_BYTES: Final = 4 << 20
_MOST_ROWS_AT_ONCE: Final = 65_536

log = logging.getLogger(__name__)


class EngineFiles:
    """Puts, reads and removes these files. A path begins with the dataset's version: `<version>/<turn>-<attempt>/...`."""

    def __init__(self, objects: ObjectStore, book: JobBook, engine: Engine) -> None:
        self._objects, self._book, self._engine = objects, book, engine

    def uri(self, path: str) -> str:
        """Return the URI by which an engine finds a path."""
        name, rest = _place(path)
        return f"{self._objects.table_location(name).uri.rstrip('/')}/{rest}"

    def put(self, path: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Put a table as one file, without statistics: Arrow leaves out those of long texts, and Sail then misses such rows."""
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as spool:
            with pq.ParquetWriter(spool, schema, compression="zstd", write_statistics=False) as writer:
                for batch in batches:
                    writer.write_batch(batch)
            spool.seek(0)
            self._objects.put_table(*_place(path), _chunks(spool))

    def paths(self, folder: str) -> list[str]:
        """List the paths of the files in a folder, in byte order."""
        name, rest = _place(f"{folder}/")
        return [f"{name.removeprefix(PARTS)[1:]}/{info.key}" for info in self._objects.list_table(name, rest)]

    @contextmanager
    def opened(self, path: str) -> Iterator[IO[bytes]]:
        """Read a whole file, and hold its bytes."""
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as spool:
            for chunk in self._objects.stream_table(*_place(path)):
                spool.write(chunk)
            spool.seek(0)
            yield spool

    def read(self, path: str, columns: list[str], texts: list[str]) -> Iterator[pa.RecordBatch]:
        """Read columns of the rows of a file. Raises `Unavailable` for a damaged one. texts: what comes dictionary-encoded."""
        with self.opened(path) as spool:
            try:
                file = pq.ParquetFile(spool, read_dictionary=texts)
                yield from file.iter_batches(_rows_at_once(file.metadata), columns=columns)
            except (pa.ArrowException, OSError) as fault:
                log.warning("a part that the query engine wrote cannot be read: %s", fault)
                raise Unavailable("A part that the query engine wrote cannot be read; it is made again") from fault

    def remove(self, version: str) -> None:
        """Remove all files of a dataset, for which nothing is written any more."""
        name = f"{PARTS}/{version}"
        if paths := [info.key for info in self._objects.list_table(name)]:
            self._objects.sweep_table(name, paths)

    def remove_before(self, version: str, turn: int) -> None:
        """Stop the writings of earlier turns of a dataset, and remove their files. Raises `Unavailable` as `remove_late`."""
        for name, token in self._book.writings(version):
            if _turn_of(name.split("/")[2]) < turn:
                self._stop(name, token)
        name = f"{PARTS}/{version}"
        paths = (info.key for info in self._objects.list_table(name))
        if earlier := [path for path in paths if _turn_of(path) < turn]:
            self._objects.sweep_table(name, earlier)

    def remove_late(self, is_made: Callable[[str], bool]) -> None:
        """Remove what may still be written for datasets that are not made any more. is_made: asked of each version.

        Raises `Unavailable` if the engine may go on: then nobody may say that all is gone.
        """
        for version in {name.split("/")[1] for name, _ in self._book.writings()}:
            if not is_made(version):
                self.stop(version)
                self.remove(version)

    def stop(self, version: str) -> None:
        """Stop the writings for a dataset. Raises `Unavailable`."""
        for name, token in self._book.writings(version):
            self._stop(name, token)

    def _stop(self, name: str, token: str) -> None:
        if not isinstance(self._engine, WritesFiles) or not self._engine.stop_writing(token):
            raise Unavailable("The query engine may still write a part of an export, and does not answer; repeat this later")
        self._book.end_writing(name)

    def sweep(self, is_made: Callable[[str], bool]) -> None:
        """Remove the files of datasets that are not made any more. is_made: asked of each version."""
        try:
            self.remove_late(is_made)
        except Unavailable as fault:
            log.warning("files of an export may stay for now: %s", fault)
        # A new dataset has its document before its first file.
        for version in {info.key.partition("/")[0] for info in self._objects.list_table(PARTS)}:
            if not is_made(version):
                self.remove(version)


def _rows_at_once(file: pq.FileMetaData) -> int:
    """Tell how many rows of a file are read at once, so that lines of any length fit into memory."""
    size: int = sum(file.row_group(number).total_byte_size for number in range(file.num_row_groups))
    fitting: int = _AT_ONCE_BYTES * file.num_rows // max(1, size)
    return max(1, min(_MOST_ROWS_AT_ONCE, fitting))


def _turn_of(name: str) -> int:
    """Tell the turn of a folder, or of a writing: `<turn>-...`; 0 if an earlier version of the service named it."""
    turn, separator, _ = name.partition("-")
    return int(turn) if separator and turn.isdecimal() else 0


def _place(path: str) -> tuple[str, str]:
    """Return the place in which a path lies, and its path there."""
    version, _, rest = path.partition("/")
    return f"{PARTS}/{version}", rest


def _chunks(spool: IO[bytes]) -> Iterator[bytes]:
    while chunk := spool.read(_CHUNK_BYTES):
        yield chunk
