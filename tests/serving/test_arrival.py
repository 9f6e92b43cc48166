"""The arrival of a request: when a thread may serve it."""

from __future__ import annotations

import pytest

from smarthouse_api.serving.arrival import LONGEST_HEAD, Arrival

POST = b"POST /x HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def arrived(data: bytes, step: int = 1 << 20, longest_body: int = 1000) -> Arrival:
    arrival = Arrival(longest_body)
    for start in range(0, len(data), step):
        arrival.add(data[start : start + step])
    return arrival


@pytest.mark.parametrize("step", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize(
    "whole",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        POST + b"Content-Length: 5\r\n\r\n12345",
        POST + b"content-length:\t5 \r\n\r\n\r\n\r\n1",
        CHUNKED + b"5\r\n12345\r\n0\r\n\r\n",
        CHUNKED + b"5;name=value\r\n0\r\n\r\n\r\nA\r\n1234567890\r\n0\r\nTrailer: x\r\n\r\n",
    ],
)
def test_a_request_is_whole_with_its_last_byte_and_not_before(whole: bytes, step: int) -> None:
    assert arrived(whole, step).is_whole
    assert not arrived(whole[:-1], step).is_ready


@pytest.mark.parametrize(
    "hopeless",
    [
        POST + b"Content-Length: 1001\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET /" + b"x" * 9000,
        POST + b"X: " + b"x" * LONGEST_HEAD,
        CHUNKED + b"ZZ\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"1" * 9000,
        CHUNKED + b"FFFFFF\r\n" + bytes(LONGEST_HEAD + 1001),
        CHUNKED + b"0\r\n" + b"Trailer: x\r\n" * LONGEST_HEAD,
    ],
)
def test_a_request_that_is_refused_anyway_waits_for_no_more_bytes(hopeless: bytes) -> None:
    arrival = arrived(hopeless, 4096)
    assert (arrival.is_whole, arrival.is_hopeless) == (False, True)


def test_a_client_that_waits_for_the_word_to_go_on_is_noticed() -> None:
    assert arrived(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n").waits_for_continue
    assert not arrived(POST + b"Content-Length: 5\r\n\r\n").waits_for_continue
