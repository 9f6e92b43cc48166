"""The documents say what the service does, work when tried, and need nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from config.settings import Settings
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.collections.record_formats import RECORD_FORMATS
from tests.conftest import Environment, house_of

DOCUMENTS = (
    "/api/ingest/openapi.json",
    "/api/export/openapi.json",
    "/homes/openapi.json",
    "/restapi/datasource/openapi.json",
    "/v2/openapi.json",
    "/docs/openapi.json",
)
PAGES = ("/api/ingest/ui", "/api/export/ui", "/homes/ui", "/restapi/datasource/ui", "/v2/ui", "/docs")
COLLECTIONS = {
    "/restapi/datasource/openapi.json": {"error", "message"},
    "/v2/openapi.json": {"id", "ver", "ts", "params", "responseCode", "result", "error"},
}
"""The documents of data sources and datasets, and the members of their errors."""
STREAMS = "/homes/{homeId}/smartModules/{moduleId}/streams"
WHOLE = "/docs/openapi.json"
JOB = "/api/export/jobs/{job_id}"
RELEASE = "/api/export/releases/{month}"
RECEIPT = "/api/ingest/receipts/{receipt_id}"
DOCUMENTATION = re.compile(r".*/(ui|openapi\.json)|/docs.*|/console/.*")
LIMITS = ("max_body_bytes", "max_decoded_bytes", "max_compression_ratio", "max_json_depth", "max_records")


@pytest.fixture
def environment(memory_pair: Environment) -> Environment:
    """One pair of stores is enough: no document depends on it."""
    return memory_pair


def document(client: FlaskClient, url: str = WHOLE) -> dict[str, Any]:
    found = client.get(url).get_json()
    assert isinstance(found, dict)
    return found


def operations(spec: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of each operation, the path's own parameters included, without references."""
    for path, item in spec["paths"].items():
        shared = item.get("parameters", [])
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, resolved({**operation, "parameters": shared + operation.get("parameters", [])}, spec)


def resolved(part: Any, spec: dict[str, Any]) -> Any:
    if isinstance(part, list):
        return [resolved(one, spec) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        found: Any = spec
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return resolved(found, spec)
    return {name: resolved(one, spec) for name, one in part.items()}


def operation(client: FlaskClient, path: str, method: str) -> dict[str, Any]:
    return next(found for where, how, found in operations(document(client)) if (where, how) == (path, method))


# The documents


@pytest.mark.parametrize("url", DOCUMENTS)
def test_a_document_is_valid(client: FlaskClient, url: str) -> None:
    spec = document(client, url)
    validate(spec)
    assert spec["openapi"].startswith("3.")
    assert spec["paths"]


def test_the_whole_document_holds_every_other(client: FlaskClient) -> None:
    whole = document(client)
    paths = resolved(whole["paths"], whole)
    for url in DOCUMENTS[:-1]:
        alone = document(client, url)
        assert all(paths[path] == found for path, found in resolved(alone["paths"], alone).items())
    assert {tag["name"] for tag in whole["tags"]} >= {"Ingest", "Export", "Streams", "Datasources", "Datasets"}


def test_every_route_is_documented_with_every_method(client: FlaskClient) -> None:
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in client.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not DOCUMENTATION.fullmatch(rule.rule)
    }
    assert ("/api/export/{format}", "get") in served
    assert {(path, method) for path, method, _ in operations(document(client))} == served


def test_every_operation_has_a_summary_and_an_outcome(client: FlaskClient) -> None:
    for path, method, found in operations(document(client)):
        assert found["summary"].endswith("."), (path, method)
        assert {"200", "201", "202", "204", "302"} & set(found["responses"]), (path, method)


# Clients that are generated


@pytest.mark.parametrize("url", DOCUMENTS)
def test_each_operation_has_a_name_of_its_own(client: FlaskClient, url: str) -> None:
    named = [found["operationId"] for _, _, found in operations(document(client, url))]
    assert sorted(set(named)) == sorted(named)
    assert [name for name in named if not re.fullmatch(r"[a-z][A-Za-z_]{4,23}", name)] == []


