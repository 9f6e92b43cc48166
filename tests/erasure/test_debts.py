"""What is owed to forgotten homes is not struck out by who pays an earlier debt."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from backends.ports import Change
from smarthouse_api.erasure.debts import OWED_SCRUB, Debts
from smarthouse_api.house import House
from smarthouse_api.states.homes import SPACE
from tests.conftest import on_pair

environment = on_pair("memory_pair")


def test_a_purge_that_was_asked_for_meanwhile_stays_due(make_house: Callable[..., House]) -> None:
    debts = Debts(make_house().state)
    assert math.isinf(debts.due())
    first = debts.ask_for_purge(10.0)
    second = debts.ask_for_purge(20.0)
    debts.purged(first)
    assert debts.due() == 20.0
    debts.purged(second)
    assert math.isinf(debts.due())


def test_a_scrub_that_is_owed_anew_meanwhile_stays_owed(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = make_house().state
    debts, owed = Debts(state), Change(puts=(OWED_SCRUB,))
    state.commit(SPACE, owed)
    with monkeypatch.context() as patch:
        patch.setattr(state, "scrub", lambda: state.commit(SPACE, owed))
        debts.scrub()
    assert debts.is_scrub_owed()
    debts.scrub()
    assert not debts.is_scrub_owed()
