"""Work that is done side by side: what comes of it, how much at once, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

import pytest

from smarthouse_api.states.jobs.side_by_side import Ended, Places, side_by_side

Check = Callable[[], None]


def nothing() -> None:
    pass


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("side-by-side")]


def test_results_come_once_they_are_there_and_no_more_work_is_under_way_than_there_are_places() -> None:
    may_end, running, most = threading.Event(), list[int](), list[int]()

    def work(number: int) -> Callable[[Check], int]:
        def act(check: Check) -> int:
            running.append(number)
            most.append(len(running))
            if number == 0:
                assert may_end.wait(10)
            running.remove(number)
            return number

        return act

    with closing(side_by_side(map(work, range(6)), Places(2), nothing)) as results:
        found = [next(results) for _ in range(5)]
        assert (found, running) == ([1, 2, 3, 4, 5], [0])
        may_end.set()
        assert list(results) == [0]
    assert max(most) == 2
    assert threads() == []
    assert list(side_by_side([], Places(2), nothing)) == []


def test_places_are_shared_and_everybody_has_one() -> None:
    places, shares = Places(4), [Places(4).share]
    with ExitStack() as others:
        for _ in range(5):
            others.enter_context(places.shared())
            shares.append(places.share)
    assert shares == [4, 4, 2, 1, 1, 1]
    assert places.share == 4


@pytest.mark.parametrize("culprit", ["work", "look", "taker"])
def test_what_goes_wrong_ends_all_within_a_second(culprit: str) -> None:
    ended, began = list[int](), threading.Semaphore(0)

    def last(check: Check) -> int:
        began.release()
        try:
            while True:
                check()
                time.sleep(0.005)
        except Ended:
            ended.append(1)
            raise

    def fail(check: Check) -> int:
        assert all(began.acquire(timeout=10) for _ in range(2))
        if culprit == "taker":
            return 1
        if culprit == "look":
            last(check)
        raise KeyError(culprit)

    def look() -> None:
        if culprit == "look":
            raise KeyError(culprit)

    started = time.monotonic()
    with closing(side_by_side([last, last, fail, last], Places(3), look)) as results:
        if culprit == "taker":
            assert next(results) == 1
        else:
            with pytest.raises(KeyError, match=culprit):
                next(results)
    assert time.monotonic() - started < 1
    assert len(ended) >= 2
    assert threads() == []