def test_the_originals_clients_find_their_own_names(client: FlaskClient) -> None:
    named = {found["operationId"]: (method, path) for path, method, found in operations(document(client))}
    assert named["data_upload"] == ("post", "/api/ingest/data")
    assert named["data_deletion"] == ("delete", "/api/ingest/data")
    assert named["data_extraction"] == ("get", "/api/export/dataset")
    assert named["available_formats"] == ("get", "/api/export/formats")


def objects(part: Any) -> Iterator[dict[str, Any]]:
    """The schema of each object in a document, the examples left out."""
    if isinstance(part, dict):
        if part.get("type") == "object":
            yield part
        for name, one in part.items():
            yield from objects(one) if name != "example" else ()
    elif isinstance(part, list):
        for one in part:
            yield from objects(one)


@pytest.mark.parametrize("url", DOCUMENTS)
def test_no_object_is_without_members(client: FlaskClient, url: str) -> None:
    # A generated client would take and give nothing except `{}`.
    assert [one for one in objects(document(client, url)) if not one.keys() & {"properties", "additionalProperties"}] == []


@pytest.mark.parametrize("url", DOCUMENTS[:-1])
def test_no_schema_has_a_member_of_its_own_name(client: FlaskClient, url: str) -> None:
    # Generated Python calls an object by its class's name, and a member by its own: one would hide the other.
    schemas = document(client, url)["components"]["schemas"]
    hidden = {name: {one.replace("_", "").lower() for one in schema["properties"]} for name, schema in schemas.items()}
    assert [name for name, members in hidden.items() if name.lower() in members] == []


def test_bytes_are_binary_and_text_is_not(client: FlaskClient) -> None:
    binary, kinds = {"type": "string", "format": "binary"}, set()
    for path, _, found in operations(document(client)):
        for part in (found.get("requestBody", {}), *found["responses"].values()):
            for content_type, content in part.get("content", {}).items():
                kinds.add(content_type)
                is_text = content_type.startswith("text/") or content_type.endswith(("json", "jsonl"))
                assert (content["schema"] == binary) != is_text, (path, content_type)
    assert kinds >= {"application/zip", "application/octet-stream", "application/vnd.apache.parquet", "text/event-stream"}


@pytest.mark.parametrize("method", ["post", "delete"])
def test_the_home_is_a_required_header(client: FlaskClient, method: str) -> None:
    (header,) = [one for one in operation(client, "/api/ingest/data", method)["parameters"] if one["required"]]
    assert (header["name"], header["in"]) == ("Home-UUID", "header")
    assert re.search(header["schema"]["pattern"], str(uuid4()))
    assert not re.search(header["schema"]["pattern"], f"{{{uuid4()}}}")
    assert "Home_UUID" in header["description"]


def test_an_uploads_body_may_be_binary(client: FlaskClient) -> None:
    content = operation(client, "/api/ingest/data", "post")["requestBody"]["content"]
    assert content["application/octet-stream"]["schema"] == {"type": "string", "format": "binary"}


@pytest.mark.parametrize("path", ["/api/export/{format}", "/api/export/dataset"])
def test_an_export_is_a_binary_zip_or_nothing(client: FlaskClient, path: str) -> None:
    responses = operation(client, path, "get")["responses"]
    assert responses["200"]["content"] == {"application/zip": {"schema": {"type": "string", "format": "binary"}}}
    assert "Content-Disposition" in responses["200"]["headers"]
    assert "content" not in responses["204"]
    assert "X-Empty-Reason" in responses["204"]["headers"]


@pytest.mark.parametrize("path", ["/api/export/{format}", "/api/export/dataset"])
def test_every_filter_of_an_export_is_documented(client: FlaskClient, path: str) -> None:
    names = {one["name"] for one in operation(client, path, "get")["parameters"]}
    assert names >= {"date_from", "date_to", "types", "units", "time_field", "metadata"}
    assert ("format" in names, "formats" in names) == (True, path.endswith("dataset"))


def test_every_format_is_named(client: FlaskClient) -> None:
    (parameter,) = [one for one in operation(client, "/api/export/{format}", "get")["parameters"] if one["in"] == "path"]
    assert [name for name in FORMATS if name not in parameter["description"]] == []


