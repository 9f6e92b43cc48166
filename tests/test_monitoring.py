"""The files for Prometheus and Grafana: a real Prometheus loads them, and each alert comes when it should."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.conftest import HOME, ROOT, Server, payload, state
from tests.servers import Process, free_port, program
from tests.waiting import soon

RULES = ROOT / "deploy/prometheus/rules.yml"
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
INSTALL = "apt-get install prometheus"
UPLOADS = 'smarthouse_requests_total{route="/api/ingest/data",method="POST",status="200"}'
FAILED = "smarthouse_failed_requests_total"
FAILURES = "smarthouse_chore_failures_total"
LAST = "smarthouse_last_timestamp_seconds"
WELL = {
    'up{job="smarthouse",instance="api"}': "1",
    "smarthouse_stores_readable": "1",
    "smarthouse_ready": "1",
    "smarthouse_housekeepers": "2",
    "smarthouse_homes": "10",
    "smarthouse_uploads_waiting_seconds": "3",
    "smarthouse_erasures_waiting_seconds": "60",
    "smarthouse_damaged_files": "0",
    "smarthouse_dead_letters": "7",
    'smarthouse_processes{kind="api",version="1"}': "2",
    'smarthouse_chore_failures_total{chore="sweep"}': "1",
    'smarthouse_last_figures{what="verify",figure="problems"}': "0",
    'smarthouse_cut_requests_total{reason="late"}': "0+1x60",
    'smarthouse_free_bytes{store="objects"}': "2e9",
    'smarthouse_quota_used_bytes{quota="home"}': "80",
    'smarthouse_quota_used_bytes{quota="records"}': "1e12",  # without a limit
    'smarthouse_quota_bytes{quota="home"}': "100",
}
"""Series of an installation that is well, all without a change. The last backup is at each time the time itself."""

FAULTS = {
    "SmartHouseDown": {'up{job="smarthouse",instance="api"}': "0"},
    "SmartHouseStoresUnreadable": {"smarthouse_stores_readable": "0"},
    "SmartHouseNotReady": {"smarthouse_ready": "0"},
    "SmartHouseNobodyKeepsHouse": {"smarthouse_housekeepers": "0"},
    "SmartHouseUploadsWait": {"smarthouse_uploads_waiting_seconds": "1000"},
    "SmartHouseErasureOverdue": {"smarthouse_erasures_waiting_seconds": "20000"},
    "SmartHouseServerErrors": {'smarthouse_failed_requests_total{status="503"}': "0+1x60"},
    "SmartHouseRequestsCut": {'smarthouse_cut_requests_total{reason="crowded"}': "0+20x60"},
    "SmartHouseLittleRoom": {'smarthouse_free_bytes{store="objects"}': "5e8"},
    "SmartHouseQuotaNearlyReached": {'smarthouse_quota_used_bytes{quota="home"}': "95"},
    "SmartHouseUploadsSlow": {
        'smarthouse_request_seconds_bucket{route="/api/ingest/data",method="POST",le="1"}': "0+1x60",
        'smarthouse_request_seconds_bucket{route="/api/ingest/data",method="POST",le="5"}': "0+2x60",
        'smarthouse_request_seconds_bucket{route="/api/ingest/data",method="POST",le="+Inf"}': "0+2x60",
    },
    "SmartHouseFewUploads": {UPLOADS: "0x60"},
    "SmartHouseChoreFails": {'smarthouse_chore_failures_total{chore="sweep"}': "0+1x60"},
    "SmartHouseDamagedFiles": {"smarthouse_damaged_files": "2"},
    "SmartHouseVerifyFoundProblems": {'smarthouse_last_figures{what="verify",figure="problems"}': "1"},
    "SmartHouseBackupOld": {f'{LAST}{{what="backup"}}': "-200000x60"},
    "SmartHouseDeadLetters": {"smarthouse_dead_letters": "0+10x60"},
    "SmartHouseMixedVersions": {'smarthouse_processes{kind="worker",version="2"}': "1"},
}
"""For each alert, the series that make it come."""


def alerts() -> list[str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    return rules + [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def series(changes: dict[str, str]) -> list[dict[str, str]]:
    told = {**WELL, UPLOADS: "0+1x60", f'{LAST}{{what="backup"}}': "0+120x60", **changes}
    return [{"series": name, "values": text if "x" in text else f"{text}x60"} for name, text in told.items()]


def test_each_alert_comes_for_its_fault_and_none_without_one(tmp_path: Path) -> None:
    """A hundred minutes after the fault began."""
    assert sorted(FAULTS) == sorted(alerts())

    def case(changes: dict[str, str], firing: set[str]) -> dict[str, Any]:
        def asked(name: str) -> dict[str, Any]:
            count = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
            wanted = [{"labels": "{}", "value": int(name in firing)}]
            return {"expr": count, "eval_time": "100m", "exp_samples": wanted}

        return {"interval": "2m", "input_series": series(changes), "promql_expr_test": list(map(asked, alerts()))}

    cases = [case({}, set()), *(case(changes, {name}) for name, changes in FAULTS.items())]
    tests = {"rule_files": [str(RULES)], "evaluation_interval": "2m", "tests": cases}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests))
    found = subprocess.run(
        [program("promtool", INSTALL), "test", "rules", str(tmp_path / "tests.yml")], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.fixture
def prometheus(tmp_path: Path, embedded_pair: dict[str, str]) -> Iterator[tuple[str, Server]]:
    """A Prometheus with the project's configuration, which scrapes a service each second."""
    server = Server({**embedded_pair, "SMARTHOUSE_CURATE_INTERVAL_SECONDS": "0.2"}).start()
    server.upload(HOME, payload(state()))
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES)]
    config["scrape_configs"] = config["scrape_configs"][:1]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{server.port}"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return requests.get(f"{url}/-/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    address = (f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={tmp_path}/tsdb")
    one = Process([program("prometheus", INSTALL), f"--config.file={tmp_path}/prometheus.yml", *address], tmp_path, ready)
    one.start()
    yield url, server
    one.stop()
    server.kill()


def test_a_real_prometheus_finds_each_metric_that_the_rules_and_the_dashboard_name(prometheus: tuple[str, Server]) -> None:
    url, server = prometheus

    def asked(path: str, **parameters: str) -> Any:
        answer = requests.get(f"{url}/api/v1/{path}", params=parameters, timeout=10).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    soon(lambda: asked("query", query="max(smarthouse_lake_rows)")["result"], seconds=20)
    soon(lambda: asked("query", query="max(smarthouse_storage_bytes)")["result"], seconds=20)
    soon(lambda: all(rule["health"] == "ok" for group in asked("rules")["groups"] for rule in group["rules"]), seconds=20)
    for one in expressions():
        asked("query", query=one)
    named = {name for one in expressions() for name in re.findall(r"smarthouse_\w+", one)}
    unheard = {"smarthouse_last_timestamp_seconds", "smarthouse_last_figures"}
    assert named - set(asked("label/__name__/values")) <= unheard, "these have no value before they happen first"
    begun = {one["metric"]["chore"]: one["value"][1] for one in asked("query", query=FAILURES)["result"]}
    assert len(begun) > 20
    failed = {one["metric"]["status"]: one["value"][1] for one in asked("query", query=FAILED)["result"]}
    assert (set(failed), failed["500"]) == ({"500", "503"}, "0")
    assert {begun["sweep"], begun["curate states"]} == {"0"}  # Prometheus sees no increase in a series that begins later
    text = requests.get(f"{server.url}/metrics", timeout=10).text
    checked = subprocess.run([program("promtool", INSTALL), "check", "metrics"], input=text, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_dashboards_panels_overlap_nowhere_and_have_their_source_chosen() -> None:
    places = set[tuple[int, int]]()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & places
        assert at["x"] + at["w"] <= 24
        places |= cells
        assert panel["datasource"]["uid"] == "${source}"
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
