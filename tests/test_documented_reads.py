"""What an operation reads of a request stands in its document: every query argument, header and part of the path."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import Request
from flask.testing import FlaskClient
from werkzeug.datastructures import EnvironHeaders, ImmutableMultiDict

from blueprints import streams
from smarthouse_api.house import House
from tests.conftest import ROOT, Environment, house_of
from tests.kept_release import keep_release
from tests.test_docs import document, operations, request_of

Operation = tuple[str, str]
"""Path and method."""

FIRST = ("data_upload", "create_job", "putStream", "appendPackets", "putMetadata", "addSession", "createDataset")
LAST = ("cancel_job", "releaseSession", "deleteSession", "deleteStream", "data_deletion", "read_receipt")
UNKNOWN = {("fixDeadLetter", 404), ("discardDeadLetter", 404)}
"""Nobody can write the id of a record that was refused into an example."""

OF_EVERY_REQUEST = {
    *("accept", "authorization", "content-type"),  # in OpenAPI, these three are never parameters
    *("host", "content-length", "transfer-encoding", "content-encoding", "cookie"),  # HTTP's own, about the message
    "origin",  # a browser's own, as are those that begin with `access-control-` or `sec-`
    "x-request-id",  # in every answer
    *("hx-request", "hx-history-restore-request"),  # of the console's script, which no document describes
}
"""The headers that no operation documents."""

ATTRIBUTES = {
    "range": "Range",
    "accept_mimetypes": "Accept",
    "content_encoding": "Content-Encoding",
    "if_range": "If-Range",
    "if_none_match": "If-None-Match",
}
"""Attributes of a request that hold a header."""

AS_A_WHOLE = {
    "blueprints/parameters.py",
    "blueprints/console/home.py",
    "blueprints/console/operator_sessions.py",
    "blueprints/console/pages.py",
    "blueprints/console/reading.py",
    "blueprints/export/readers.py",
    "blueprints/export/routes.py",
}
"""The modules that look at a query as a whole: to refuse what no document has, to read what is chosen on a page, which no
document has, to log it, and to take a parameter alone."""


@pytest.fixture
def environment(memory_pair: Environment) -> Environment:
    """One pair of stores is enough: no document depends on it."""
    return memory_pair


@pytest.fixture
def reads(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> dict[Operation, set[tuple[str, str]]]:
    """Fills up with what each operation reads of its requests: where it looks, and for what."""
    noted: dict[Operation, set[tuple[str, str]]] = defaultdict(set)

    def watched(kind: type[Any], given: Any, asked: Request, where: str) -> Any:
        def note(name: Any) -> None:
            if asked.url_rule is not None and isinstance(name, str):
                noted[templated(asked.url_rule.rule), asked.method.lower()].add((where, name.lower()))

        class Watched(kind):  # type: ignore[misc]
            def __getitem__(self, name: Any) -> Any:
                note(name)
                return super().__getitem__(name)

            def __contains__(self, name: Any) -> bool:
                note(name)
                return bool(super().__contains__(name))

            def get(self, name: Any, *more: Any, **options: Any) -> Any:
                note(name)
                return super().get(name, *more, **options)

            def getlist(self, name: Any, *more: Any, **options: Any) -> Any:
                note(name)
                return super().getlist(name, *more, **options)

        return Watched(given)

    class WatchedRequest(Request):
        def __init__(self, environ: dict[str, Any], *more: Any, **options: Any) -> None:
            super().__init__(environ, *more, **options)
            self.headers = watched(EnvironHeaders, environ, self, "header")

        @property
        def args(self) -> Any:
            return watched(ImmutableMultiDict, parse_qsl(self.query_string.decode(), True), self, "query")

    monkeypatch.setattr(client.application, "request_class", WatchedRequest)
    # It remembers what it read of an earlier test's empty query.
    monkeypatch.setattr(streams.blueprint.ARGUMENTS_PARSER, "_of_nothing", {})
    return noted


def templated(rule: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def everything_tried(client: FlaskClient) -> dict[Operation, dict[str, Any]]:
    """Ask each operation for its example, with an operator's key, in an order in which each finds what it needs."""
    house = house_of(client)
    _, key = house.access.create("operator", admin=True)
    house.collections.begin()
    keep_release(house)
    found_at = {(path, method): found for path, method, found in operations(document(client))}
    by_name = {found["operationId"]: operation for operation, found in found_at.items()}
    session, signed = {}, dict[str, dict[str, str]]()
    for name in (*FIRST, *(one for one in by_name if one not in FIRST + LAST), *LAST):
        path, method = by_name[name]
        found = found_at[path, method]
        bodies = found.get("requestBody", {}).get("content", {})
        content_type = next((one for one, content in bodies.items() if "example" in content), None)
        asked = request_of(path, found, content_type, **session, **signed.get(name, {}))
        asked["headers"] |= {"Authorization": f"Bearer {key}"} | ({"Range": "bytes=0-1"} if name == "downloadPackets" else {})
        if name == "export_format":  # a kept file answers it, which reads more than a stream does
            same = {**asked, "path": "/api/export/jobs", "query_string": [*asked["query_string"], ("formats", "csv")]}
            assert client.post(**same).status_code == 202
            work(house)
        answer = client.open(method=method.upper(), buffered=True, **asked)
        assert answer.status_code < 400 or (name, answer.status_code) in UNKNOWN, (name, answer.text)
        if name == "addSession":
            session |= {"sessionId": answer.get_json()["id"]}
        if name == "data_deletion":
            session |= {"receipt_id": answer.get_json()["receipt"]}
        if name == "create_job":
            session |= {"job_id": answer.get_json()["id"]}
            work(house)
        if name == "fetchPackets":
            signed["downloadPackets"] = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
        if name == "makeFollowUrl":
            signed["followPackets"] = dict(parse_qsl(urlsplit(answer.get_json()["url"]).query))
    return found_at


