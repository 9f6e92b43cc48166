"""Rows that are too many for memory, put aside on disk in ranges and read back range by range."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class SpilledRange:
    """Gives the rows of one range, as batches, as often as it is asked. rows, size: how many there are, and their bytes."""

    def __init__(self, file: IO[bytes], rows: int, size: int) -> None:
        self._file, self.rows, self.size = file, rows, size

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        self._file.seek(0)
        with pa.ipc.open_stream(self._file) as batches:
            yield from batches


class Spill:
    """Sorts rows into ranges that lie in temporary files, so that one range at a time fits into memory.

    The files have no name: they are gone with the process, however it ends. Raises `OSError`, for instance of a full disk.
    """

    def __init__(self, ranges: int) -> None:
        self._ranges, self._ending = ranges, ExitStack()
        self._files: list[IO[bytes]] = []
        self._writers: list[pa.RecordBatchStreamWriter] = []
        self._rows, self._bytes = [0] * ranges, [0] * ranges

    def __enter__(self) -> Spill:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self._ending.close()

    def add(self, rows: pa.RecordBatch, ranges: npt.NDArray[np.int64]) -> None:
        """Put rows aside. ranges: the range of each row, counted from 0. All rows have one schema, without dictionaries."""
        if not self._files:
            self._open(rows.schema)
        order = np.argsort(ranges, kind="stable")
        moved = rows.take(pa.array(order))
        ends = np.cumsum(np.bincount(ranges, minlength=self._ranges))
        for writer, end, length in zip(self._writers, ends.tolist(), np.diff(ends, prepend=0).tolist(), strict=True):
            if length:
                writer.write_batch(moved.slice(end - length, length))
        share = rows.nbytes / max(1, rows.num_rows)
        for place, length in enumerate(np.diff(ends, prepend=0).tolist()):
            self._rows[place] += length
            self._bytes[place] += int(length * share)

    def read(self) -> Iterator[SpilledRange]:
        """Yield each range in turn; the one before cannot be read any more. Nothing can be added any more."""
        for writer, file, rows, size in zip(self._writers, self._files, self._rows, self._bytes, strict=False):
            writer.close()
            yield SpilledRange(file, rows, size)
            file.truncate(0)

    def _open(self, schema: pa.Schema) -> None:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        for _ in range(self._ranges):
            file = self._ending.enter_context(TemporaryFile())  # noqa: SIM115 - the stack closes it
            self._files.append(file)
            self._writers.append(pa.ipc.new_stream(file, schema, options=options))
