"""Looks at a table's files, while others may write to it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from backends.ports import StoreUnfit
from smarthouse_api.coordination.damage import Damages, Problem
from smarthouse_api.lake.setting_aside import TABLES, live_files
from smarthouse_api.lake.table import LakeTable

_DAMAGED: Final = "its rows are missing until the service has set it aside and made them again, by itself"


def table_problems(table: LakeTable, damages: Damages, share: float) -> Iterator[Problem]:
    """Look at a table's log, and read a share of its files, from 0 to 1. Damaged files are noted: the chores look at them."""
    name = f"{TABLES}{table.name}"
    try:
        files = {path: size for path, size in live_files(table).items() if random.random() < share}  # noqa: S311
        for path, what in table.ledger.faults(files, anew=True):
            if path in live_files(table):  # else another has removed it meanwhile
                damages.note(problem := Problem("lake", f"{name}/{path}", None, f"this file {what}: {_DAMAGED}"))
                yield problem
    except StoreUnfit as fault:
        yield Problem("lake", name, None, str(fault))
