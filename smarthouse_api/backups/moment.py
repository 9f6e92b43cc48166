"""The moment of a backup: the state store and the lake as they are together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final
from urllib.parse import unquote

from backends.dumps import Dumped, DumpedSpace
from backends.ports import StoreUnavailable
from smarthouse_api.coordination.leases import SPACE as LEASES
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.table import LakeTable

_LOG: Final = "_delta_log/"


class Moment:
    """Holds the writers of the lake back while the state is copied, and keeps the lake's files of that moment afterwards.

    It is entered before the state's moment and left after it. Leaving it lets the writers go on, and opens each table as it is
    then. Until `release`, nobody removes a file of it, except a purge, which breaks the leases; `check` tells.
    """

    def __init__(self, tables: Sequence[LakeTable], wait_seconds: float) -> None:
        self._tables, self._wait_seconds = tables, wait_seconds
        self._writing, self._readers = ExitStack(), list[Lease]()
        self._files: dict[str, tuple[int, set[str]]] = {}

    def __enter__(self) -> Moment:
        leases = {table.lease: table for table in self._tables}
        try:
            for table in leases.values():
                self._writing.enter_context(table.writing(self._wait_seconds))
                self._readers.append(table.reading())
        except TimeoutError:
            self._writing.close()
            raise StoreUnavailable("the lake's writer takes too long; repeat this") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        with self._writing:
            if kind is None:
                for table in self._tables:
                    if (snapshot := table.open()) is not None:
                        paths = {unquote(path) for path in files_of(snapshot)["path"].to_pylist()}
                        self._files[table.name] = snapshot.version(), paths

    def is_of(self, table: str, path: str) -> bool:
        """Tell whether the table needs this file to be as it was at the moment."""
        version, paths = self._files.get(table, (-1, set[str]()))
        if path.startswith(_LOG):
            number = path.removeprefix(_LOG)[:20]
            return number.isdigit() and int(number) <= version
        return path in paths

    def missing(self, copied: Iterable[tuple[str, str]]) -> list[str]:
        """List the files of the moment that are not among those that were copied: table, path."""
        there = set(copied)
        return [f"{table}/{path}" for table, (_, paths) in self._files.items() for path in paths if (table, path) not in there]

    def check(self) -> None:
        """Check that no file was removed meanwhile. Raises `LeaseLost`."""
        for reader in self._readers:
            reader.check()

    def release(self) -> None:
        """Let the files of the moment go."""
        for reader in self._readers:
            reader.release()


def without_leases(dump: Iterable[Dumped]) -> Iterator[Dumped]:
    """Leave the leases out of a dump: their holders are not copied."""
    is_kept = True
    for one in dump:
        if isinstance(one, DumpedSpace):
            is_kept = one.space != LEASES
        if is_kept:
            yield one
