"""URLs to follow a stream without a key: what they open, and what ends them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from flask.testing import FlaskClient

from smarthouse_api.access.grants import Access
from tests.conftest import house_of
from tests.each import each
from tests.streams.caller import HOME, Caller, assert_refused, json_of
from tests.streams.test_http_downloads import PACKETS, packets_of
from tests.waiting import pass_time

SIGNED = ("stream", "key", "start", "expires", "signature")


@pytest.fixture
def caller(client: FlaskClient) -> Caller:
    return Caller.with_key(client).filled(*PACKETS)


def url_of(caller: Caller, query: str = "start=0&stop=2", name: str = "camera") -> str:
    """Path and query of a URL to follow the stream."""
    answer = caller.post(f"/{name}/follow?{query}")
    assert answer.status_code == 200, answer.text
    found = urlsplit(json_of(answer)["url"])
    return f"{found.path}?{found.query}"


def changed(url: str, **members: str) -> str:
    path, _, query = url.partition("?")
    return f"{path}?{urlencode({**{name: values[0] for name, values in parse_qs(query).items()}, **members})}"


def is_refused_when(caller: Caller, end: Callable[[Access], object]) -> Any:
    """The answer to a URL before and after its key's end."""
    url = url_of(caller)
    assert packets_of(caller.client.get(url).data) == list(enumerate(PACKETS))
    end(house_of(caller.client).access)
    return caller.client.get(url)


def test_a_url_is_absolute_expires_and_holds_no_secret(caller: Caller) -> None:
    answer = caller.post("/camera/follow?start=0", base_url="https://localhost:8443/smart")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    told = json_of(answer)
    assert told["url"].startswith(f"https://localhost:8443/smart{caller.prefix}/camera/follow?")
    query = parse_qs(urlsplit(told["url"]).query)
    assert tuple(query) == SIGNED
    assert query["key"] == [caller.key_id]
    assert caller.key.rpartition("_")[2] not in told["url"]
    left = datetime.fromisoformat(told["expiresAt"]) - datetime.now(UTC)
    assert timedelta(hours=11, minutes=59) < left <= timedelta(hours=12, seconds=2)


def test_a_url_leads_to_no_host_that_is_not_ours(caller: Caller) -> None:
    url = json_of(caller.post("/camera/follow?start=0", base_url="https://evil.example/smart"))["url"]
    assert url.startswith(f"/smart{caller.prefix}/camera/follow?")


