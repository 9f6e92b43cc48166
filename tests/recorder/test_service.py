"""Uploads over a real socket, to a service that is well and to one that is not."""

from __future__ import annotations

import pytest

from smarthouse_api.recorder.faults import BodyTooLarge, ImportFault
from smarthouse_api.recorder.service import Service, address, checked_uuid, is_readable_on_the_way
from tests.conftest import HOME
from tests.recorder.standin import TAKEN, Answer, Request, refused, stand_in
from tests.servers import free_port


class Caller:
    """A service as the importer sees it. It notes the pauses instead of making them."""

    def __init__(self, url: str) -> None:
        self.pauses: list[float] = []
        self.said: list[str] = []
        self.service = Service(address(url), HOME, self.said.append, self.pauses.append)

    def upload(self) -> int:
        return self.service.upload(b"body", "key").records


def test_a_body_goes_with_its_key_and_the_home_in_a_header() -> None:
    with stand_in() as one:
        assert Caller(one.url).upload() == 1
    (request,) = one.requests
    assert (request.path, request.body) == ("/api/ingest/data", b"body")
    assert (request.headers["Home-UUID"], request.headers["Idempotency-Key"]) == (HOME, "key")


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(status: int) -> None:
    with stand_in(refused(status, "Too much", Retry_After="7"), refused(status, Retry_After="9")) as one:
        caller = Caller(one.url)
        caller.upload()
    assert caller.pauses == [7, 9]
    assert caller.said[0] == f"The service answers {status}: Too much; next attempt in 7 s"
    assert len({request.body for request in one.requests}) == 1


@pytest.mark.parametrize("asked", [{}, {"Retry_After": "soon"}])
def test_an_outage_is_retried_with_growing_pauses(asked: dict[str, str]) -> None:
    with stand_in(*[refused(503, **asked) for _ in range(8)]) as one:
        caller = Caller(one.url)
        caller.upload()
    assert caller.pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_wait_of_days_is_asked_again_within_the_hour() -> None:
    with stand_in(refused(503, Retry_After="999999")) as one:
        caller = Caller(one.url)
        caller.upload()
    assert caller.pauses == [3600]


def test_a_service_that_goes_away_is_waited_for() -> None:
    answers: list[Answer | None] = [TAKEN, None, None, TAKEN]

    def choose(_: Request) -> Answer | None:
        return answers.pop(0)

    with stand_in(choose=choose) as one:
        caller = Caller(one.url)
        caller.upload()
        caller.upload()
    assert caller.pauses == [1, 2]
    assert "does not answer" in caller.said[0]


def test_an_outage_without_an_end_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.recorder.service._PATIENCE_SECONDS", -1.0)
    with stand_in(refused(503)) as one, pytest.raises(ImportFault, match="run the command again"):
        Caller(one.url).upload()


def test_an_address_where_nobody_ever_answered_is_a_fault_at_once() -> None:
    with pytest.raises(ImportFault, match=r"nobody answers .* is the address right"):
        Caller(f"http://127.0.0.1:{free_port()}").upload()


@pytest.mark.parametrize(
    "answer",
    [(200, {}, b"<html>Welcome</html>"), (200, {}, b"{}"), refused(404), refused(405), (307, {"Location": "http://x/"}, b"")],
)
def test_another_kind_of_server_is_a_fault(answer: Answer) -> None:
    with stand_in(answer) as one, pytest.raises(ImportFault, match="not as the Ingest API does; is the address right"):
        Caller(one.url).upload()
    assert len(one.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 409, 410])
def test_a_refusal_is_told_in_the_services_words(status: int) -> None:
    with (
        stand_in(refused(status, "The body is wrong")) as one,
        pytest.raises(ImportFault, match=f"{status}: The body is wrong"),
    ):
        Caller(one.url).upload()


def test_a_body_that_is_too_large_is_a_fault_of_its_own() -> None:
    with stand_in(refused(413, "Too large")) as one, pytest.raises(BodyTooLarge, match="Too large"):
        Caller(one.url).upload()


def test_the_uuid_is_not_repeated_though_the_answer_does() -> None:
    with stand_in(refused(400, f"bad {HOME.upper()}\nhome")) as one, pytest.raises(ImportFault) as fault:
        Caller(one.url).upload()
    assert str(fault.value) == "The service answers 400: bad (the home's UUID) home"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://lake.example.org", "https://lake.example.org/api/ingest/data"),
        ("https://lake.example.org/", "https://lake.example.org/api/ingest/data"),
        ("http://[::1]:8000/sub/", "http://[::1]:8000/sub/api/ingest/data"),
        ("https://lake.example.org/api", "https://lake.example.org/api/ingest/data"),
        ("https://lake.example.org/api/ingest/data", "https://lake.example.org/api/ingest/data"),
    ],
)
def test_the_address_may_be_the_services_or_the_apis(given: str, url: str) -> None:
    assert address(given) == url


@pytest.mark.parametrize(
    "given",
    ["lake.example.org", "ftp://x", "https://", "http://u:p@x", "http://x?a=1", "http://x:port", "http://[x", "file:///x"],
)
def test_an_address_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ImportFault, match=r"--to must be the service's address, such as"):
        address(given)


def test_a_uuid_is_normalised_and_a_wrong_one_is_not_repeated() -> None:
    assert checked_uuid(f" {HOME.upper()}\n") == HOME
    with pytest.raises(ImportFault) as fault:
        checked_uuid(HOME.replace("-", ""))
    assert HOME[:8] not in str(fault.value)


def test_http_is_safe_only_within_the_machine() -> None:
    given = ("http://127.0.0.1:8000", "https://lake.example.org", "http://192.168.1.5")
    assert [is_readable_on_the_way(address(one)) for one in given] == [False, False, True]
