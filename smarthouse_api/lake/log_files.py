"""The files of a table's log: which version each is of, which are still read, and what a commit says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec
from isal import isal_zlib

from smarthouse_api.lake.verified_files import FileSum

LOG: Final = "_delta_log/"
HINT: Final = f"{LOG}_last_checkpoint"
"""The file that names the newest checkpoint. It is not needed."""

SAME_ROWS: Final = "smarthouse.sameRows"
"""What a commit says of itself that merges files: a reader finds the same rows as before."""

_LOG_FILE: Final = re.compile(r"_delta_log/(\d{20})\.(json|checkpoint\..*parquet)")


def version_of(path: str) -> int:
    """Return the version of a file of the log; -1 for any other file."""
    found = _LOG_FILE.fullmatch(path)
    return -1 if found is None else int(found[1])


def newest_checkpoint(log: Iterable[str]) -> int:
    """Return the version of the newest checkpoint among files of the log; -1 without one."""
    return max((version_of(path) for path in log if not path.endswith(".json")), default=-1)


def is_superfluous(path: str, checkpoint: int) -> bool:
    """Tell whether a checkpoint of this version has replaced a file of the log."""
    return version_of(path) < checkpoint or (version_of(path) == checkpoint and path.endswith(".json"))


class Commit(NamedTuple):
    """Tells of a commit the sum of its file, and whether it may have changed what a reader finds."""

    sum: FileSum
    changes_rows: bool


def note_commit(text: bytes, added: dict[str, int], removed: set[str]) -> Commit:
    """Read from a commit's file of the log which files it added, with their sizes, and which it removed."""
    has_files = is_told = False
    for line in text.splitlines():
        action: dict[str, Any] = msgspec.json.decode(line)
        if (one := action.get("add")) is not None:
            has_files, added[unquote(one["path"])] = True, one["size"]
        elif (one := action.get("remove")) is not None:
            has_files = True
            removed.add(gone := unquote(one["path"]))
            added.pop(gone, None)
        elif (one := action.get("commitInfo")) is not None:
            is_told = one.get("operation") == "OPTIMIZE" or one.get(SAME_ROWS) is not None
    return Commit(FileSum(len(text), isal_zlib.crc32(text)), has_files and not is_told)
