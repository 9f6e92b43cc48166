"""What an owner looks at, as the rule finds it, on each pair of stores and by each kind of privacy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from config.settings import Settings
from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.house import House
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, OTHER_HOME, Environment, changed, payload, state

AT_US = 1_772_366_400_000_000
"""2026-03-01T12:00Z, which is when `state` is."""


def given(house: House) -> House:
    house.installation.settle()
    sent = [
        state("sensor.kitchen_power", "5", unit_of_measurement="W"),
        state("sensor.kitchen_power", "unavailable", "2026-03-01T13:00:00+00:00", unit_of_measurement="W"),
        state("sensor.secret_place", "somewhere"),
        state("sun.sun", "above_horizon"),
    ]
    house.states.uploads.receive(Upload(HOME, payload(*sent)))
    house.states.uploads.receive(Upload(HOME, payload(sent[0])))  # a repeat
    house.states.uploads.receive(Upload(OTHER_HOME, payload(state("sensor.of_another", "1", unit_of_measurement="W"))))
    house.states.chores.flush()
    return house


def test_an_owner_sees_each_entity_of_the_own_home_once(make_house: Callable[..., House]) -> None:
    house = given(make_house())
    looking, home = house.archives.looking, house.states.homes.find(HOME)
    assert home is not None
    found = {one.id: one for one in looking.entities(home).entities}
    assert set(found) == {"sensor.kitchen_power", "sensor.secret_place", "sun.sun"}
    power = found["sensor.kitchen_power"]
    assert (power.states, power.unit, power.first_us, power.last_us) == (2, "W", AT_US, AT_US + DAY_US // 24)
    assert (power.published, power.published_state) == ("sensor.kitchen_power", "unavailable")
    assert found["sensor.secret_place"].published_state == "redacted"
    assert "secret" not in (found["sensor.secret_place"].published or "")
    assert found["sun.sun"].published is None
    assert {one.id for one in found.values() if not one.is_publishable} == {"sun.sun"}
    assert looking.entities(None).entities == ()
    history = looking.history(home, "sensor.kitchen_power", AT_US - DAY_US, AT_US + DAY_US)
    assert (history.at.tolist(), history.words) == ([AT_US, AT_US + DAY_US // 24], ["5", "unavailable"])
    assert history.values[0] == 5
    assert looking.history(home, "sensor.kitchen_power", AT_US + DAY_US, AT_US + 2 * DAY_US).words == []
    assert looking.history(home, "sensor.of_another", 0, 2 * AT_US).words == []


@pytest.mark.parametrize(
    ("settings", "published", "has_pseudonym"),
    [
        ({"export_privacy": "raw"}, "sensor.kitchen_power", True),
        ({"export_privacy": "strict"}, None, True),
        ({"export_pseudonyms": "rotating"}, "sensor.kitchen_power", False),
    ],
)
def test_it_is_what_an_export_publishes(
    embedded_pair: Environment, settings: dict[str, str], published: str | None, has_pseudonym: bool
) -> None:
    house = given(House(Settings.from_env(changed(embedded_pair, **settings))))
    looked = house.archives.looking.entities(house.states.homes.find(HOME))
    assert {one.id: one.published for one in looked.entities}["sensor.kitchen_power"] == published
    assert (looked.pseudonym is not None) == has_pseudonym
    house.close()