def test_a_url_is_followed_without_a_key(caller: Caller) -> None:
    answer = caller.client.get(url_of(caller, "start=1&stop=2"))
    assert answer.content_type.startswith("text/event-stream")
    assert (answer.headers["Cache-Control"], answer.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert answer.data.startswith(b"retry: 1000\n\n")
    assert packets_of(answer.data) == [(1, b"\x00\xff"), (2, b"two")]


def test_a_client_reconnects_to_the_same_url_after_its_last_event(caller: Caller) -> None:
    url = url_of(caller)
    assert packets_of(caller.client.get(url, headers={"Last-Event-ID": "1"}).data) == [(2, b"two")]
    answer = caller.client.get(url, headers={"Last-Event-ID": "2"})
    assert (answer.status_code, answer.data) == (204, b"")


def test_a_url_without_a_start_begins_where_the_stream_was_when_it_was_made(caller: Caller) -> None:
    url = url_of(caller, "stop=3")
    assert caller.post("/camera/data", data=b"new").status_code == 201
    assert packets_of(caller.client.get(url).data) == [(3, b"new")]


@each(
    "members",
    [{"start": "1"}, {"stop": "9"}, {"key": "0" * 12}, {"stream": "0" * 32}, {"expires": "99999999999"}, {"signature": "é"}],
)
def test_a_url_that_was_altered_is_refused(caller: Caller, members: dict[str, str]) -> None:
    assert_refused(caller.client.get(changed(url_of(caller), **members)), 403, "INVALID_SIGNATURE")


@each("name", ["stream", "key", "start", "stop", "expires", "signature"])
def test_a_url_with_a_part_missing_is_refused(caller: Caller, name: str) -> None:
    path, _, query = url_of(caller).partition("?")
    kept = {one: values[0] for one, values in parse_qs(query).items() if one != name}
    assert_refused(caller.client.get(f"{path}?{urlencode(kept)}"), 403, "INVALID_SIGNATURE")


def test_the_urls_of_downloads_and_of_followers_are_not_each_others(caller: Caller) -> None:
    downloaded, followed = caller.located("start=0&stop=2"), url_of(caller)
    for url, place in ((downloaded, "follow"), (followed, "download")):
        query = {**{name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}}
        query = {name: value for name, value in query.items() if name not in ("format", "key")}
        assert_refused(caller.client.get(f"{caller.prefix}/camera/{place}?{urlencode(query)}"), 403, "INVALID_SIGNATURE")


def test_a_url_opens_no_other_stream_module_or_home(caller: Caller) -> None:
    caller.filled(b"secret", name="garden")
    url = url_of(caller)
    for elsewhere in (url.replace("/camera/", "/garden/"), url.replace("/sds/", "/other/")):
        assert_refused(caller.client.get(elsewhere), 404, "STREAM_NOT_FOUND")
    other = url.replace(f"/homes/{HOME}/", "/homes/2/")
    assert_refused(caller.client.get(other), 403, "FORBIDDEN", "does not open this home")


def test_a_url_writes_and_lists_nothing(caller: Caller) -> None:
    path, _, query = url_of(caller).partition("?")
    for method, place in (("POST", "follow"), ("POST", "data"), ("GET", "data"), ("GET", "status"), ("DELETE", "")):
        answer = caller.client.open(f"{path.removesuffix('/follow')}/{place}".rstrip("/"), method=method, query_string=query)
        assert_refused(answer, 401, "UNAUTHORIZED")


def test_a_url_of_a_stream_that_was_made_again_is_refused(caller: Caller) -> None:
    url = url_of(caller)
    assert caller.delete("/camera").status_code == 204
    caller.filled(b"other")
    assert_refused(caller.client.get(url), 404, "STREAM_NOT_FOUND")


def test_a_url_expires(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    url, house = url_of(caller), house_of(caller.client)
    pass_time(house, 43199, monkeypatch)
    assert caller.client.get(url).status_code == 200
    pass_time(house, 3, monkeypatch)
    assert_refused(caller.client.get(url), 403, "URL_EXPIRED", "ask the stream for a new one")


def test_a_revoked_key_ends_its_urls(caller: Caller) -> None:
    assert_refused(is_refused_when(caller, lambda access: access.revoke(caller.key_id)), 403, "INVALID_SIGNATURE", "its key")


def test_a_rotated_secret_ends_the_urls_that_were_made_with_it(caller: Caller) -> None:
    assert_refused(is_refused_when(caller, lambda access: access.rotate(caller.key_id)), 403, "INVALID_SIGNATURE")


def test_a_rotated_secret_that_is_kept_for_a_while_keeps_its_urls(caller: Caller) -> None:
    answer = is_refused_when(caller, lambda access: access.rotate(caller.key_id, keep_old_seconds=60))
    assert packets_of(answer.data) == list(enumerate(PACKETS))


def test_a_key_that_opens_the_home_no_more_ends_its_urls(client: FlaskClient) -> None:
    house_of(client).access.assign([HOME], "ours")
    caller = Caller.with_key(client, project="ours").filled(*PACKETS)
    assert_refused(is_refused_when(caller, lambda access: access.unassign(HOME)), 403, "FORBIDDEN")


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_running_follower_is_sent_away(caller: Caller, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    url = url_of(caller, "start=0")
    with caller.client.get(url) as answer:
        parts = answer.iter_encoded()
        assert packets_of(next(parts) + next(parts)) == list(enumerate(PACKETS))
        if how == "revoked":
            house_of(caller.client).access.revoke(caller.key_id)
        else:
            pass_time(house_of(caller.client), 43202, monkeypatch)
        assert packets_of(b"".join(parts)) == []


def test_the_order_of_the_range_and_unknown_names_are_checked(caller: Caller) -> None:
    assert_refused(caller.post("/camera/follow?start=2&stop=1"), 400, "INVALID_PARAMETER", "start")
    assert_refused(caller.post("/camera/follow?begin=1"), 400, "INVALID_PARAMETER", "begin: is not a parameter here")
    assert_refused(caller.post("/nothing/follow"), 404, "STREAM_NOT_FOUND")
    assert_refused(caller.client.get(f"{url_of(caller)}&follow=true"), 400, "INVALID_PARAMETER", "follow: is not a parameter")


def test_the_log_names_no_signature(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    url = url_of(caller)
    caplog.clear()
    assert caller.client.get(url).status_code == 200
    assert caplog.messages
    assert not [
        line for line in caplog.messages if "signature" in line or parse_qs(urlsplit(url).query)["signature"][0] in line
    ]
