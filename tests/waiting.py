"""Waiting for what another thread or process does, no longer than it takes; and time that passes without waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from smarthouse_api.house import House

T = TypeVar("T")


def soon(condition: Callable[[], T], seconds: float = 30) -> T:
    """What `condition` gives, as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.005)
    return found


def pass_time(house: House, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the state store's clock be ahead by so many seconds more."""
    clock = house.state.now
    monkeypatch.setattr(house.state, "now", lambda: clock() + seconds)
