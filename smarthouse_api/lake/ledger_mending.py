"""Mending the ledgers: a damaged record of a table or of one of its files is made again from these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from backends.ports import Part
from smarthouse_api.coordination.mending import Mender
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.ledger import SPACE
from smarthouse_api.lake.table import LakeTable

SetAside = Callable[[Mapping[str, str]], None]
_PATIENCE_SECONDS: Final = 10.0


class LedgerMending:
    """Makes damaged records of the lake's tables again.

    tables: each with what takes damaged files out of it, so that their rows are made again.
    """

    def __init__(self, tables: Sequence[tuple[LakeTable, SetAside]]) -> None:
        self._tables = {table.name: (table, set_aside) for table, set_aside in tables}

    def menders(self) -> list[Mender]:
        """List what mends. The records of tables go first: no file can be looked up without them."""
        return [Mender(SPACE, "head/", self._mend_head), Mender(SPACE, "file/", self._mend_file)]

    def _mend_head(self, part: Part) -> bool:
        if (found := self._tables.get(part.name.removeprefix("head/"))) is None:
            return False
        if (lease := found[0].try_write(_PATIENCE_SECONDS)) is None:
            return False
        with lease:
            return found[0].record_head_anew()

    def _mend_file(self, part: Part) -> bool:
        name, _, path = part.name.removeprefix("file/").partition("/")
        if name not in self._tables:
            return False
        table, set_aside = self._tables[name]
        if (lease := table.try_write(_PATIENCE_SECONDS)) is None:
            return False
        with lease:
            snapshot = table.open()
            files = [] if snapshot is None else files_of(snapshot).to_pylist()
            file = next((one for one in files if unquote(one["path"]) == path), None)
            if file is None:
                table.ledger.drop_record(path)
                return True
            fault = table.ledger.record_file_anew(path, file["size_bytes"], file["num_records"])
        if fault is not None:
            set_aside({path: fault})
        return True
