"""A queue: one works at a time, and nothing is lost or done twice when a worker sleeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from backends.ports import ABSENT, Change, Conflict, StateStore
from backends.registry import open_state
from config.settings import Settings
from smarthouse_api.coordination.queue import Queue, Turn
from tests.conftest import Environment


@pytest.fixture
def state(environment: Environment) -> Iterator[StateStore]:
    with closing(open_state(Settings.from_env(environment).stores.state_url)) as one:
        yield one


@pytest.fixture(params=[None, {"guard": ABSENT}], ids=["without guards", "with guards"])
def queue(state: StateStore, request: pytest.FixtureRequest) -> Queue:
    queue = Queue(state, "space", "log", "turn", ttl_seconds=60, page=2, guards=request.param)
    state.commit("space", Change(appends=tuple(("log", b"%d" % number) for number in range(1, 6))))
    return queue


def values(queue: Queue) -> list[bytes]:
    return [entry.value for entry in queue.entries(0, queue.last())]


def test_entries_are_read_page_by_page_and_no_further_than_asked(queue: Queue) -> None:
    assert [entry.sequence for entry in queue.entries(1, 4)] == [2, 3, 4]


def test_what_is_moved_stands_at_the_end(queue: Queue) -> None:
    queue.move(queue.take_turn(), queue.read()[0])
    assert values(queue) == [b"2", b"3", b"4", b"5", b"1"]


def test_what_is_passed_over_is_dropped_and_nothing_else(queue: Queue) -> None:
    queue.go_on_after(queue.take_turn(), 9)
    assert (queue.last(), values(queue)) == (9, [b"1", b"2", b"3", b"4", b"5"])


@pytest.mark.parametrize(
    "act",
    [
        lambda queue, turn: queue.drop(turn, [1]),
        lambda queue, turn: queue.move(turn, queue.read()[0]),
        lambda queue, turn: queue.go_on_after(turn, 9),
        lambda queue, turn: queue.commit(turn, Change()),
    ],
    ids=["drop", "move", "go on", "commit"],
)
def test_whoever_has_lost_its_turn_changes_nothing(queue: Queue, act: Callable[[Queue, Turn], None]) -> None:
    first = queue.take_turn()
    queue.take_turn()
    with pytest.raises(Conflict):
        act(queue, first)
    assert values(queue) == [b"1", b"2", b"3", b"4", b"5"]


def test_a_turn_requires_its_guards(state: StateStore) -> None:
    queue = Queue(state, "space", "log", "turn", ttl_seconds=60, guards={"guard": ABSENT})
    state.put("space", "guard", b"")
    with pytest.raises(Conflict):
        queue.take_turn()
    assert state.get("space", "turn") is None
