"""Looks that are shared among threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends.ports import StoreUnavailable
from smarthouse_api.coordination.single_flight import SingleFlight


class Store:
    """Gives how often it was looked at, once it is let."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.looks, self.fault = 0, fault
        self.begun, self.may_end = threading.Event(), threading.Event()

    def look(self) -> int:
        self.looks += 1
        number = self.looks
        self.begun.set()
        assert self.may_end.wait(10)
        if self.fault is not None:
            raise self.fault
        return number


def wait_until_asked(flights: SingleFlight[int], count: int) -> None:
    while flights._flights["a"].asked < count:
        threading.Event().wait(0.001)


def test_those_who_ask_during_a_look_share_the_next_one() -> None:
    flights, store = SingleFlight[int](), Store()
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(flights.ask, "a", store.look)
        assert store.begun.wait(10)
        late = [threads.submit(flights.ask, "a", store.look) for _ in range(8)]
        wait_until_asked(flights, 9)
        store.may_end.set()
        assert first.result(10) == 1
        assert {one.result(10) for one in late} == {2}


def test_a_fault_is_raised_to_each_and_the_next_who_asks_looks_again() -> None:
    fault = StoreUnavailable("it does not answer")
    flights, store = SingleFlight[int](), Store(fault)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(flights.ask, "a", store.look) for _ in range(4)]
        wait_until_asked(flights, 4)
        store.may_end.set()
        told = [one.exception(10) for one in asked]
    assert all(isinstance(one, StoreUnavailable) and str(one) == str(fault) for one in told)
    assert len({id(one) for one in told}) == 4
    store.fault, looks = None, store.looks
    assert flights.ask("a", store.look) == looks + 1


def test_another_name_waits_for_nobody() -> None:
    flights, store = SingleFlight[int](), Store()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(flights.ask, "a", store.look)
        assert store.begun.wait(10)
        assert flights.ask("b", lambda: 7) == 7
        store.may_end.set()
        assert waiting.result(10) == 1


def test_nothing_is_kept_once_nobody_asks() -> None:
    flights = SingleFlight[int]()
    with pytest.raises(ValueError, match="no"):
        flights.ask("a", lambda: int("no"))
    assert flights._flights == {}
