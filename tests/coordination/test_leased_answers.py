"""Answers under way: how many at a time, what a lost lease breaks off, and what the end of one gives back."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from smarthouse_api.coordination.leased_answers import LeasedAnswer, Slots
from smarthouse_api.coordination.leases import LeaseLost, Leases
from smarthouse_api.errors import Unavailable
from smarthouse_api.house import House


@pytest.fixture
def leases(house: House) -> Leases:
    return Leases(house.state, seconds=30)


def test_no_more_are_made_at_once_than_there_are_slots() -> None:
    slots = Slots(1, "Come back")
    with slots, pytest.raises(Unavailable, match="Come back"), slots:
        raise AssertionError("taken twice")
    with slots:
        pass


def test_what_was_read_ahead_is_not_sent_after_the_lease(leases: Leases) -> None:
    lease = leases.share("lake")
    chunks = LeasedAnswer(lease, ExitStack())._while_leased([b"a", b"b"])
    assert next(chunks) == b"a"
    leases.break_shared("lake", 0)
    with pytest.raises(LeaseLost):
        next(chunks)
    lease.release()


def test_closing_ends_everything_once_in_the_opposite_order(leases: Leases) -> None:
    ended: list[str] = []
    with ExitStack() as ending:
        for what in ("slot", "lease", "reading"):
            ending.callback(ended.append, what)
        answer = LeasedAnswer(leases.share("lake"), ending.pop_all())
    assert ended == []
    closers = [threading.Thread(target=answer.close) for _ in range(4)]
    for one in closers:
        one.start()
    for one in closers:
        one.join()
    assert ended == ["reading", "lease", "slot"]
