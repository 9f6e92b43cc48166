"""Rate limits: counted for each caller, by many threads at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from config.groups import AccessSettings
from smarthouse_api.access.rates import Rates
from smarthouse_api.errors import TooMany


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
