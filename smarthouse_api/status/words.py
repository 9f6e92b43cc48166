"""A report on an installation in words, part by part, for the command line and for the console. They are English."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from humanize import intcomma, naturaldelta, naturalsize, precisedelta

if TYPE_CHECKING:
    from smarthouse_api.status.report import Report, Table

_BOUNDED: Final = {
    "uploads": "uploads of all homes",
    "home": "uploads of the home with the most",
    "records": "records of all collections",
    "collection": "records of the collection with the most",
}


class Part(NamedTuple):
    """Is a part of a report: its title, and what is told of what."""

    title: str
    rows: list[tuple[str, str]]


def parts(report: Report) -> list[Part]:
    """Write a report."""
    damaged = ((name, "DAMAGED: see above") for name in report.unreadable)
    told = (
        ("Ready" if report.readiness.ready else "NOT READY", report.readiness.conditions.items()),
        ("Homes", _homes(report)),
        ("Raw uploads", _uploads(report)),
        ("Waiting", _waiting(report)),
        ("Deletions", _erasures(report)),
        ("Export jobs", _jobs(report)),
        ("Lake", (*((name, _table(one)) for name, one in report.tables.items()), *damaged)),
        _storage(report),
        ("Quotas", _quotas(report)),
        ("Processes", _processes(report)),
        ("Last", _milestones(report)),
        ("Faults, the newest first", _faults(report)),
    )
    return [Part(title, list(rows)) for title, rows in told]


def quota_text(used: int, most: int | None) -> str:
    """Write how much is used of a quota. most: None for any number."""
    if most is None:
        return f"{naturalsize(used)}, without a quota"
    return f"{naturalsize(used)} of {naturalsize(most)}, {used / most:.0%}"


def _homes(report: Report) -> Iterable[tuple[str, str]]:
    homes = report.homes
    yield "that upload", intcomma(homes.known)
    yield "within a day", intcomma(homes.active_day)
    yield "within a week", intcomma(homes.active_week)
    yield "silent for a week", f"{intcomma(homes.silent)}; `smarthouse homes list --silent 7d` lists them"


def _uploads(report: Report) -> Iterable[tuple[str, str]]:
    uploads = report.uploads
    yield "kept", f"{intcomma(uploads.kept)}, {naturalsize(uploads.bytes)}"
    if report.storage is not None and (oldest := report.storage.oldest_upload) is not None:
        yield "the oldest", _ago(report, oldest)
    yield "expired", f"{intcomma(uploads.expired)}, {naturalsize(uploads.expired_bytes)}"


def _waiting(report: Report) -> Iterable[tuple[str, str]]:
    waiting = report.waiting
    yield "uploads for the lake", _since(report, waiting.uploads, waiting.uploads_since)
    yield "topics for the lake", intcomma(waiting.topics)
    yield "homes to be erased", _since(report, waiting.erasing, waiting.erasing_since)
    yield "streams to be erased", intcomma(waiting.erasing_streams)
    yield "collections to be erased", intcomma(waiting.erasing_collections)
    if waiting.scrubs:
        yield "the state's files", "may still hold bytes of what was erased"
    yield "rows to be made again", intcomma(waiting.repairs)
    yield "dead letters", intcomma(report.dead_letters)
    yield "damaged files", intcomma(report.damaged_files)


def _erasures(report: Report) -> Iterable[tuple[str, str]]:
    if (told := report.erasures) is None:
        return
    yield "answered after", f"{told.answer_seconds:.1f} s"
    slow = told.receipt_seconds > told.least_receipt_seconds
    why = f", for a day after a slow erasure; else {precisedelta(told.least_receipt_seconds)}" if slow else ""
    yield "receipts say erased after", f"{precisedelta(told.receipt_seconds)}{why}"
    yield "receipts that wait", "yes" if told.are_receipts_awaited else "none"


def _jobs(report: Report) -> Iterable[tuple[str, str]]:
    jobs = report.jobs
    yield "waiting", intcomma(jobs.waiting)
    yield "running", intcomma(jobs.running)
    yield "files", f"{intcomma(jobs.kept)}, {naturalsize(jobs.bytes)}"


def _table(one: Table) -> str:
    since = "" if one.oldest is None else f", in partitions from {one.oldest} on"
    dropped = f", {intcomma(one.dropped)} rows dropped for their age" if one.dropped else ""
    return f"{intcomma(one.rows)} rows, {intcomma(one.files)} files, {naturalsize(one.bytes)}{since}{dropped}"


def _storage(report: Report) -> tuple[str, list[tuple[str, str]]]:
    """Tell what takes up room, all as it was at one time, and what is free now."""
    free = [
        (f"free for the {name}", "unknown: the store does not tell" if size is None else naturalsize(size))
        for name, size in report.free_bytes.items()
    ]
    if (census := report.storage) is None:
        rows = [] if report.state_bytes is None else [("state", naturalsize(report.state_bytes))]
        return "Storage, objects not counted yet", rows + free
    state = report.state_bytes if census.state_bytes is None else census.state_bytes
    rows = [] if state is None else [("state", naturalsize(state))]
    rows += [(kind, f"{naturalsize(one.bytes)}, {intcomma(one.objects)} objects") for kind, one in census.kinds.items()]
    total = (state or 0) + sum(one.bytes for one in census.kinds.values())
    return f"Storage, counted {_ago(report, census.at)}", [*rows, ("in all", naturalsize(total)), *free]


def _quotas(report: Report) -> Iterable[tuple[str, str]]:
    for kind, told in _BOUNDED.items():
        if (quota := report.quotas.get(kind)) is not None:
            yield told, quota_text(quota.used, quota.most)


def _processes(report: Report) -> Iterable[tuple[str, str]]:
    for one in report.processes:
        work = f"keeps house{f': {one.doing}' if one.doing else ''}" if one.keeps_house else "serves only"
        yield f"{one.kind} {one.host} {one.pid}", f"version {one.version}, for {naturaldelta(report.at - one.since)}, {work}"


def _milestones(report: Report) -> Iterable[tuple[str, str]]:
    for kind in ("backup", "verify"):
        last = report.milestones.get(kind)
        figures = "" if last is None else ", ".join(f"{intcomma(count)} {name}" for name, count in last.figures.items())
        yield kind, "never" if last is None else f"{_ago(report, last.at)}: {figures}"


def _faults(report: Report) -> Iterable[tuple[str, str]]:
    for one in report.faults:
        yield f"{_ago(report, one.last)}, {one.level}", f"{one.what} ({one.component}, {_times(one.count)})"


def _since(report: Report, count: int, since: float | None) -> str:
    return intcomma(count) if since is None else f"{intcomma(count)}, the oldest for {naturaldelta(report.at - since)}"


def _ago(report: Report, at: float) -> str:
    return f"{naturaldelta(max(0.0, report.at - at))} ago"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{intcomma(count)} times"
