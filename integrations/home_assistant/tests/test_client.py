"""What the client makes of answers that no SmartHouse service gives."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from aiohttp import web

from custom_components.smarthouse.client import Client, Fault, ServiceError
from tests.conftest import HOME, Answer, Service, problem

KEY = "the-key-of-this-home"


@pytest.fixture
async def client(service: Service) -> Any:
    async with aiohttp.ClientSession() as session:
        yield Client(session, service.url, HOME, KEY)


def answers(**given: Any) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(**given)

    return answer


async def fault_of(asked: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await asked
    return caught.value


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (answers(text="<html>", content_type="text/html"), Fault.NOT_SMARTHOUSE),
        (answers(text="[]", content_type="application/json"), Fault.NOT_SMARTHOUSE),
        (answers(text="{}", content_type="application/json"), Fault.NOT_SMARTHOUSE),
        (answers(text='{"records": "many"}', content_type="application/json"), Fault.NOT_SMARTHOUSE),
        (answers(text="[" * 100_000, content_type="application/json"), Fault.NOT_SMARTHOUSE),
        (answers(body=b" " * (5 << 20)), Fault.NOT_SMARTHOUSE),
        (answers(status=302, headers={"Location": "/elsewhere"}), Fault.NOT_SMARTHOUSE),
        (answers(status=401, text="<html>"), Fault.NOT_SMARTHOUSE),
        (answers(status=403, text="<html>"), Fault.NOT_SMARTHOUSE),
        (problem(403), Fault.KEY_WRONG),
        (problem(408), Fault.UNAVAILABLE),
        (problem(425), Fault.UNAVAILABLE),
        (answers(text='{"records": 0, "ignored": 3, "detail": "cannot be decoded"}'), Fault.REJECTED),
    ],
)
async def test_an_upload_is_taken_only_if_the_service_says_so(
    service: Service, client: Client, answer: Answer, fault: Fault
) -> None:
    service.faults = [answer]
    assert (await fault_of(client.upload(b"", "1"))).fault is fault
    assert len(service.requests) == 1


async def test_bytes_that_were_there_already_are_taken(service: Service, client: Client) -> None:
    service.faults = [answers(text='{"records": 0, "ignored": 0, "duplicate": true}')]
    assert (await client.upload(b"", "1")).duplicate


@pytest.mark.parametrize("secret", [HOME.upper(), HOME.replace("-", ""), KEY])
async def test_words_that_repeat_a_secret_are_dropped(service: Service, client: Client, secret: str) -> None:
    service.faults = [problem(400, f"No home {secret} here")]
    assert (await fault_of(client.upload(b"", "1"))).detail == ""


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("7", 7),
        ("99999", 3600),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 3600),
        ("soon", None),
        ("", None),
    ],
)
async def test_the_service_may_ask_to_wait(service: Service, client: Client, given: str, seconds: float | None) -> None:
    service.faults = [problem(503, **{"Retry-After": given})]
    assert (await fault_of(client.upload(b"", "1"))).retry_after == seconds


async def test_an_erasure_without_a_receipt_is_none(service: Service, client: Client) -> None:
    service.faults = [answers(text="{}")]
    assert (await fault_of(client.forget(stop=False))).fault is Fault.NOT_SMARTHOUSE


@pytest.mark.parametrize(("status", "fault"), [(503, Fault.UNAVAILABLE), (429, Fault.UNAVAILABLE), (404, Fault.NOT_SMARTHOUSE)])
async def test_a_service_that_is_down_is_told_from_what_is_none(
    service: Service, client: Client, status: int, fault: Fault
) -> None:
    service.document_status = status
    assert (await fault_of(client.check())).fault is fault
