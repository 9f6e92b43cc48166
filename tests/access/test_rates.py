"""Rate limits: counted for each caller, by many threads at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import pytest

from backends.ports import StateStore
from config.groups import AccessSettings
from smarthouse_api.access import windows
from smarthouse_api.access.rates import Rates
from smarthouse_api.errors import TooMany
from tests.backends.conftest import Backend
from tests.waiting import soon


@pytest.fixture
def hurried_threads() -> Iterator[None]:
    """Threads that take turns as often as they can, so that a race comes up."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_no_limit_is_never_reached() -> None:
    rates = Rates(AccessSettings(ingest_rate_home=""))
    for _ in range(1000):
        rates.count("home", "a")


def test_each_caller_is_counted_alone() -> None:
    rates = Rates(AccessSettings(ingest_rate_home="1/hour"))
    rates.count("home", "a")
    rates.count("home", "b")
    with pytest.raises(TooMany):
        rates.count("home", "a")


@pytest.mark.usefixtures("hurried_threads")
def test_threads_at_once_are_counted_exactly_and_none_fails() -> None:
    rates = Rates(AccessSettings(ingest_rate_home="2000/hour"))

    def ask(_: int) -> bool:
        try:
            rates.count("home", "a")
        except TooMany:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(ask, range(3000))) == 2000


@pytest.fixture(params=["redis_state", "fakeredis_state"])
def counting(request: pytest.FixtureRequest) -> Backend[StateStore]:
    return request.getfixturevalue(request.param)


def passed(rates: Rates, calls: int, caller: str = "a") -> int:
    """How many of so many calls pass."""
    count = 0
    for _ in range(calls):
        with suppress(TooMany):
            rates.count("home", caller)
            count += 1
    return count


def test_processes_that_share_a_store_that_counts_count_together(counting: Backend[StateStore]) -> None:
    ones = [Rates(AccessSettings(ingest_rate_home="50/hour"), counting.open()) for _ in range(3)]
    assert sum(passed(one, 20) for one in ones) == 50
    assert passed(ones[0], 1, "b") == 1


def test_a_large_limit_is_told_to_the_others_now_and_then(counting: Backend[StateStore]) -> None:
    ones = [Rates(AccessSettings(ingest_rate_home="1000/hour"), counting.open()) for _ in range(4)]
    together = sum(passed(one, 9) for one in ones) + sum(passed(one, 400) for one in ones)
    assert 1000 <= together <= 1040


def test_the_window_ends_for_all(counting: Backend[StateStore]) -> None:
    ones = [Rates(AccessSettings(ingest_rate_home="1/second"), counting.open()) for _ in range(2)]
    assert [passed(one, 1) for one in ones] == [1, 0]
    soon(lambda: passed(ones[1], 1))


def test_while_the_store_is_down_each_process_counts_for_itself(fakeredis_state: Backend[StateStore]) -> None:
    assert fakeredis_state.break_driver is not None
    rates = Rates(AccessSettings(ingest_rate_home="5/hour"), fakeredis_state.open())
    fakeredis_state.break_driver()
    assert passed(rates, 10) == 5


def test_no_caller_can_be_read_in_the_store(redis_state: Backend[StateStore]) -> None:
    assert redis_state.files is not None
    rates = Rates(AccessSettings(ingest_rate_home="5/hour"), redis_state.open())
    assert passed(rates, 3, "198.51.100.77") == 3
    assert b"198.51.100.77" not in redis_state.files()


def test_counting_starts_no_thread_and_keeps_no_window_that_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, before = Rates(AccessSettings(ingest_rate_home="5/second")), threading.active_count()
    now = [1.0]
    monkeypatch.setattr(windows, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for number in range(5000):
        now[0] += 0.01
        rates.count("home", str(number))
    assert threading.active_count() == before
    assert len(rates._windows._windows) <= 1200