def work(house: House) -> None:
    while house.states.jobs.maker.work():
        pass


def test_what_an_operation_reads_is_documented_and_what_is_documented_is_read(
    client: FlaskClient, reads: dict[Operation, set[tuple[str, str]]]
) -> None:
    for operation, found in everything_tried(client).items():
        documented = {(one["in"], one["name"].lower()) for one in found["parameters"] if one["in"] != "path"}
        lists = {("query", f"{one['name']}[]") for one in found["parameters"] if one["schema"]["type"] == "array"}
        general = {("header", name) for _, name in reads[operation] if is_of_every_request(name)}
        assert reads[operation] - lists - general == documented, operation


def is_of_every_request(header: str) -> bool:
    return header.lower() in OF_EVERY_REQUEST or header.lower().startswith(("access-control-", "sec-"))


def test_every_part_of_a_path_is_documented_and_typed(client: FlaskClient) -> None:
    rules = {templated(rule.rule): rule.arguments for rule in client.application.url_map.iter_rules()}
    numbers = set()
    for path, _, found in operations(document(client)):
        parts = {one["name"]: one["schema"]["type"] for one in found["parameters"] if one["in"] == "path"}
        assert parts.keys() == rules[path], path
        numbers |= {name for name, kind in parts.items() if kind == "integer"}
    assert numbers == {"homeId", "packetIndex"}


# A branch that no example reaches reads nothing else.


def test_a_query_is_read_only_by_a_schema_which_documents_it() -> None:
    found = {module for module, attribute, _ in looks_into_requests() if attribute in ("args", "values", "full_path", "url")}
    assert found == AS_A_WHOLE


def test_each_header_that_any_module_reads_is_in_a_document(client: FlaskClient) -> None:
    known = {one["name"].lower() for _, _, found in operations(document(client)) for one in found["parameters"]}
    read = {header or ATTRIBUTES.get(attribute, "") for _, attribute, header in looks_into_requests()} - {""}
    assert {name for name in read if name.lower() not in known and not is_of_every_request(name)} == set()
    assert read >= {"Idempotency-Key", "Home-UUID", "Range", "If-Range", "Origin"}


def looks_into_requests() -> Iterator[tuple[str, str, str]]:
    """Module, attribute and header of each place where the code looks into a request; no header where it names none."""
    for file in sorted((ROOT / "blueprints").rglob("*.py")):
        module = str(file.relative_to(ROOT))
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(ast.Attribute(ast.Name("request"), "headers")), args=[ast.Constant(name), *_]):
                    yield module, "headers", name
                case ast.Subscript(ast.Attribute(ast.Name("request"), "headers"), ast.Constant(name)):
                    yield module, "headers", name
                case ast.Compare(ast.Constant(name), comparators=[ast.Attribute(ast.Name("request"), "headers")]):
                    yield module, "headers", name
                case ast.Attribute(ast.Name("request"), attribute):
                    yield module, attribute, ""
