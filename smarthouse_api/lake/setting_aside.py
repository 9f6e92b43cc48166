"""Setting damaged data files aside: they leave their table, and a repair of each begins."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from backends.ports import StoreUnavailable
from smarthouse_api.coordination.damage import Damages
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.repairs import Repair, Repairs
from smarthouse_api.lake.table import LakeTable

TABLES: Final = "tables/"
"""How the names of problems with files of the lake begin."""

_PATIENCE_SECONDS: Final = 10.0

log = logging.getLogger(__name__)


def set_aside(
    table: LakeTable,
    faults: Mapping[str, str],
    repairs: Repairs,
    begin: Callable[[str, str, Mapping[str, Any]], Repair],
) -> None:
    """Remove damaged files from a table, and begin repairs, unless another process has just done so.

    faults: what is wrong, by their paths. begin: makes the repair of a file, with this id and these words, from what the log
    tells of it. Raises `StoreUnavailable` if another writes for too long.
    """
    try:
        with table.writing(_PATIENCE_SECONDS) as lease:
            if (snapshot := table.open()) is None:
                return
            files = {unquote(one["path"]): one for one in files_of(snapshot).to_pylist()}
            there = {path: files[path]["size_bytes"] for path in faults if path in files}
            found = dict(table.ledger.faults(there, anew=True)) | dict.fromkeys(table.missing(snapshot), "is missing")
            for path, fault in found.items():
                name = f"{table.name}/{path}"
                log.error("the lake: %s %s; it is set aside, and its rows are made again", name, fault)
                repairs.add(begin(hashlib.sha256(name.encode()).hexdigest()[:32], f"{name} {fault}", files[path]))
            lease.check()
            table.set_aside(found)
    except TimeoutError as fault:
        raise StoreUnavailable("the lake: a damaged file cannot be set aside, because another writes") from fault


def look_at_noted(table: LakeTable, damages: Damages, set_aside: Callable[[Mapping[str, str]], None] | None) -> None:
    """Look again at the files of a table that `smarthouse verify` has noted, and remove the notes that are not needed any more.

    set_aside: takes damaged files out of the table, with what is wrong by their paths; None leaves these and their notes.
    """
    prefix = f"{TABLES}{table.name}/"
    if not (noted := [problem.name.removeprefix(prefix) for problem in damages.noted(prefix)]):
        return
    live = live_files(table)
    faults = dict(table.ledger.faults({path: live[path] for path in noted if path in live}, anew=True))
    if faults and set_aside is not None:
        set_aside(faults)
        faults = {}
    damages.clear(*(f"{prefix}{path}" for path in noted if path not in faults))


def live_files(table: LakeTable) -> dict[str, int]:
    """List the data files of a table's newest snapshot, with their sizes."""
    if (snapshot := table.open()) is None:
        return {}
    found = files_of(snapshot)
    return dict(zip(map(unquote, found["path"].to_pylist()), found["size_bytes"].to_pylist(), strict=True))
