"""The ages of the two stores: a state that has lost its end is told, whatever it has lost, until a loss is accepted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backends.ports import Change
from smarthouse_api.backups.lists import Listed
from smarthouse_api.coordination.store_ages import AGE
from smarthouse_api.coordination.store_marks import SPACE
from smarthouse_api.errors import Unavailable
from smarthouse_api.house import House

FINE = "no older than the objects"


@pytest.fixture
def house(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """One whose minutes pass as often as it is asked."""
    monkeypatch.setattr(house.leases, "claim", lambda *_: True)
    return house


def grow(house: House, times: int = 1) -> None:
    for _ in range(times):
        house.ages.grow()


def test_a_state_that_lost_its_end_is_told_until_a_restore_and_nothing_hides_it_before(house: House) -> None:
    assert house.ages.condition() == FINE
    grow(house, 2)
    older = [*house.state.dump()]
    grow(house)
    house.access.create("reader", homes=[7])  # an older state has no trace of it, nor have the objects
    assert house.ages.condition() == FINE
    house.state.load(older)
    for _ in range(2):
        conditions, has_failed = house.health()
        assert not has_failed
        assert conditions["age"].startswith("warning: the state store has lost what was acknowledged after 2")
        assert [problem.name for problem in house.ages.problems()] == ["age"]
        grow(house, 2)  # as the chores go on
    house.backups.restore(Listed())
    assert house.ages.condition() == FINE
    grow(house)
    assert (house.ages.condition(), list(house.ages.problems())) == (FINE, [])


def test_a_damaged_age_of_the_objects_tells_nothing_and_is_written_anew(house: House) -> None:
    grow(house)
    house.objects.put(AGE, [b"{"])
    assert house.ages.condition() == FINE
    grow(house)
    assert house.objects.get(AGE).startswith(b'{"number":2')


def test_a_state_without_an_age_is_of_before_the_objects_that_have_one(make_house: Callable[..., House]) -> None:
    house = make_house()
    assert house.ages.condition() == FINE
    house.ages.grow()
    before = house.objects.get(AGE)
    house.ages.grow()  # within the same minute
    assert house.objects.get(AGE) == before
    house.state.commit(SPACE, Change(deletes=("age",)))
    with pytest.raises(Unavailable, match="at an unknown time"):
        house.ages.condition()
