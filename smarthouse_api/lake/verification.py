"""Looks at a table's files, while others may write to it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from urllib.parse import unquote

from backends.ports import StoreUnfit
from smarthouse_api.coordination.damage import Problem
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.table import LakeTable


def table_problems(table: LakeTable, name: str, share: float) -> Iterator[Problem]:
    """Look at a table's log, and read a share of its files, from 0 to 1. name: the table's."""
    try:
        files = {path: size for path, size in _live(table).items() if random.random() < share}  # noqa: S311
        for path, what in table.ledger.faults(files, anew=True):
            if path in _live(table):  # else another has removed it meanwhile
                yield Problem("lake", f"tables/{name}/{path}", None, f"this file {what}: its rows cannot be exported")
    except StoreUnfit as fault:
        yield Problem("lake", f"tables/{name}", None, str(fault))


def _live(table: LakeTable) -> dict[str, int]:
    if (snapshot := table.open()) is None:
        return {}
    found = files_of(snapshot)
    return dict(zip(map(unquote, found["path"].to_pylist()), found["size_bytes"].to_pylist(), strict=True))