def test_every_operation_names_each_error_that_all_of_its_kind_may_answer(client: FlaskClient) -> None:
    """And "any other error" is not among the answers: it would tell clients nothing."""
    for path, method, found in operations(document(client)):
        told = set(found["responses"])
        assert "default" not in told, (path, method)
        wanted = {"400", "500"} if path.startswith(("/health", "/metrics")) else {"400", "500", "503"}
        wanted |= {"404"} if "{" in path else set()
        wanted |= {"403"} if method != "get" else set()
        wanted |= {"408", "413"} if "requestBody" in found else set()
        assert told >= wanted, (path, method)


def test_errors_are_documented_as_what_they_are(client: FlaskClient) -> None:
    errors = [
        (path, status, response)
        for path, _, found in operations(document(client))
        for status, response in found["responses"].items()
        if path.startswith("/api/") and int(status) >= 400
    ]
    assert {status for _, status, _ in errors} == {
        "400",
        "401",
        "403",
        "404",
        "408",
        "409",
        "410",
        "413",
        "416",
        "429",
        "500",
        "503",
    }
    for path, status, response in errors:
        assert list(response["content"]) == ["application/problem+json"], (path, status)
        schema = response["content"]["application/problem+json"]["schema"]
        assert set(schema["properties"]) == {"type", "title", "status", "detail"}
        assert ("Retry-After" in response.get("headers", {})) == (status in ("429", "503"))


def test_an_errors_example_is_of_that_error(client: FlaskClient) -> None:
    responses = operation(client, "/api/ingest/data", "post")["responses"]
    for status in ("400", "409", "413", "429", "503"):
        assert responses[status]["content"]["application/problem+json"]["example"]["status"] == int(status)


@pytest.mark.parametrize("url", DOCUMENTS)
def test_nothing_is_described_that_nothing_refers_to(client: FlaskClient, url: str) -> None:
    spec = document(client, url)
    schemes = spec["components"].pop("securitySchemes", {})
    described = {f"#/components/{kind}/{name}" for kind, parts in spec["components"].items() for name in parts}
    assert described == set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(spec)))
    asked_for = [found.get("security", []) for _, _, found in operations(spec)]
    assert set(schemes) == {name for choices in asked_for for choice in choices for name in choice}


def test_the_limits_in_force_are_documented(make_client: Callable[..., FlaskClient]) -> None:
    changes = {name: 4_000_017 + number for number, name in enumerate(LIMITS)}
    rates = {"ingest_rate_home": "11/hour", "ingest_rate_address": "12/minute", "export_rate_address": "13/day"}
    client = make_client(**changes, **rates)
    ingest, export = (document(client, url)["info"]["description"] for url in DOCUMENTS[:2])
    told = [str(value) for value in changes.values()] + ["11/hour", "12/minute"]
    assert [value for value in told if value not in ingest] == []
    assert "13/day" in export
    whole = document(client)["info"]["description"]
    assert [value for value in [*told, "13/day"] if value not in whole] == []


def test_a_limit_that_is_not_set_is_documented_as_none(make_client: Callable[..., FlaskClient]) -> None:
    description = document(make_client(export_rate_address=""), DOCUMENTS[1])["info"]["description"]
    assert "any number" in description
    assert Settings().access.export_rate_address not in description


# Streams


SIGNED = {("download", "get"), ("follow", "get")}
"""Last part of the path, and method, of the operations that a signature opens."""


def test_every_operation_of_streams_says_how_it_refuses(client: FlaskClient) -> None:
    spec = document(client, "/homes/openapi.json")
    assert len(spec["paths"]) == 13
    for path, method, found in operations(spec):
        is_open = (path.rpartition("/")[2], method) in SIGNED
        assert found["security"] == ([] if is_open else [{"ModeCloud": []}, {"Bearer": []}])
        assert set(found["responses"]) >= {"403", "500", "503", *(() if is_open else ("401",))}, (path, method)
        for status, response in found["responses"].items():
            if int(status) >= 400:
                (content,) = [response["content"]["application/json"]]
                assert set(content["schema"]["properties"]) == set(content["example"]) == {"reason", "message"}
                assert ("Retry-After" in response.get("headers", {})) == (status == "503")
                assert ("WWW-Authenticate" in response.get("headers", {})) == (status == "401")


@pytest.mark.parametrize("url", ["/homes/openapi.json", WHOLE])
def test_both_ways_to_send_a_key_are_documented(client: FlaskClient, url: str) -> None:
    schemes = document(client, url)["components"]["securitySchemes"]
    assert {name: (scheme["type"], scheme.get("in"), scheme.get("scheme")) for name, scheme in schemes.items()} == {
        "ModeCloud": ("apiKey", "header", None),
        "Bearer": ("http", None, "bearer"),
    }


