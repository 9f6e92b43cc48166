"""Alerts: the conditions of Prometheus's rules, found in a report."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from smarthouse_api.coordination.milestones import Milestone
from smarthouse_api.coordination.presence import note_of_this
from smarthouse_api.house import House
from smarthouse_api.status import alerts as rules
from smarthouse_api.status.alerts import Alert, alerts
from smarthouse_api.status.faults import Fault
from smarthouse_api.status.report import Homes, Quota, Readiness, Report
from tests.conftest import on_pairs

environment = on_pairs("memory_pair")

RULES = Path(__file__).parents[2] / "deploy/prometheus/rules.yml"
replace = msgspec.structs.replace


@pytest.fixture
def well(house: House) -> Report:
    """A report that nothing is wrong in."""
    house.installation.settle()
    report = house.status.report()
    keeper = replace(note_of_this("api", keeps_house=True, doing=None), since=report.at - 3600)
    free, backup = {"state": 10**9, "objects": None}, Milestone(report.at - 3600, {})
    return replace(report, processes=[keeper], homes=Homes(4, 2, 3, 1), free_bytes=free, milestones={"backup": backup})


def bad(well: Report) -> Report:
    """A report in which everything is wrong."""
    (keeper,), at = well.processes, well.at
    idle = [replace(keeper, keeps_house=False), replace(keeper, keeps_house=False, version="0.1")]
    return replace(
        well,
        readiness=Readiness(False, {"state": "unavailable: it does not answer", "lake": "no table yet"}),
        processes=idle,
        waiting=replace(well.waiting, uploads=1, uploads_since=at - 901, erasing=1, erasing_since=at - 14_401),
        faults=[Fault(at - 5, at - 5, 1, level, "x", "y", "z") for level in ("error", "warning")],
        free_bytes={"state": 10**9, "objects": 10**9 - 1},
        quotas={"uploads": Quota(91, 100), "home": Quota(90, 100), "records": Quota(10**12, None)},
        homes=Homes(4, 1, 3, 1),
        damaged_files=2,
        milestones={"verify": Milestone(at, {"problems": 3}), "backup": Milestone(at - 172_801, {})},
    )


EVERY = [
    Alert("NotReady", True, "state"),
    Alert("NobodyKeepsHouse", True),
    Alert("ErasureOverdue", True, value=14_401),
    Alert("LittleRoom", True, "objects", 10**9 - 1),
    Alert("UploadsWait", value=901),
    Alert("ServerErrors", value=1),
    Alert("MixedVersions"),
    Alert("QuotaNearlyReached", name="uploads", value=0.91),
    Alert("FewUploads", value=3),
    Alert("DamagedFiles", value=2),
    Alert("VerifyFoundProblems", value=3),
    Alert("BackupOld"),
    Alert("DeadLetters", value=101),
]


def test_where_nothing_is_wrong_there_is_no_alert(well: Report) -> None:
    assert alerts(well, None) == []
    assert alerts(well, 100) == []
    begun = [replace(well.processes[0], keeps_house=False, since=well.at - 299)]
    assert alerts(replace(well, processes=begun), 0) == [], "another process may still begin"
    assert alerts(replace(well, homes=Homes(0, 0, 0, 0), milestones={}), 0) == []


def test_each_fault_is_one_alert_and_the_critical_ones_come_first(well: Report) -> None:
    found = [one._replace(name="") if one.kind == "MixedVersions" else one for one in alerts(bad(well), 101)]
    assert [one._replace(value=round(one.value, 2)) for one in found] == EVERY
    assert [one.kind for one in alerts(replace(well, milestones={}), None)] == ["BackupOld"]


def test_they_are_the_rules_of_prometheus_with_the_same_limits() -> None:
    found = dict(re.findall(r"- alert: SmartHouse(\w+)\n(.*?)(?=\n\n|\Z)", RULES.read_text(), re.DOTALL))
    assert {one.kind for one in EVERY} <= found.keys()
    critical = {kind for kind, rule in found.items() if "severity: critical" in rule}
    assert {one.kind for one in EVERY if one.is_critical} == critical & {one.kind for one in EVERY}
    limits = {
        "UploadsWait": rules.WAITING_SECONDS,
        "ErasureOverdue": rules.ERASING_SECONDS,
        "LittleRoom": rules.LEAST_FREE_BYTES,
        "DeadLetters": rules.DEAD_LETTERS,
    }
    for kind, limit in limits.items():
        told = re.search(r"expr: .*[<>] (\S+)", found[kind])
        assert told is not None
        assert float(told[1]) == limit, kind
    assert f"> {rules.QUOTA_SHARE} *" in found["QuotaNearlyReached"]
    assert f"< {rules.ACTIVE_SHARE} *" in found["FewUploads"]
    assert f"> {rules.BACKUP_SECONDS / 86400:.0f} * 86400" in found["BackupOld"]
