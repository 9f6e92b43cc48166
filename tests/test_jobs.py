"""Export jobs over HTTP: asked for, looked at, downloaded in pieces, cancelled, and bounded."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow.parquet as pq
import pytest
import requests
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import HOME, OTHER_HOME, Environment, Server, house_of, on_pairs, payload, rows, state
from tests.servers import MinioServer
from tests.test_ingest import assert_problem
from tests.waiting import soon

environment = on_pairs("embedded_pair")

Clients = Callable[..., FlaskClient]


@pytest.fixture
def client(make_client: Clients) -> FlaskClient:
    return furnished(make_client())


def furnished(client: FlaskClient) -> FlaskClient:
    for home in (HOME, OTHER_HOME):
        sent = [state(f"sensor.a_{number}", str(number), unit_of_measurement="°C") for number in range(50)]
        assert client.post("/api/ingest/data", data=payload(*sent), headers={"Home-UUID": home}).status_code == 200
    return client


def ask(client: FlaskClient, query: str = "formats=json", **headers: str) -> TestResponse:
    return client.post(f"/api/export/jobs?{query}", headers=headers)


def work(client: FlaskClient) -> None:
    while house_of(client).states.jobs.maker.work():
        pass


def done(client: FlaskClient, query: str = "formats=json") -> Any:
    asked = ask(client, query)
    work(client)
    told = client.get(asked.headers["Location"]).json
    assert told["state"] == "done", told
    return told


def test_a_job_is_asked_for_looked_at_and_downloaded(client: FlaskClient) -> None:
    asked = ask(client)
    told = asked.json
    assert (asked.status_code, told["state"], told["file"]) == (202, "waiting", None)
    assert asked.headers["Location"].endswith(f"/api/export/jobs/{told['id']}")
    assert client.get(f"/api/export/jobs/{told['id']}/file").status_code == 404
    work(client)
    told = client.get(asked.headers["Location"]).json
    assert (told["state"], told["rows"], told["rows_in_all"], told["fraction"]) == ("done", 100, 100, 1.0)
    file = client.get(told["file"])
    assert (file.status_code, file.content_type) == (200, "application/zip")
    assert int(file.headers["Content-Length"]) == told["bytes"] == len(file.data)
    assert file.headers["Content-Disposition"].startswith("attachment; filename=smarthouse_extract_")
    assert len(rows(file.data)) == 100
    assert told["expires"] > told["finished"] >= told["created"]


def test_a_client_that_was_broken_off_goes_on_with_a_range(client: FlaskClient) -> None:
    told = done(client)
    whole = client.get(told["file"])
    etag, size = whole.headers["ETag"], len(whole.data)
    assert whole.headers["Accept-Ranges"] == "bytes"
    for percent in (10, 50, 99):
        begin = size * percent // 100
        rest = client.get(told["file"], headers={"Range": f"bytes={begin}-", "If-Range": etag})
        assert (rest.status_code, rest.data) == (206, whole.data[begin:])
        assert rest.headers["Content-Range"] == f"bytes {begin}-{size - 1}/{size}"
    assert client.get(told["file"], headers={"Range": "bytes=-7"}).data == whole.data[-7:]
    assert client.get(told["file"], headers={"Range": "bytes=0-", "If-Range": '"other"'}).status_code == 200
    beyond = client.get(told["file"], headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    for known in (etag, f"W/{etag}"):  # as a proxy says that compresses
        same = client.get(told["file"], headers={"If-None-Match": known}, buffered=True)
        assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", etag)
    head = client.head(told["file"])
    assert (head.status_code, int(head.headers["Content-Length"]), head.data) == (200, size, b"")


def test_a_client_that_breaks_off_ten_times_has_the_whole_file_in_the_end(embedded_pair: Environment) -> None:
    """The connection is cut at 10, 50 and 99 percent, and at once. The one place for exports is free again each time."""
    settings = {"EXPORTS_AT_ONCE": "1", "WORKERS": "1", "EXPORT_PRIVACY": "raw", "EXPORT_RATE_ADDRESS": "100000/minute"}
    server = Server({**embedded_pair, **{f"SMARTHOUSE_{name}": value for name, value in settings.items()}}).start()
    try:
        states = [state("sensor.a", os.urandom(1500).hex(), f"2026-03-02T10:{n // 60:02}:{n % 60:02}Z") for n in range(1000)]
        assert server.upload(HOME, payload(*states)).status_code == 200
        headers = server.operator
        url = f"{server.url}/api/export/jobs"
        asked = requests.post(f"{url}?formats=csv&bare=true", headers=headers, timeout=30).json()
        told = soon(lambda: (view := requests.get(f"{url}/{asked['id']}", headers=headers, timeout=30).json())["file"] and view)
        file, size = f"{server.url}{told['file']}", told["bytes"]
        assert size > 3_000_000

        def get(begin: int, etag: str | None) -> requests.Response | None:
            some = {} if etag is None else {"Range": f"bytes={begin}-", "If-Range": etag}
            answer = requests.get(file, headers={**headers, **some}, stream=True, timeout=30)
            return None if answer.status_code == 503 else answer

        found, etag = b"", None
        for percent in (0, 10, 10, 25, 50, 50, 75, 90, 99, 100):
            answer = soon(partial(get, len(found), etag))
            assert answer.status_code == (200 if etag is None else 206)
            etag = answer.headers["ETag"]
            found += answer.raw.read(size * percent // 100 - len(found))
            answer.raw.close()
            answer.close()
        whole = soon(partial(get, 0, None)).content
        assert (len(found), found) == (size, whole)
        changed = soon(partial(get, 100, '"another"'))
        assert (changed.status_code, changed.content) == (200, whole)
    finally:
        server.kill()


def test_a_repeat_under_the_same_idempotency_key_is_the_same_job(client: FlaskClient) -> None:
    key = {"Idempotency-Key": "once"}
    first, again = ask(client, **key), ask(client, **key)
    assert first.json["id"] == again.json["id"]
    assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (None, "true")
    assert ask(client, "formats=csv", **key).status_code == 409
    assert ask(client).json["id"] != first.json["id"]


def test_an_export_without_rows_has_no_file(client: FlaskClient) -> None:
    told = done(client, "formats=csv&date_from=2040-01-01")
    assert (told["rows"], told["file"], told["detail"]) == (0, None, "No record passes the filters")
    answer = client.get(f"/api/export/jobs/{told['id']}/file")
    assert (answer.status_code, answer.headers["X-Empty-Reason"]) == (204, "No record passes the filters")


def test_a_cancelled_job_has_no_file(client: FlaskClient) -> None:
    waiting, finished = ask(client, "formats=csv").json["id"], done(client)["id"]
    for id_ in (waiting, finished):
        for _ in range(2):
            answer = client.delete(f"/api/export/jobs/{id_}")
            assert (answer.status_code, answer.json["state"], answer.json["file"]) == (200, "cancelled", None)
        assert_problem(client.get(f"/api/export/jobs/{id_}/file"), 410, "cancelled")
    assert [info.key for info in house_of(client).objects.list("jobs/")] == []


def test_what_is_no_job_is_refused(client: FlaskClient) -> None:
    for id_ in ("1", "g" * 32, "0" * 32, "x" * 600, "%2F", "%FF"):
        for path in ("", "/file"):
            assert client.get(f"/api/export/jobs/{id_}{path}").status_code == 404
        assert client.delete(f"/api/export/jobs/{id_}").status_code == 404
    for query in ("", "formats=xls", "formats=csv&nonsense=1", "formats=csv&date_from=yesterday"):
        assert ask(client, query).status_code == 400
    assert client.post("/api/export/jobs?formats=csv", json={"types": ["sensor"]}).status_code == 400


def test_where_rows_need_a_key_only_the_key_that_asked_reads_the_job(make_client: Clients) -> None:
    client = furnished(make_client(export_access="key"))
    assert ask(client).status_code == 401
    create = house_of(client).access.create
    mine, other, admin = (
        {"Authorization": f"Bearer {key}"}
        for key in (create("a", export=True)[1], create("b", export=True)[1], create("c", admin=True)[1])
    )
    path = f"/api/export/jobs/{ask(client, **mine).json['id']}"
    work(client)
    for headers, status in ((mine, 200), (admin, 200), (other, 404), ({}, 401)):
        assert client.get(path, headers=headers).status_code == status
        assert client.get(f"{path}/file", headers=headers, buffered=True).status_code == status
    assert client.delete(path, headers=other).status_code == 404


def test_raw_rows_are_for_administrators_also_once_the_rules_change(make_client: Clients) -> None:
    client = furnished(make_client(export_privacy="raw"))
    reader, admin = (house_of(client).access.create("x", export=not is_admin, admin=is_admin)[1] for is_admin in (False, True))
    assert ask(client, Authorization=f"Bearer {reader}").status_code == 403
    path = f"/api/export/jobs/{ask(client, Authorization=f'Bearer {admin}').json['id']}"
    work(client)
    assert client.get(f"{path}/file", headers={"Authorization": f"Bearer {admin}"}, buffered=True).status_code == 200
    others = make_client()
    assert_problem(others.get(f"{path}/file"), 410, "privacy")
    assert others.get(path).json["state"] == "expired"


def test_a_stranger_that_asks_for_a_thousand_jobs_is_refused(make_client: Clients) -> None:
    client = make_client(jobs_per_client=3, jobs_kept=5)
    answers = [ask(client, f"formats=csv&date_from=2026-01-{day:02}") for day in range(1, 7)]
    assert [answer.status_code for answer in answers] == [202] * 3 + [429] * 3
    assert_problem(answers[-1], 429, "3 export jobs")
    others = [
        client.post("/api/export/jobs?formats=csv", environ_base={"REMOTE_ADDR": f"10.0.0.{number}"}) for number in range(4)
    ]
    assert [answer.status_code for answer in others] == [202, 202, 503, 503]
    assert client.delete(f"/api/export/jobs/{answers[0].json['id']}").status_code == 200
    assert ask(client).status_code == 202


def test_an_equal_download_is_answered_from_the_kept_file(client: FlaskClient) -> None:
    told = done(client)
    kept = client.get("/api/export/json")
    assert kept.headers["ETag"] == f'"{told["version"]}"'
    assert kept.data == client.get(told["file"]).data
    assert "ETag" not in client.get("/api/export/csv", buffered=True).headers
    assert client.get("/api/export/json", headers={"Range": "bytes=0-9"}).data == kept.data[:10]
    later = {"Range": "bytes=10-"}  # perhaps of a file that was made before this one was kept
    assert client.get("/api/export/json", headers=later).data == kept.data
    assert client.get("/api/export/json", headers={**later, "If-Range": kept.headers["ETag"]}).data == kept.data[10:]
    assert client.post("/api/ingest/data", data=payload(state()), headers={"Home-UUID": HOME}).status_code == 200
    assert "ETag" in client.get("/api/export/json?fresh=false", buffered=True).headers
    assert len(rows(client.get("/api/export/json").data)) == 101


def test_a_file_comes_from_minio_itself_where_clients_reach_it(
    make_client: Clients, minio_server: MinioServer, production_pair: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{production_pair['SMARTHOUSE_OBJECTS_URL']}&public_endpoint=http://files.example:9000"
    client = furnished(make_client(objects_url=url, state_url=production_pair["SMARTHOUSE_STATE_URL"]))
    told = done(client)
    answer = client.get(told["file"])
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("http://files.example:9000/")
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOME}).status_code == 200
    assert_problem(client.get(told["file"]), 410, "erased")


def test_a_version_is_the_same_bytes_until_a_home_in_it_is_forgotten(client: FlaskClient) -> None:
    told = done(client)
    whole, path = client.get(told["file"], buffered=True).data, f"/api/export/dataset?version={told['version']}"
    assert told["version"] in told["citation"]
    for _ in range(2):
        assert client.post("/api/ingest/data", data=payload(state()), headers={"Home-UUID": HOME}).status_code == 200
        assert client.get(path, buffered=True).data == whole
    assert client.get(path, headers={"Range": "bytes=5-"}, buffered=True).status_code == 206
    assert_problem(client.get(f"{path}&types=sensor"), 400, "alone")
    assert_problem(client.get("/api/export/dataset?version=1"), 404, "no such version")
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOME}).status_code == 200
    assert_problem(client.get(path), 410, "erased")


def test_only_what_came_after_a_version_is_downloaded(client: FlaskClient) -> None:
    first = done(client)
    since = f"since={first['version']}"
    assert (first["since"], len(rows(client.get(first["file"], buffered=True).data))) == (None, 100)
    nothing = client.get(f"/api/export/json?{since}")
    assert (nothing.status_code, nothing.headers["X-Empty-Reason"]) == (204, "No record came after that version")
    empty = done(client, f"formats=json&{since}")
    assert (empty["rows"], empty["file"], empty["detail"]) == (0, None, "No record came after that version")
    late = [
        state("sensor.kitchen_power", str(number), "2021-03-01T12:00:00+00:00", unit_of_measurement="W") for number in range(3)
    ]
    sent = payload(*late, state("sensor.a_1", "1", unit_of_measurement="°C"))  # the last one came before
    assert client.post("/api/ingest/data", data=sent, headers={"Home-UUID": HOME}).status_code == 200
    for version in (first["version"], empty["version"]):
        assert [row["value"] for row in rows(client.get(f"/api/export/json?since={version}", buffered=True).data)] == [0, 1, 2]
    second = done(client, f"formats=csv&formats=json&{since}")
    assert (second["rows"], second["since"]) == (3, first["version"])
    assert f"after version {first['version']}" in second["citation"]
    same = client.get(f"/api/export/dataset?formats=csv&formats=json&{since}", buffered=True)
    assert same.headers["ETag"] == f'"{second["version"]}"'
    assert client.get(f"/api/export/json?since={second['version']}").status_code == 204
    whole = client.get("/api/export/dataset?formats=csv&formats=json", buffered=True)
    assert whole.status_code == 200
    assert len(rows(whole.data)) == 103
    assert client.delete("/api/ingest/data", headers={"Home-UUID": OTHER_HOME}).status_code == 200
    told = client.get(f"/api/export/json?{since}", buffered=True)
    assert "erased" in told.headers["X-Since-Note"]
    assert len(rows(told.data)) == 3


def test_a_version_that_cannot_be_continued_is_told(client: FlaskClient) -> None:
    version = done(client)["version"]
    for path in ("json?", "dataset?formats=json&"):
        assert_problem(client.get(f"/api/export/{path}since={'0' * 32}"), 400, "no such version")
        assert_problem(client.get(f"/api/export/{path}since={version}&types=sensor"), 400, "filters")
        assert_problem(client.get(f"/api/export/{path}since={version}&every=1h"), 400, "every")
    assert_problem(ask(client, f"formats=json&since={'0' * 32}"), 400, "no such version")
    assert_problem(client.get(f"/api/export/dataset?version={version}&since={version}"), 400, "alone")
    hours = done(client, "formats=json&every=1h")["version"]
    assert_problem(client.get(f"/api/export/json?since={hours}&every=1d"), 400, "every")
    assert client.get(f"/api/export/json?since={hours}").status_code == 204
    sent = payload(state("sensor.a_1", "7", "2021-03-01T12:00:00+00:00", unit_of_measurement="°C"))
    assert client.post("/api/ingest/data", data=sent, headers={"Home-UUID": HOME}).status_code == 200
    told = rows(client.get(f"/api/export/json?since={hours}", buffered=True).data)
    assert {row["start"][:10] for row in told} == {"2021-03-01", "2021-03-02"}


def test_a_bare_file_is_no_zip(client: FlaskClient) -> None:
    for format_, media_type in (("parquet", "application/vnd.apache.parquet"), ("json", "application/json")):
        told = done(client, f"formats={format_}&bare=true")
        file = client.get(told["file"])
        assert file.content_type == media_type
        assert file.headers["Content-Disposition"].endswith(f".{format_}")
        found = pq.read_table(io.BytesIO(file.data)).to_pylist() if format_ == "parquet" else json.loads(file.data)
        assert len(found) == 100
        assert client.get(told["file"], headers={"Range": "bytes=-8"}).data == file.data[-8:]
    assert_problem(ask(client, "formats=json&formats=csv&bare=true"), 400, "one format")
    assert "ETag" not in client.get("/api/export/json", buffered=True).headers, "a download is a zip"
