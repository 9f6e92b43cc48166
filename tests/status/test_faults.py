"""Faults: what any process logged as wrong is found in one place, bounded, with its newest words."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from backends.memory import MemoryState
from backends.ports import StateStore, StoreUnavailable
from smarthouse_api.status.faults import Faults

log = logging.getLogger("smarthouse_api.test")


@pytest.fixture
def state() -> StateStore:
    return MemoryState("memory://")


@pytest.fixture
def faults(state: StateStore) -> Iterator[Faults]:
    faults = Faults(state)
    logging.getLogger().addHandler(faults)
    yield faults
    logging.getLogger().removeHandler(faults)


def test_faults_of_one_kind_are_one_with_the_newest_words(state: StateStore, faults: Faults) -> None:
    for number in range(3):
        log.warning("chore %d failed", number)
    log.error("another")
    log.info("no fault")
    logging.getLogger("werkzeug").error("of a library")
    faults.save()
    log.warning("chore %d failed", 3)
    faults.save()
    newest = Faults(state).newest()
    assert [(one.what, one.count, one.level) for one in newest] == [("chore 3 failed", 4, "warning"), ("another", 1, "error")]
    assert newest[0].first < newest[0].last
    assert newest[0].component == "smarthouse_api.test"


def test_an_exception_is_named_and_its_words_are_not(faults: Faults) -> None:
    try:
        raise ValueError("a secret")
    except ValueError:
        log.exception("unexpected fault")
    faults.save()
    assert [one.what for one in faults.newest()] == ["unexpected fault (ValueError)"]


def test_only_the_newest_kinds_are_kept(faults: Faults) -> None:
    for number in range(120):
        log.error(f"kind {number:03d}")  # each is a kind of its own
        if number % 40 == 39:
            faults.save()
    newest = [one.what for one in faults.newest()]
    assert len(newest) == 100
    assert newest[0] == "kind 119"


def test_a_store_that_fails_loses_no_fault_and_breaks_nothing(
    state: StateStore, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("gone")

    log.error("first")
    monkeypatch.setattr(state, "put", fail)
    with pytest.raises(StoreUnavailable):
        faults.save()
    log.error("first")
    monkeypatch.undo()
    faults.save()
    faults.save()
    assert [(one.what, one.count) for one in faults.newest()] == [("first", 2)]
