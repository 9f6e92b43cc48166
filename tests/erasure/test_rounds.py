"""When receipts of erasure move on: at the same times for known and unknown homes, and never before it is true."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from backends.ports import StoreUnavailable
from smarthouse_api.house import House
from tests.conftest import HOME, OTHER_HOME, on_pairs
from tests.erasure.asking import THIRD_HOME, erased, keep, same, seconds_until_told, told, upload
from tests.waiting import pass_time

environment = on_pairs("memory_pair")


@pytest.mark.parametrize("environment", ["embedded_pair", "production_pair"], indirect=True)
@pytest.mark.parametrize("delay", [0, 30])
def test_known_and_unknown_homes_pass_through_the_same_states_at_the_same_times(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch, delay: int
) -> None:
    house, seen = make_house(purge_delay_seconds=delay), list[str]()
    upload(house)
    found = house.states.homes.find(HOME)
    assert found is not None
    ids = [erased(house), erased(house, OTHER_HOME)]
    assert len(ids[0]) == len(ids[1])
    for _ in range(16):
        known, unknown = (told(house, id_) for id_ in ids)
        assert same(known) == same(unknown)
        seen += [known["state"]] * (known["state"] not in seen)
        assert not [secret for secret in (HOME, found.key, found.tag) if secret in json.dumps([ids, known])]
        pass_time(house, 40, monkeypatch)
        keep(house)
    has_bin = house.objects.bin_seconds > 0
    assert seen == (["hidden", "pending", "erased"] if has_bin else ["hidden", "erased"])
    assert [one["bin_empty_at"] is not None for one in known["stores"]] == [False, has_bin, has_bin]
    assert {one["waits_for"] for one in known["stores"]} == {None}
    assert [seconds_until_told(one) for one in (known, unknown)] == [delay + 180 + 330 * has_bin] * 2
    assert house.receipts.tell(ids[0]) == house.receipts.tell(ids[0])  # it says the same for ever


def test_homes_that_are_erased_all_the_time_keep_no_receipt_from_its_end(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(purge_delay_seconds=5)
    upload(house)
    ids = [erased(house)]
    for number in range(12):
        upload(house, f"{number:08x}{HOME[8:]}")
        ids.append(erased(house, f"{number:08x}{HOME[8:]}"))
        pass_time(house, 20, monkeypatch)
        keep(house)
    states = [told(house, id_)["state"] for id_ in ids]
    assert "hidden" not in states[:2]
    assert states[-1] == "hidden"


@pytest.mark.parametrize("owed", ["scrub", "purge"])
def test_no_receipt_says_erased_while_a_purge_or_a_scrub_fails(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch, owed: str
) -> None:
    house = make_house(purge_delay_seconds=5)
    upload(house)
    house.states.chores.flush()
    ids = [erased(house), erased(house, OTHER_HOME)]

    def fail(*_: Any) -> None:
        raise StoreUnavailable("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(*((house.state, "scrub") if owed == "scrub" else (house.states.table, "delete_homes")), fail)
        patch.setattr(house.states.rebuilding, "look_at_all", lambda: None)
        for _ in range(5):
            pass_time(house, 100, patch)
            for chore in (house.forgetting.try_purge, house.forgetting.end_rounds):
                try:
                    chore()
                except StoreUnavailable:
                    continue
        assert [told(house, id_)["state"] for id_ in ids] == ["hidden"] * 2
    pass_time(house, 510, monkeypatch)
    for _ in range(3):
        keep(house)
        pass_time(house, 100, monkeypatch)
    pass_time(house, 500, monkeypatch)
    receipts = [told(house, id_) for id_ in ids]
    assert "hidden" not in [one["state"] for one in receipts]
    assert seconds_until_told(receipts[0]) == seconds_until_told(receipts[1])
    late = erased(house, THIRD_HOME)  # for a day, all wait as long as the slow one
    for _ in range(4):
        pass_time(house, 100, monkeypatch)
        keep(house)
    assert told(house, late)["state"] == "hidden"
    pass_time(house, 1000, monkeypatch)
    assert told(house, late)["state"] != "hidden"


def test_a_state_of_before_the_request_learns_of_a_receipt(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = erased(house)
    house.state.erase("erasure")
    assert told(house, id_)["state"] == "hidden"
    pass_time(house, 200, monkeypatch)
    keep(house)
    assert told(house, id_)["state"] != "hidden"


def test_a_receipt_that_was_asked_for_earlier_leaves_the_later_one_its_round(house: House) -> None:
    rounds = house.rounds
    now = rounds.now()
    rounds.ask(now)
    rounds.ask(now - 5_000_000)
    assert rounds.is_wanted()
    rounds.quiet(now - 1_000_000)
    assert rounds._asked() == now