def test_a_redirect_and_a_stream_of_events_are_documented(client: FlaskClient) -> None:
    responses = operation(client, f"{STREAMS}/{{streamName}}/data", "get")["responses"]
    assert responses["302"]["headers"]["Location"]["schema"] == {"type": "string", "format": "uri-reference"}
    assert list(responses["200"]["content"]) == ["text/event-stream"]


def test_a_list_of_streams_says_where_in_the_list_it_lies(client: FlaskClient) -> None:
    for path in (STREAMS, f"{STREAMS}/{{streamName}}/sessions", f"{STREAMS}/{{streamName}}/metadata"):
        found = operation(client, path, "get")
        assert "vnd.tinkermode.range" in found["responses"]["200"]["headers"]
        assert {"skip", "limit"} <= {one["name"] for one in found["parameters"]}


def test_the_limits_of_streams_are_documented(make_client: Callable[..., FlaskClient]) -> None:
    changes = {
        "max_body_bytes": 4_000_017,
        "stream_batch_packets": 4_000_018,
        "max_json_depth": 73,
        "stream_packet_bytes": 400_019,
        "stream_metadata_bytes": 400_020,
        "stream_url_seconds": 421,
        "stream_session_seconds": 422,
        "stream_follow_seconds": 423,
        "stream_downloads_at_once": 424,
        "stream_followers": 425,
    }
    description = document(make_client(**changes), "/homes/openapi.json")["info"]["description"]
    assert [value for value in changes.values() if str(value) not in description] == []


# Data sources and datasets


@pytest.mark.parametrize(("url", "members"), COLLECTIONS.items())
def test_every_operation_of_collections_says_how_it_refuses(client: FlaskClient, url: str, members: set[str]) -> None:
    spec = document(client, url)
    assert set(spec["components"]["securitySchemes"]) == {"Bearer"}
    for path, method, found in operations(spec):
        assert {"Bearer": []} in found["security"]
        # Nobody is asked for a key where it is for the collection to say whether one is needed.
        is_open = path.endswith("/records") or "/data/" in path or "/records/" in path
        assert ({} in found["security"]) == is_open, path
        assert set(found["responses"]) >= {"200", "400", "401", "403", "429", "500", "503"}, (path, method)
        for status, response in found["responses"].items():
            if int(status) >= 400:
                (content,) = [response["content"]["application/json"]]
                assert set(content["schema"]["properties"]) == set(content["example"]) == members
                assert ("Retry-After" in response.get("headers", {})) == (status in ("429", "503"))
                assert ("WWW-Authenticate" in response.get("headers", {})) == (status == "401")


@pytest.mark.parametrize("path", ["/restapi/datasource/{datasource_id}/records", "/v2/datasets/records/{dataset_id}"])
def test_a_reading_has_every_format(client: FlaskClient, path: str) -> None:
    found = operation(client, path, "get")
    assert {one["name"] for one in found["parameters"]} >= {"from", "to", "limit", "cursor", "format", "meta"}
    assert set(found["responses"]["200"]["content"]) == {one.media_type for one in RECORD_FORMATS.values()}
    assert "X-Next-Cursor" in found["responses"]["200"]["headers"]


def test_each_post_that_stores_takes_an_idempotency_key(client: FlaskClient) -> None:
    for path in (
        "/restapi/datasource/insert",
        "/v2/data/in/{dataset_id}",
        "/v2/datasets/create",
        "/v2/datasets/replay/{dataset_id}",
    ):
        found = operation(client, path, "post")
        assert "Idempotency-Key" in {one["name"] for one in found["parameters"]}
        assert "Idempotency-Replayed" in found["responses"]["200"]["headers"]


@pytest.mark.parametrize("url", COLLECTIONS)
def test_the_limits_of_collections_are_documented(make_client: Callable[..., FlaskClient], url: str) -> None:
    changes: dict[str, Any] = {
        "max_body_bytes": 4_000_017,
        "max_json_depth": 73,
        "collection_records": 4_000_018,
        "collection_record_bytes": 400_019,
        "collection_reads_at_once": 424,
        "collection_rate_address": "14/day",
    }
    if url.startswith("/v2"):
        changes |= {"collection_topic_bytes": 400_020, "collection_topic_seconds": 421, "collection_aside_days": 422}
    description = document(make_client(**changes), url)["info"]["description"]
    assert [value for value in changes.values() if str(value) not in description] == []


