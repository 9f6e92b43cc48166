"""Alerts: what an operator should look at, found in a report by the same conditions as `deploy/prometheus/rules.yml` has.

Only those that the stores tell of: how many requests fail, are slow or are cut, each process counts for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from smarthouse_api.status.report import Report

WAITING_SECONDS: Final = 900.0
ERASING_SECONDS: Final = 14_400.0
LEAST_FREE_BYTES: Final = 10**9
QUOTA_SHARE: Final = 0.9
ACTIVE_SHARE: Final = 0.5
BACKUP_SECONDS: Final = 2 * 86400.0
DEAD_LETTERS: Final = 100
FAULT_SECONDS: Final = 900.0
BEGINNING_SECONDS: Final = 300.0


class Alert(NamedTuple):
    """Is one alert. kind: as the rule is named, without `SmartHouse`. name: of a store, a quota or a condition.

    value: bytes, seconds, a share or a count, as the kind has it.
    """

    kind: str
    is_critical: bool = False
    name: str = ""
    value: float = 0


def alerts(report: Report, dead_letters: int | None) -> list[Alert]:
    """Find the alerts, the critical ones first. dead_letters: how many more there are than an hour ago; None: not known."""
    found = [*_of_service(report), *_of_stores(report), *_of_care(report)]
    if dead_letters is not None and dead_letters > DEAD_LETTERS:
        found.append(Alert("DeadLetters", value=dead_letters))
    return sorted(found, key=lambda one: not one.is_critical)


def _of_service(report: Report) -> Iterator[Alert]:
    if not report.readiness.ready:
        failed = (name for name, told in report.readiness.conditions.items() if told.startswith(("unfit:", "unavailable:")))
        yield Alert("NotReady", is_critical=True, name=", ".join(failed))
    if not any(one.keeps_house for one in report.processes) and _have_begun(report):
        yield Alert("NobodyKeepsHouse", is_critical=True)
    waiting = report.waiting
    if waiting.uploads_since is not None and (age := report.at - waiting.uploads_since) > WAITING_SECONDS:
        yield Alert("UploadsWait", value=age)
    if waiting.erasing_since is not None and (age := report.at - waiting.erasing_since) > ERASING_SECONDS:
        yield Alert("ErasureOverdue", is_critical=True, value=age)
    errors = sum(one.level == "error" and report.at - one.last < FAULT_SECONDS for one in report.faults)
    if errors:
        yield Alert("ServerErrors", value=errors)
    versions = {one.version for one in report.processes}
    if len(versions) > 1:
        yield Alert("MixedVersions", name=", ".join(sorted(versions)))


def _have_begun(report: Report) -> bool:
    """Tell whether a process has run for so long that another would keep house by now."""
    return any(report.at - one.since > BEGINNING_SECONDS for one in report.processes)


def _of_stores(report: Report) -> Iterator[Alert]:
    for name, size in report.free_bytes.items():
        if size is not None and size < LEAST_FREE_BYTES:
            yield Alert("LittleRoom", is_critical=True, name=name, value=size)
    for name, quota in report.quotas.items():
        if quota.most and quota.used > QUOTA_SHARE * quota.most:
            yield Alert("QuotaNearlyReached", name=name, value=quota.used / quota.most)


def _of_care(report: Report) -> Iterator[Alert]:
    homes = report.homes
    if homes.active_day < ACTIVE_SHARE * homes.known:
        yield Alert("FewUploads", value=homes.known - homes.active_day)
    if report.damaged_files:
        yield Alert("DamagedFiles", value=report.damaged_files)
    verify, backup = report.milestones.get("verify"), report.milestones.get("backup")
    if verify is not None and (problems := verify.figures.get("problems", 0)):
        yield Alert("VerifyFoundProblems", value=problems)
    if homes.known and (backup is None or report.at - backup.at > BACKUP_SECONDS):
        yield Alert("BackupOld")
