"""Figures over time: one point for each step, however many housekeepers; gaps stay gaps; what is damaged costs itself."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from backends.ports import Change
from smarthouse_api.house import House
from smarthouse_api.states.uploads import Upload
from smarthouse_api.status.history import LAST_DAY, LAST_MONTH, History, Series
from tests.conftest import HOME, OTHER_HOME, Environment, payload, state
from tests.damaging import damage, flipped
from tests.waiting import soon

NOW = 1_800_000_000  # 08:00 UTC
SHARED = pytest.mark.parametrize("environment", ["embedded_pair", "production_pair"], indirect=True)


class Clock:
    """Has a house's state store tell this time, in seconds since 1970."""

    def __init__(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = float(NOW)
        monkeypatch.setattr(house.state, "now", lambda: self.at)


def forget_claim(house: House) -> None:
    house.state.commit("leases", Change(deletes=("claimed/history",)))


def note(house: House, clock: Clock, at: float, **figures: int) -> None:
    clock.at = at
    forget_claim(house)
    History(house.state, house.leases, lambda: figures).keep()


def test_a_step_has_one_point_whoever_notes_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(house, monkeypatch)
    asked, both = list[int](), threading.Barrier(2, timeout=10)

    def read(number: int) -> dict[str, int]:
        asked.append(number)
        both.wait()
        return {"homes": number}

    one, two = (History(house.state, house.leases, lambda number=number: read(number)) for number in (1, 2))  # type: ignore[misc]
    monkeypatch.setattr(house.leases, "claim", lambda *_: True)  # as if the first claim had expired
    threads = [threading.Thread(target=history.keep) for history in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(asked) == [1, 2]
    (first,) = (value for value in house.history.last(LAST_DAY).values("homes") if value is not None)
    clock.at += 299
    for history in (one, two, History(house.state, house.leases, dict)):
        history.keep()
    assert house.history.last(LAST_DAY).values("homes")[-1] == first
    assert house.history.last(LAST_MONTH).values("homes")[-1] == first
    assert len(asked) == 2


def test_points_are_kept_for_a_day_and_by_the_hour_for_a_month(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(house, monkeypatch)
    for step, (waiting, free) in enumerate(((3, 70), (9, 50), (4, 60))):
        note(house, clock, NOW + 300 * step, **{"waiting": waiting, "free/state": free, "rows": 100 + step})
    note(house, clock, NOW + 3 * 3600, waiting=1)
    day, month = house.history.last(LAST_DAY), house.history.last(LAST_MONTH)
    assert (day.begin + 287 * 300, month.begin + 767 * 3600) == (NOW + 3 * 3600, NOW + 3 * 3600)
    assert day.values("waiting")[-37:] == [3, 9, 4, *[None] * 33, 1]
    assert (month.values("waiting")[-4:], month.values("free/state")[-4:]) == ([9, None, None, 1], [50, None, None, None])
    assert (month.values("rows")[-4:], month.values("unknown")) == ([102, None, None, None], [None] * 768)
    clock.at = NOW + 86400
    assert [value for value in house.history.last(LAST_DAY).values("waiting") if value is not None] == [9, 4, 1]
    clock.at = NOW + 33 * 86400
    assert not house.history.last(LAST_MONTH).figures


def test_what_is_kept_is_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, kept = Clock(house, monkeypatch), dict[str, float | None]()
    commit = house.state.commit

    def noted(space: str, change: Change) -> object:
        kept.update({put.key: put.ttl_seconds for put in change.puts if space == "status"})
        return commit(space, change)

    monkeypatch.setattr(house.state, "commit", noted)
    told = {f"figure {number}": 10**12 for number in range(25)}
    for step in range(24):
        note(house, clock, NOW + 300 * step, **told)
    assert kept == {
        **{f"history/hour/{NOW // 3600 + hour}": 26 * 3600.0 for hour in range(2)},
        f"history/day/{NOW // 86400}": 34 * 86400.0,
    }
    sizes = [len(document.value) for _, document in house.state.scan_all("status", "history/hour/")]
    assert max(sizes) < 5000
    for hour in range(2, 16):  # to the end of the day
        note(house, clock, NOW + 3600 * hour, **told)
    (day,) = (document.value for _, document in house.state.scan_all("status", "history/day/"))
    assert len(day) * 36 + max(sizes) * 28 < 500_000


def test_a_total_tells_how_much_came_also_over_a_gap_and_never_less_than_nothing() -> None:
    series = Series(0, 300, 8, {"uploads": [None, 5, 5, None, None, 9, 2, 3]})
    assert series.growth("uploads") == [None, None, 0, None, None, 4, None, 1]


@SHARED
def test_uploads_are_counted_over_a_restart_and_over_a_forgotten_home(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(purge_delay_seconds=0)
    clock = Clock(house, monkeypatch)
    for number, home in enumerate((HOME, OTHER_HOME)):
        house.states.uploads.receive(Upload(home, payload(*(state(value=str(value)) for value in range(number + 1)))))
    house.history.keep()
    house.forgetting.forget(HOME)
    house.forgetting.try_purge()
    assert house.status.report().uploads.kept == 1
    again = make_house()
    monkeypatch.setattr(again.state, "now", lambda: clock.at + 300)
    again.states.uploads.receive(Upload(OTHER_HOME, payload(state(value="9"))))
    forget_claim(again)
    again.history.keep()
    series = again.history.last(LAST_DAY)
    assert (series.growth("uploads")[-1], series.growth("records")[-1]) == (1, 1)
    assert (series.values("uploads")[-2:], series.values("homes")[-2:]) == ([2, 3], [2, 1])
    assert series.values("waiting")[-1] == 2
    text = b"".join(document.value for _, document in again.state.scan_all("status", "history/")).decode()
    home = again.states.homes.find(OTHER_HOME)
    assert home is not None
    assert (OTHER_HOME in text, home.key in text) == (False, False)


@SHARED
def test_a_damaged_document_costs_its_own_points(
    house: House, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.begin()
    clock = Clock(house, monkeypatch)
    for hour in (1, 2):
        note(house, clock, NOW + 3600 * hour, homes=hour)
    for number in (1, 2):
        found = house.state.get("status", f"history/hour/{NOW // 3600 + number}")
        assert found is not None
        damage(environment, found.value, flipped(found.value))
        assert [value for value in house.history.last(LAST_DAY).values("homes") if value] == [2] * (2 - number)
        assert house.history.last(LAST_MONTH).values("homes")[-2:] == [1, 2]
    monkeypatch.undo()
    clock = Clock(house, monkeypatch)
    clock.at = NOW + 2 * 3600 + 300
    forget_claim(house)
    soon(lambda: (house.housekeeper.keep(), house.history.last(LAST_DAY).values("homes")[-1] == 0)[1])