# Trying it out


def request_of(path: str, found: dict[str, Any], content_type: str | None, **instead: str) -> dict[str, Any]:
    """The request that "Try it out" makes of the examples as they stand, but for what is given instead of one."""
    query: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    for parameter in found["parameters"]:
        schema = parameter["schema"]
        given = instead.get(parameter["name"], parameter.get("example", schema.get("example", schema.get("default"))))
        if given is None:
            assert not parameter["required"], parameter["name"]
            continue
        texts = [
            str(one).lower() if isinstance(one, bool) else str(one) for one in (given if isinstance(given, list) else [given])
        ]
        match parameter["in"]:
            case "path":
                path = path.replace(f"{{{parameter['name']}}}", texts[0])
            case "query":
                query += [(parameter["name"], text) for text in texts]
            case "header":
                headers[parameter["name"]] = texts[0]
    assert "{" not in path
    made: dict[str, Any] = {"path": path, "query_string": query, "headers": headers}
    if content_type:
        example = found["requestBody"]["content"][content_type]["example"]
        made |= {"data": example if isinstance(example, str) else json.dumps(example), "content_type": content_type}
    return made


def test_every_example_works_as_it_stands(client: FlaskClient) -> None:
    done = set()
    open_to_all = [one for one in operations(document(client)) if not one[0].startswith((STREAMS, "/restapi/", "/v2/"))]
    job = receipt = ""
    for path, method, found in sorted(
        open_to_all, key=lambda one: (one[0].startswith((JOB, RECEIPT)), one[1] == "delete" and one[0] == JOB)
    ):
        bodies = found.get("requestBody", {}).get("content", {None: {"example": None}})
        for content_type in [name for name, content in bodies.items() if "example" in content]:
            asked = request_of(path, found, content_type, job_id=job, receipt_id=receipt)
            answer = client.open(method=method.upper(), buffered=True, **asked)
            # Deleting the example's home comes after uploading it, and before exporting it.
            wanted = (200, 202, 204) if path.startswith("/api/export/") else (200, 206)
            wanted = (404,) if path == RELEASE else wanted  # only an operator makes one
            assert answer.status_code in wanted, (path, method, answer.data)
            if (path, method) == ("/api/ingest/data", "delete"):
                receipt = answer.json["receipt"]
            if path == "/api/export/jobs":
                job = answer.json["id"]
                while house_of(client).states.jobs.maker.work():
                    pass
            done.add((path, method))
    assert done == {(path, method) for path, method, _ in open_to_all}


def test_every_example_of_streams_works_as_it_stands_with_a_key(client: FlaskClient) -> None:
    _, key = house_of(client).access.create("try it out", admin=True)
    found_at = {(path, method): found for path, method, found in operations(document(client)) if path.startswith(STREAMS)}
    stream = f"{STREAMS}/{{streamName}}"
    first = [(stream, "put"), (f"{stream}/data", "post"), (f"{stream}/metadata/{{packetIndex}}", "put")]
    last = [
        (f"{stream}/sessions/{{sessionId}}/hold", "delete"),
        (f"{stream}/sessions/{{sessionId}}", "delete"),
        (stream, "delete"),
    ]
    others = [one for one in found_at if one not in (*first, *last, (f"{stream}/sessions", "post"))]
    session = ""
    for path, method in (*first, (f"{stream}/sessions", "post"), *others, *last):
        found = found_at.pop((path, method))
        bodies = found.get("requestBody", {}).get("content", {None: {"example": None}})
        (content_type,) = [name for name, content in bodies.items() if "example" in content]
        asked = request_of(path, found, content_type, sessionId=session)
        if found["security"]:
            asked["headers"]["Authorization"] = f"ModeCloud {key}"
        answer = client.open(method=method.upper(), **asked)
        # Nobody can write a signature into an example.
        wanted = (403,) if (path.rpartition("/")[2], method) in SIGNED else (200, 201, 204, 302)
        assert answer.status_code in wanted, (path, method, answer.text)
        assert str(answer.status_code) in found["responses"], (path, method)
        if (path, method) == (f"{stream}/sessions", "post"):
            session = answer.get_json()["id"]
    assert found_at == {}


