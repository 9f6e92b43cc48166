"""How many cores this process may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from smarthouse_api import cores


@pytest.mark.parametrize(
    ("own", "outer", "found"),
    [
        ("max 100000", "max 100000", 8),
        ("250000 100000", "max 100000", 2),
        ("50000 100000", "max 100000", 1),
        ("max 100000", "300000 100000", 3),
        ("900000 100000", None, 8),
        (None, None, 8),
    ],
)
def test_a_quota_of_the_cgroup_counts(
    own: str | None, outer: str | None, found: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    cgroup = tmp_path / "system.slice" / "smarthouse.service"
    cgroup.mkdir(parents=True)
    for folder, quota in ((cgroup, own), (cgroup.parent, outer)):
        if quota is not None:
            (folder / "cpu.max").write_text(f"{quota}\n")
    (told := tmp_path / "told").write_text("12:cpu:/old\n0::/system.slice/smarthouse.service\n")
    monkeypatch.setattr(cores, "_CGROUPS", tmp_path)
    monkeypatch.setattr(cores, "_OWN_CGROUP", told)
    assert cores.cores() == found


def test_a_system_without_cgroups_has_the_cores_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.setattr(cores, "_OWN_CGROUP", tmp_path / "none")
    assert cores.cores() == 6
