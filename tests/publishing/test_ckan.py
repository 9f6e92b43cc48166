"""`smarthouse publish ckan`, against a real CKAN."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result

from config.settings import Settings
from smarthouse_api.cli import main, publishing
from smarthouse_api.house import House
from smarthouse_api.publishing.ckan import Portal
from smarthouse_api.publishing.faults import PortalAway
from smarthouse_api.states.uploads import Upload
from tests.ckan.servers import HERE, INSTALLED, Ckan, ckan
from tests.conftest import HOME, OTHER_HOME, Environment, begin, payload, state
from tests.servers import free_port

SENT = re.compile(r"(\d+) rows; (\d+) files sent, (\d+) unchanged, (\d+) removed")


@pytest.fixture(scope="module")
def portal() -> Iterator[Ckan]:
    with ckan() as one:
        yield one


def sensor(home: str, *days: str) -> Upload:
    sent = (state("sensor.a", str(n), f"{day}T12:00:00Z", unit_of_measurement="°C") for n, day in enumerate(days))
    return Upload(home, payload(*sent))


@pytest.fixture
def house(embedded_pair: Environment, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")  # as the command does
    monkeypatch.setattr("smarthouse_api.serving.logs.log_to_stderr", lambda *_: None)
    monkeypatch.setattr("os.umask", lambda mask: mask)
    monkeypatch.setattr(publishing, "_PAUSE_SECONDS", 0.0)
    begin(embedded_pair)
    one = House(Settings.from_env({**embedded_pair, "SMARTHOUSE_EXPORT_LICENSE": "cc-by"}))
    one.states.uploads.receive(sensor(HOME, "2026-01-05", "2026-03-01", "2026-03-31"))
    one.states.uploads.receive(sensor(OTHER_HOME, "2026-02-10", "2026-03-02"))
    yield one
    one.close()


@pytest.fixture
def publish(house: House, embedded_pair: Environment, portal: Ckan, request: pytest.FixtureRequest) -> Callable[..., Result]:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:90]

    def run(
        *options: str,
        token: str | None = None,
        url: str = portal.url,
        org: tuple[str, ...] = ("--organization", "lab"),
        privacy: str = "standard",
    ) -> Result:
        told = [
            "publish",
            "ckan",
            "--url",
            url,
            "--token-file",
            str(portal.token_file) if token is None else "-",
            "--name",
            name,
        ]
        environment = {**embedded_pair, "SMARTHOUSE_EXPORT_LICENSE": "cc-by", "SMARTHOUSE_EXPORT_PRIVACY": privacy}
        return CliRunner().invoke(main, [*told, *org, *options], env=environment, input=token)

    run.name = name  # type: ignore[attr-defined]
    return run


def counts(result: Result) -> tuple[int, ...]:
    """Rows, files sent, unchanged and removed, as the command tells."""
    assert result.exit_code == 0, result.output
    found = SENT.search(result.output)
    assert found is not None
    return tuple(map(int, found.groups()))


def files(portal: Ckan, name: str) -> dict[str, bytes]:
    """What anybody downloads, by name, each as its hash says."""
    found = {}
    for one in resources(portal, name):
        body = requests.get(one["url"], timeout=20).content
        if one["hash"]:
            assert (hashlib.sha256(body).hexdigest(), len(body)) == (one["hash"], int(one["size"]))
        found[one["name"]] = body
    return found


def resources(portal: Ckan, name: str) -> list[dict[str, Any]]:
    listed: Any = portal.package(name)["resources"]
    return list(listed)


def rows(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode())))


def test_the_portal_has_what_the_lake_has_and_what_changed_is_sent(
    house: House, portal: Ckan, publish: Callable[..., Result], tmp_path: Path
) -> None:
    name: str = publish.name  # type: ignore[attr-defined]
    assert counts(publish()) == (5, 3, 0, 0)
    months = files(portal, name)
    assert {month: len(rows(body)) for month, body in months.items() if month.endswith(".csv")} == {
        "smarthouse_2026-01.csv": 1,
        "smarthouse_2026-02.csv": 1,
        "smarthouse_2026-03.csv": 3,
    }
    assert {"datapackage.json", "dataset.jsonld"} <= set(months)
    assert len({row["home"] for body in months.values() if body.startswith(b"home") for row in rows(body)}) == 2
    package: Any = portal.package(name)
    extras = {one["key"]: one["value"] for one in package["extras"]}
    assert (package["license_id"], extras["rows"]) == ("cc-by", "5")
    assert (extras["temporal_start"], extras["temporal_end"]) == ("2026-01-05T12:00:00.000000Z", "2026-03-31T12:00:00.000000Z")
    assert counts(publish()) == (5, 0, 3, 0)

    house.states.uploads.receive(sensor(HOME, "2026-03-15"))
    assert counts(publish()) == (6, 1, 2, 0), "the lake has changed, but of two months not the bytes"
    house.forgetting.forget(OTHER_HOME)
    assert counts(publish()) == (4, 1, 1, 1)
    left = files(portal, name)
    assert [month for month in sorted(left) if month.endswith(".csv")] == ["smarthouse_2026-01.csv", "smarthouse_2026-03.csv"]
    assert len({row["home"] for body in left.values() if body.startswith(b"home") for row in rows(body)}) == 1
    hourly = publish("--name", f"{name}-2", "--every", "1d", "--format", "jsonl", "--pieces", "whole")
    assert counts(hourly)[1:] == (1, 0, 0)
    hourly = publish("--name", f"{name}-2", "--every", "1h", "--format", "jsonl", "--pieces", "whole")
    assert counts(hourly)[1:] == (1, 0, 0), "other means of the same rows"
    catalogue = tmp_path / "dataset.ttl"
    catalogue.write_bytes(requests.get(f"{portal.url}/dataset/{name}.ttl", timeout=20).content)
    command = [str(INSTALLED), "-m", "pyshacl", "-s", str(HERE / "dcat_ap.ttl"), "-df", "turtle", str(catalogue)]
    checked = subprocess.run(command, capture_output=True)
    assert checked.returncode == 0, checked.stdout.decode()


def test_a_publication_that_is_broken_off_goes_on(
    portal: Ckan, publish: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    put, calls = Portal.put, list[str]()

    def breaks(self: Portal, package_id: str, resource_id: str | None, fields: Any, file: Any) -> None:
        calls.append(fields["name"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        put(self, package_id, resource_id, fields, file)
        if len(calls) == 4:
            raise PortalAway("the answer was lost")

    monkeypatch.setattr(Portal, "put", breaks)
    assert publish().exit_code != 0
    assert counts(publish()) == (5, 1, 3, 0), "the third month is there although its answer was lost"
    assert len(calls) == 6, "each file was sent once, and the two documents"
    assert len([one for one in resources(portal, publish.name) if one["format"] == "CSV"]) == 3  # type: ignore[attr-defined]


def test_what_keeps_it_from_being_published_is_told(
    house: House, portal: Ckan, publish: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*options: str, **others: Any) -> str:
        result = publish(*options, **others)
        assert result.exit_code != 0
        assert "Traceback" not in result.output
        assert portal.token_file.read_text() not in result.output
        return result.output.replace("\n", " ")

    assert "--organization" in told(org=())
    assert "may not do this" in told(token="no-such-token")
    assert "--token-file must hold" in told(token="two\nlines")
    assert "does not answer as a CKAN does" in told(url=f"http://127.0.0.1:{free_port()}")
    assert "The same command goes on" in told(url=f"{portal.url}/nowhere")
    assert "must be the portal's address" in told(url="data.example.org")
    assert "long layout" in told("--every", "1d", "--layout", "wide")
    assert "--pieces whole" in told("--time-field", "received")
    assert "2 to 100 of a-z" in told("--name", "Two Words")
    assert "standard and strict can be published" in told(privacy="raw")
    noise = [state(f"sensor.n{n}", str(n), "2026-01-06T00:00:00Z", unit_of_measurement="°C") for n in range(8000)]
    house.states.uploads.receive(Upload(HOME, payload(*noise)))
    assert "smaller --pieces" in told()
    headers = {"Authorization": portal.token_file.read_text()}
    foreign = {"name": "foreign", "owner_org": "lab"}
    assert requests.post(f"{portal.url}/api/3/action/package_create", json=foreign, headers=headers, timeout=20).ok
    assert "choose another --name" in told("--name", "foreign")