def test_every_example_of_collections_works_as_it_stands_with_an_operators_key(client: FlaskClient) -> None:
    house = house_of(client)
    _, key = house.access.create("try it out", admin=True)
    house.collections.begin()
    found_at = {
        (path, method): found for path, method, found in operations(document(client)) if path.startswith(("/restapi/", "/v2/"))
    }
    first = ("/v2/datasets/create", "post")
    for path, method in (first, *[one for one in found_at if one != first]):
        found = found_at[path, method]
        content_type = "application/json" if "requestBody" in found else None
        asked = request_of(path, found, content_type)
        asked["headers"]["Authorization"] = f"Bearer {key}"
        answer = client.open(method=method.upper(), buffered=True, **asked)
        # Nobody can write the id of a record that was refused into an example.
        wanted = 404 if "record_id" in path else 200
        assert answer.status_code == wanted, (path, method, answer.text)
    assert len(found_at) == 14


@pytest.mark.parametrize("path", ["/restapi/datasource/insert", "/v2/data/in/{dataset_id}"])
def test_the_answer_to_what_is_sent_is_documented_in_full(client: FlaskClient, path: str) -> None:
    house = house_of(client)
    _, key = house.access.create("try it out", admin=True)
    house.collections.begin()
    found = operation(client, path, "post")
    documented = found["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    asked = request_of(path, found, "application/json")
    asked["headers"]["Authorization"] = f"Bearer {key}"
    assert set(client.post(**asked).get_json()) <= set(documented)


@pytest.mark.parametrize("path", ["/api/export/{format}", "/api/export/dataset"])
def test_the_example_of_an_export_finds_the_example_of_an_upload(client: FlaskClient, path: str) -> None:
    upload = operation(client, "/api/ingest/data", "post")
    told = client.post(**request_of("/api/ingest/data", upload, "application/json"), buffered=True)
    assert told.get_json()["records"] >= 1
    answer = client.get(**request_of(path, operation(client, path, "get"), None), buffered=True)
    assert (answer.status_code, answer.content_type) == (200, "application/zip")


def test_the_answer_of_an_upload_is_documented_in_full(client: FlaskClient) -> None:
    upload = operation(client, "/api/ingest/data", "post")
    documented = upload["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    told = set[str]()
    for body in (b"\xff", b'{"sensor.a": [{"state": "1"}], "sensor:b": [{"start": 1772368496000, "mean": 2}]}'):
        told |= set(client.post("/api/ingest/data", data=body, headers={"Home-UUID": str(uuid4())}).get_json())
    assert told == set(documented)


# The pages


@pytest.mark.parametrize("page", PAGES)
def test_a_page_and_all_that_it_loads_come_from_the_application(client: FlaskClient, page: str) -> None:
    text = client.get(page).text
    links = re.findall(r'(?:src|href)="([^"]+)"', text) + re.findall(r'url: "([^"]+)"', text)
    assert len(links) >= 4
    for link in links:
        assert not re.match(r"\w+:|//", link)
        with client.get(urljoin(page, link)) as answer:
            assert (answer.status_code, bool(answer.data)) == (200, True), link


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_no_other_host(client: FlaskClient, page: str) -> None:
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", client.get(page).text) == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_not_send_the_document_to_a_validator_elsewhere(client: FlaskClient, page: str) -> None:
    # Swagger UI asks validator.swagger.io about any document that is not on localhost, unless it is told not to.
    text = client.get(page).text
    assert re.search(r""""validatorUrl": null""", text)


@pytest.mark.parametrize(
    ("name", "content_type"), [("swagger-ui.css", "text/css"), ("swagger-ui-bundle.js", "text/javascript")]
)
def test_an_asset_has_its_type_and_may_be_kept(client: FlaskClient, name: str, content_type: str) -> None:
    with client.get(f"/docs/assets/{name}") as answer:
        assert answer.mimetype == content_type
        assert "max-age" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("name", ["../__init__.py", "%2e%2e/__init__.py", "..%2f__init__.py", "nothing.js", "/etc/passwd"])
def test_nothing_but_assets_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/docs/assets/{name}", follow_redirects=True).status_code == 404
