"""Answers that take the same time, whatever took how long."""

from __future__ import annotations

import pytest

from backends.memory import MemoryState
from backends.ports import StoreUnavailable
from smarthouse_api.coordination import answer_times
from smarthouse_api.coordination.answer_times import AnswerTimes


@pytest.fixture
def took(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a request that began at 100 took: its last item."""
    seconds = [0.0]
    monkeypatch.setattr(answer_times.time, "monotonic", lambda: 100 + seconds[-1])
    return seconds


def after(times: AnswerTimes, seconds: float, took: list[float], *, has_failed: bool = False) -> float:
    took.append(0.0)
    begun = times.begin()
    took.append(seconds)
    return times.due_at(begun, has_failed=has_failed) - 100.0


def test_all_are_answered_as_late_as_the_slowest_in_every_process(took: list[float]) -> None:
    state = MemoryState("memory://")
    one, other = (AnswerTimes(state, "forget", 0.5) for _ in range(2))
    assert [after(one, seconds, took) for seconds in (0.0, 0.01, 0.5)] == [0.5] * 3
    assert after(one, 0.6, took) == after(other, 0.01, took) == after(one, 0.74, took) == 0.75
    assert after(other, 4.0, took) == after(one, 0.01, took) == one.seconds() == pytest.approx(0.5 * 1.5**6)


def test_one_that_waited_for_downloads_slows_down_only_those_while_data_is_sent(took: list[float]) -> None:
    is_busy = True
    times = AnswerTimes(MemoryState("memory://"), "forget", 0.5, lambda: is_busy)
    assert after(times, 10.0, took) == after(times, 0.01, took) == pytest.approx(0.5 * 1.5**8)
    is_busy = False
    assert after(times, 0.01, took) == times.seconds() == 0.5
    assert after(times, 0.7, took) == 0.75
    is_busy = True
    assert after(times, 0.01, took) == pytest.approx(0.5 * 1.5**8)


def test_one_that_failed_is_as_late_and_slows_down_no_other(took: list[float]) -> None:
    times = AnswerTimes(MemoryState("memory://"), "forget", 0.5)
    assert after(times, 9.0, took, has_failed=True) == after(times, 0.01, took, has_failed=True) == 0.5
    assert after(times, 0.01, took) == 0.5


def test_no_answer_is_later_than_proxies_wait(took: list[float]) -> None:
    times = AnswerTimes(MemoryState("memory://"), "forget", 0.5)
    assert after(times, 100.0, took) == after(times, 0.01, took) == 30.0


def test_while_the_state_does_not_answer_the_least_time_holds(took: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    state = MemoryState("memory://")

    def fail(*_: object) -> None:
        raise StoreUnavailable("down")

    monkeypatch.setattr(state, "get", fail)
    assert after(AnswerTimes(state, "forget", 0.5, lambda: fail() is None), 3.0, took, has_failed=True) == 0.5
