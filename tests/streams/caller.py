"""Somebody who calls the Stream Data Store with a key, as the tests do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from backends.registry import open_objects, open_state
from config.settings import Settings
from smarthouse_api.access.grants import Access
from smarthouse_api.coordination.notes import Notes
from tests.conftest import house_of

HOME, OTHER_HOME, MODULE = 1, 2, "sds"
RANGE = "vnd.tinkermode.range"


@dataclass(frozen=True)
class Caller:
    """prefix: what every path of a call is below."""

    client: FlaskClient
    key: str
    key_id: str = ""
    scheme: str = "ModeCloud"
    prefix: str = f"/homes/{HOME}/smartModules/{MODULE}/streams"

    @classmethod
    def with_key(cls, client: FlaskClient, **grants: Any) -> Caller:
        """A caller whose new key opens the home, or what is given."""
        record, key = house_of(client).access.create("test", **(grants or {"homes": [HOME]}))
        return cls(client, key, record.id)

    def at(self, home: object = HOME, module: str = MODULE) -> Caller:
        return replace(self, prefix=f"/homes/{home}/smartModules/{quote(module, safe='')}/streams")

    def call(self, method: str, path: str = "", **options: Any) -> TestResponse:
        headers = {"Authorization": f"{self.scheme} {self.key}", **options.pop("headers", {})}
        return self.client.open(f"{self.prefix}{path}", method=method, headers=headers, **options)

    def get(self, path: str = "", **options: Any) -> TestResponse:
        return self.call("GET", path, **options)

    def put(self, path: str, **options: Any) -> TestResponse:
        return self.call("PUT", path, **options)

    def post(self, path: str, **options: Any) -> TestResponse:
        return self.call("POST", path, **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        return self.call("DELETE", path, **options)

    def filled(self, *packets: bytes, name: str = "camera") -> Caller:
        """The same caller, with a stream that holds these packets."""
        assert self.put(f"/{name}").status_code == 201
        for packet in packets:
            assert self.post(f"/{name}/data", data=packet).status_code == 201
        return self

    def opened(self, name: str = "camera", **body: Any) -> str:
        """The id of a session that is open from now on."""
        answer = self.post(f"/{name}/sessions/open", json=body)
        assert answer.status_code == 201
        return str(json_of(answer)["id"])

    def located(self, query: str, name: str = "camera") -> str:
        """The path and query that a download is at."""
        answer = self.get(f"/{name}/data?{query}")
        assert answer.status_code == 302
        found = urlsplit(answer.headers["Location"])
        return f"{found.path}?{found.query}"


def key_of(environment: Mapping[str, str], **grants: Any) -> str:
    """A new key of the installation that has these settings, which may be served by another process."""
    stores = Settings.from_env(environment).stores
    state = open_state(stores.state_url)
    try:
        return Access(state, Notes(state, open_objects(stores.objects_url))).create("test", **(grants or {"homes": [HOME]}))[1]
    finally:
        state.close()


def json_of(answer: TestResponse) -> Any:
    """What the answer says as JSON; something."""
    found = answer.get_json()
    assert found is not None
    return found


def assert_refused(answer: TestResponse, status: int, reason: str, words: str = "") -> None:
    """The answer is an error of this API."""
    assert (answer.status_code, answer.content_type) == (status, "application/json"), answer.text
    told = json_of(answer)
    assert set(told) == {"reason", "message"}
    assert told["reason"] == reason
    assert words in told["message"]
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
