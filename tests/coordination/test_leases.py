"""Leases: one holder, readers that can be waited for and broken off, a holder that died."""

from __future__ import annotations

import time
from typing import Any

import pytest

from backends.ports import StoreUnavailable
from smarthouse_api.coordination.leases import LeaseLost, Leases
from smarthouse_api.house import House


@pytest.fixture
def leases(house: House) -> Leases:
    return Leases(house.state, seconds=30)


@pytest.fixture
def short_leases(house: House) -> Leases:
    return Leases(house.state, seconds=0.05)


def test_only_one_holds_a_name(leases: Leases) -> None:
    held = leases.try_hold("lake")
    assert held is not None
    assert leases.try_hold("lake") is None
    held.release()


def test_a_released_name_can_be_held_again(leases: Leases) -> None:
    first = leases.try_hold("lake")
    assert first is not None
    first.release()
    second = leases.try_hold("lake")
    assert second is not None
    second.release()


def test_waiting_for_a_held_name_ends(leases: Leases) -> None:
    held = leases.try_hold("lake")
    assert held is not None
    with pytest.raises(TimeoutError), leases.hold("lake", wait_seconds=0.05):
        raise AssertionError("held twice")
    held.release()


@pytest.mark.alone
def test_a_living_holder_keeps_its_lease_beyond_its_seconds(house: House) -> None:
    leases = Leases(house.state, seconds=0.5)  # a busy machine may let a heart wait for a tenth of a second
    held = leases.try_hold("lake")
    assert held is not None
    with pytest.raises(TimeoutError), leases.hold("lake", wait_seconds=1):
        raise AssertionError("held twice")
    held.check()
    held.release()


def test_a_dead_holders_lease_times_out(short_leases: Leases) -> None:
    dead = short_leases.try_hold("lake")
    assert dead is not None
    dead._ended.set()  # its heart stops, as in a process that was killed
    with short_leases.hold("lake", wait_seconds=5) as next_one:
        next_one.check()
        with pytest.raises(LeaseLost):
            dead.check()


def test_readers_share_and_are_counted(leases: Leases) -> None:
    first, second = leases.share("lake"), leases.share("lake")
    assert len(leases.shared("lake")) == 2
    first.release()
    second.release()
    assert not leases.shared("lake")


def test_breaking_readers_waits_for_those_that_end(leases: Leases) -> None:
    leases.share("lake").release()
    assert leases.break_shared("lake", wait_seconds=5) == 0


def test_a_reader_that_stays_is_broken_off(leases: Leases) -> None:
    reader = leases.share("lake")
    assert leases.break_shared("lake", wait_seconds=0) == 1
    with pytest.raises(LeaseLost):
        reader.check()
    reader.release()


def test_a_readers_lease_is_no_holders(leases: Leases) -> None:
    reader = leases.share("lake")
    held = leases.try_hold("lake")
    assert held is not None
    held.release()
    reader.release()


def test_a_beat_whose_answer_was_lost_does_not_lose_the_lease(house: House) -> None:
    lease = Leases(house.state, seconds=1).try_hold("lake")
    assert lease is not None
    found = house.state.get("leases", "one/lake")
    assert found is not None
    house.state.put("leases", "one/lake", found.value, ttl_seconds=1.5)  # what such a beat leaves
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        lease.check()
        time.sleep(0.01)
    lease.release()
    assert house.state.get("leases", "one/lake") is None


@pytest.mark.parametrize("is_done", [False, True], ids=["not heard", "heard, and the answer lost"])
@pytest.mark.parametrize("step", ["taking", "giving back"])
def test_a_lease_is_free_soon_after_its_store_is_back(
    house: House, monkeypatch: pytest.MonkeyPatch, step: str, is_done: bool
) -> None:
    leases, name = Leases(house.state, seconds=30), "put" if step == "taking" else "commit"
    method = getattr(house.state, name)

    def cut(*args: Any, **options: Any) -> None:
        if is_done:
            method(*args, **options)
        raise StoreUnavailable("cut")

    held = leases.try_hold("lake") if step == "giving back" else None
    with monkeypatch.context() as away:
        away.setattr(house.state, name, cut)
        if held is not None:
            held.release()
        else:
            with pytest.raises(StoreUnavailable):
                leases.try_hold("lake")
        time.sleep(0.05)
    with leases.hold("lake", wait_seconds=5) as next_one:
        next_one.check()


def test_what_was_claimed_is_anothers_only_after_its_time(leases: Leases) -> None:
    assert leases.claim("sweep", 30)
    assert not leases.claim("sweep", 30)
    leases.prolong("sweep", 0)
    assert leases.claim("sweep", 30)
