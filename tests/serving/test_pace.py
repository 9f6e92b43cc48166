"""The pace of a client, and the socket that cuts one that is too slow."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from smarthouse_api.serving import connection, pace
from smarthouse_api.serving.connection import PacedSocket
from smarthouse_api.serving.pace import LEAST_BYTES_A_SECOND, Pace


class Clock:
    """A clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(pace, "time", self)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def lasts(clock: Clock, bytes_a_second: int, seconds: int) -> bool:
    one = Pace(20)
    for _ in range(seconds):
        clock.now += 1
        if one.left_seconds() <= 0:
            return False
        one.moved(bytes_a_second)
    return True


def test_a_trickle_is_too_slow_after_the_time_and_an_honest_client_never(clock: Clock) -> None:
    assert not lasts(clock, 1, 21)
    assert lasts(clock, 1, 19)
    assert lasts(clock, LEAST_BYTES_A_SECOND, 10_000)


def test_what_came_fast_buys_no_pause(clock: Clock) -> None:
    one = Pace(20)
    one.moved(16 << 20)
    assert one.left_seconds() == 20


def test_a_reader_that_takes_nothing_is_cut_and_one_that_takes_it_gets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_SEND_SECONDS", 0.05)
    data, got = bytes(4 << 20), bytearray()
    ours, theirs = socket.socketpair()
    with theirs, PacedSocket(ours.family, ours.type, ours.proto, ours.detach()) as paced:
        began = time.monotonic()
        with pytest.raises(ConnectionResetError):
            paced.sendall(data)
        assert time.monotonic() - began < 5
    ours, theirs = socket.socketpair()
    with theirs:
        reader = threading.Thread(target=lambda: [got.extend(piece) for piece in iter(lambda: theirs.recv(1 << 16), b"")])
        reader.start()
        with PacedSocket(ours.family, ours.type, ours.proto, ours.detach()) as paced:
            paced.sendall(data)
        reader.join()
    assert len(got) == len(data)
