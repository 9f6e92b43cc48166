"""An installation for the tests of backups: fills it, and shows all that its clients can read of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Flask

from config.settings import Settings
from smarthouse_api.collections.model import define
from smarthouse_api.house import House
from tests.conftest import HOME, OTHER_HOME, Environment, payload, rows, state

STREAMS = "/homes/7/smartModules/module/streams"


def opened(environment: Environment) -> House:
    """A house as a process that starts now would open it."""
    return House(Settings.from_env({**environment, "SMARTHOUSE_EXPORT_PRIVACY": "raw", "SMARTHOUSE_DEMO": "0"}))


@dataclass
class Client:
    """A client of whichever house it is given: one application serves them all."""

    app: Flask
    key: str = ""

    def fill(self, house: House) -> None:
        """Upload states, write records and packets, some of them sealed or in the lake already, and some not."""
        house.begin()
        self.key = house.access.create("operator", admin=True)[1]
        for id_ in ("kept", "deleted"):
            house.collections.catalogue.create(define({"id": id_}))
        for number in range(2):
            for home, value in ((HOME, f"{number}"), (OTHER_HOME, f"{10 + number}")):
                self.ask(house, "post", "/api/ingest/data", data=payload(state(value=value)), headers={"Home-UUID": home})
            for id_ in ("kept", "deleted"):
                self.ask(house, "post", "/restapi/datasource/insert", json={"datasource_id": id_, "data": [{"value": number}]})
            for name in ("kept", "deleted"):
                self.ask(house, "put", f"{STREAMS}/{name}", json={})
                self.ask(house, "post", f"{STREAMS}/{name}/data", data=b"packet %d of %s" % (number, name.encode()))
            if not number:
                house.states.chores.flush()
                for collection in house.collections.catalogue.list():
                    house.collections.chores.flush(collection)

    def content(self, house: House) -> dict[str, Any]:
        """All that can be read: the rows of an export, collections with their records, streams with their packets, keys."""
        answer = self.ask(house, "get", "/api/export/json")
        records = {
            one.id: self.ask(house, "get", f"/restapi/datasource/{one.id}/records?format=jsonl&meta=false").text
            for one in house.collections.catalogue.list()
        }
        streams = {}
        for one in house.streams.catalogue.everything():
            last = house.streams.status(one).packet_index
            found = self.ask(house, "get", f"{STREAMS}/{one.name}/data?start=0&stop={max(last, 0)}", follow_redirects=True)
            streams[one.name] = found.data
        return {
            "rows": rows(answer.data) if answer.status_code == 200 else [],
            "records": records,
            "streams": streams,
            "keys": [key.id for key in house.access.list()],
        }

    def ask(self, house: House, method: str, path: str, **request: Any) -> Any:
        """One request, which must succeed."""
        self.app.extensions["smarthouse"] = house
        headers = {"Authorization": f"Bearer {self.key}", **request.pop("headers", {})}
        answer = getattr(self.app.test_client(), method)(path, headers=headers, buffered=True, **request)
        assert answer.status_code < 400, (path, answer.status_code, answer.text)
        return answer
