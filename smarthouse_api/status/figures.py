"""The figures of a report that its history has: whole numbers, few enough to be noted every five minutes, and of no home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from smarthouse_api.status.report import Report

STORED: Final = "stored/"
"""What the names of figures begin with that tell how many bytes there are of a kind: those of the census, and `state`."""

FREE: Final = "free/"
"""What the names of figures begin with that tell how many bytes a store has free."""


def figures_of(report: Report) -> dict[str, int]:
    """Choose the figures.

    Totals, which only grow: `uploads`, `bytes` and `records` that ever came; `logged`, warnings and errors. All others are as
    they are now.
    """
    uploads, waiting = report.uploads, report.waiting
    told = {
        "uploads": uploads.received,
        "bytes": uploads.received_bytes,
        "records": uploads.received_records,
        "logged": report.logged,
        "waiting": waiting.uploads,
        "waiting_seconds": 0 if waiting.uploads_since is None else max(0, int(report.at - waiting.uploads_since)),
        "homes": report.homes.known,
        "active": report.homes.active_day,
        "rows": sum(one.rows for one in report.tables.values()),
        "jobs": report.jobs.waiting + report.jobs.running,
        "dead_letters": report.dead_letters,
        "damaged_files": report.damaged_files,
    }
    if (census := report.storage) is not None:
        told |= {f"{STORED}{kind}": one.bytes for kind, one in census.kinds.items()}
    if report.state_bytes is not None:
        told[f"{STORED}state"] = report.state_bytes
    return told | {f"{FREE}{name}": size for name, size in report.free_bytes.items() if size is not None}
