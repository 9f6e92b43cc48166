"""What is published of a home: names, states, units, attributes and times."""

from __future__ import annotations

import gc
import json
import weakref
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from smarthouse_api.states.records.privacy import Redactor, home_name
from smarthouse_api.states.records.rules import REDACTED
from smarthouse_api.states.records.schema import ROWS
from smarthouse_api.states.vocabulary import facts
from tests.states.records.redacting import NOW, SECRET, batch, published, redacted

POWER = {"device_class": "power", "unit_of_measurement": "W"}


def state_of(entity_id: str, state: str, attributes: dict[str, Any] | None = None, **rules: Any) -> tuple[str, float | None]:
    (row,) = published({"entity_id": entity_id, "state": state, "attributes": attributes}, **rules)
    return row["state"], row["value"]


def id_of(entity_id: str, **rules: Any) -> str:
    return str(published({"entity_id": entity_id}, **rules)[0]["entity_id"])


def attributes_of(attributes: dict[str, Any], entity_id: str = "climate.hall", **rules: Any) -> Any:
    return json.loads(published({"entity_id": entity_id, "attributes": attributes}, **rules)[0]["attributes"])


@pytest.mark.parametrize(
    ("unit", "told", "state"), [("℃", "℃", "21"), ("㎾", "㎾", "21"), ("㎞", "㎞", REDACTED), ("℃ in bed", None, REDACTED)]
)
def test_a_unit_is_known_however_it_is_encoded(unit: str, told: str | None, state: str) -> None:
    (row,) = published({"entity_id": "sensor.x", "state": "21", "attributes": {"unit_of_measurement": unit}})
    assert (row["unit"], row["state"]) == (told, state)


def test_published_rows_have_the_columns_of_an_export() -> None:
    assert redacted(Redactor(SECRET), batch({"entity_id": "sensor.x"})).cast(ROWS).schema == ROWS


def test_the_engines_own_types_of_column_are_accepted() -> None:
    plain = batch({"entity_id": "person.ann", "state": "Gym"}, {"entity_id": "sensor.x"})
    views = {name: plain.column(name) for name in plain.schema.names}
    views |= {name: plain.column(name).cast(pa.string_view()) for name in ("entity_id", "state", "type", "attributes")}
    told = redacted(Redactor(SECRET), pa.RecordBatch.from_pydict(views))
    assert told.to_pylist() == redacted(Redactor(SECRET), plain).to_pylist()


def test_a_home_has_the_same_pseudonym_in_every_export_and_no_two_homes_share_one() -> None:
    first = published({"entity_id": "sensor.x"}, {"entity_id": "sensor.x", "home": "k2"})
    again = published({"entity_id": "sensor.y", "home": "k2"})
    assert first[0]["home"] != first[1]["home"] == again[0]["home"]


def test_another_secret_gives_other_pseudonyms() -> None:
    row = {"entity_id": "person.ann"}
    one, other = published(row)[0], published(row, secret=b"another")[0]
    assert one["home"] != other["home"]
    assert one["entity_id"] != other["entity_id"]


def test_a_pseudonym_is_never_read_as_a_number() -> None:
    homes = {home_name(SECRET, str(key)) for key in range(500)}
    assert len(homes) == 500
    assert all(home.startswith("home_") and "k" not in home[5:] for home in homes)


def test_the_names_of_an_export_go_with_it_and_wait_for_no_garbage_collection() -> None:
    gc.disable()
    try:
        redactor = Redactor(SECRET)
        redacted(redactor, batch({"entity_id": "person.alice"}))
        kept = weakref.ref(redactor)
        del redactor
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("domain", facts.judged("publication")["unpublished_domains"])
def test_some_domains_are_not_published_at_all(domain: str) -> None:
    assert published({"entity_id": f"{domain}.x"}, {"entity_id": f"{domain}_x", "type": domain}) == []
    assert published({"entity_id": "odd", "type": domain}) == []


SUN = """
    sensor.sun_next_dawn sensor.sun_next_setting sensor.sun_solar_elevation binary_sensor.sun_solar_rising sensor.home_sunset
    sensor.sonne_nachste_morgendammerung sensor.soleil_prochaine_aube sensor.sol_proximo_amanecer sensor.next_rising
    automation.lights_at_sunset input_datetime.dusk sensor.sunrise2 sensor.sun2_rising
    sensor.ｓunrise sensor.sun\u200brise sensor.Sunset
"""


@pytest.mark.parametrize("entity_id", SUN.split())
def test_what_tells_the_suns_times_is_not_published(entity_id: str) -> None:
    assert published({"entity_id": entity_id}) == []


@pytest.mark.parametrize("entity_id", ["sensor.solar_power", "cover.sun_shade", "sensor.sunday_energy", "light.dusky"])
def test_what_only_sounds_like_the_sun_is_published(entity_id: str) -> None:
    assert len(published({"entity_id": entity_id})) == 1


@pytest.mark.parametrize(
    ("uploaded", "told"),
    [
        ("sensor.kitchen_temperature_2", "sensor.kitchen_temperature_2"),
        ("light.luz_da_sala", "light.*_da_sala"),
        ("sensor.kuche_temperatur", "sensor.kuche_temperatur"),
        ("automation.wake_maria_for_chemo", "automation.wake_*_for_*"),
        ("switch.joaos_iphone", "switch.*_*"),
        ("weather.rua_das_flores", "weather.*_das_*"),
        ("sensor.plug_351912345678_power", "sensor.plug_*_power"),
        ("sensor.phone_91_23_45_67", "sensor.phone_*_*_*_*"),
        ("sensor.room_1_pm25_2", "sensor.room_1_pm25_2"),
        ("light.bas_tor", "light.*_*"),
        ("person.ann", "person.*"),
        ("weather_station.temp", "weather_station.temp"),
        ("anna_smith.temp", "unknown.*"),
        ("Anna Smith", "unknown.*"),
        ("PERSON.ann", "person.*"),
    ],
)
def test_words_that_are_not_listed_become_tokens(uploaded: str, told: str) -> None:
    words = id_of(uploaded).replace(".", "_").split("_")
    assert ["*" if len(word) == 11 and word[0] == "x" else word for word in words] == told.replace(".", "_").split("_")


def test_one_word_has_one_token_in_a_home_and_another_in_another() -> None:
    ids = ["person.ann", "sensor.ann_power"]
    rows = published(*({"entity_id": each, "home": home} for home in ("k1", "k2") for each in ids))
    tokens = [row["entity_id"].partition(".")[2].split("_")[0] for row in rows]
    assert tokens[0] == tokens[1] != tokens[2] == tokens[3]


@pytest.mark.parametrize("entity_id", [" person.ann", "PERSON.ann", "person_ann", "ｐerson.ann", "per\u200bson.ann", "person"])
@pytest.mark.parametrize("kind", ["person", "unknown"])
def test_no_spelling_hides_a_person_even_where_the_stored_type_was_wrong(entity_id: str, kind: str) -> None:
    (row,) = published({"entity_id": entity_id, "type": kind, "state": "Ann's office"})
    assert row["entity_id"].startswith("person.")
    assert "ann" not in row["entity_id"]
    assert row["state"] == "not_home"


def test_strict_keeps_no_word_of_an_id() -> None:
    uploaded = ["sensor.kitchen", "person.ann", "ann", "ann smith", "hacs.ann", "Ann.Smith's.x"]
    told = [id_of(each, strict=True) for each in uploaded]
    assert [each.split(".")[0] for each in told] == ["sensor", "person", "unknown", "unknown", "unknown", "unknown"]
    assert not any(word in each for each in told for word in ("kitchen", "ann", "Ann"))
    assert len(set(told)) == len(told)


@pytest.mark.parametrize(
    ("entity_id", "state", "attributes"),
    [
        ("sensor.x", "812.5", POWER),
        *[("sensor.x", "21", {"unit_of_measurement": unit}) for unit in ("°C", "℃", "m3", "l/min", "lqi")],
        ("sensor.x", "0.31", {"unit_of_measurement": "EUR/kWh"}),
        ("sensor.x", "7", {"device_class": "ph"}),
        ("number.x", "55", {"device_class": "humidity", "unit_of_measurement": "%"}),
        ("input_number.x", "20", {"unit_of_measurement": "min"}),
    ],
)
def test_numbers_that_measure_something_are_published(entity_id: str, state: str, attributes: dict[str, Any]) -> None:
    assert state_of(entity_id, state, attributes) == (state, float(state))


@pytest.mark.parametrize(
    ("entity_id", "state", "attributes"),
    [
        ("sensor.latitude_maria", "41.1496", {}),
        *[("sensor.x", "41.1496", {"unit_of_measurement": unit}) for unit in ("°", "#", "m", "km", "㎞", "Maria", "")],
        ("sensor.x", "4711", {"device_class": "Maria Silva", "unit_of_measurement": "W"}),
        ("sensor.x", "1735776000", {"device_class": "timestamp"}),
        ("light.x", "4711", POWER),
        ("counter.x", "4711", {}),
    ],
)
def test_other_numbers_are_redacted(entity_id: str, state: str, attributes: dict[str, Any]) -> None:
    assert state_of(entity_id, state, attributes) == (REDACTED, None)


@pytest.mark.parametrize(
    ("entity_id", "state", "attributes", "told"),
    [
        ("binary_sensor.x", "on", {"device_class": "door"}, "on"),
        ("binary_sensor.x", "Maria", {"device_class": "door"}, REDACTED),
        ("climate.x", "heat", {}, "heat"),
        ("lock.x", "locked", {}, "locked"),
        ("cover.x", "opening", {"device_class": "blind"}, "opening"),
        ("weather.x", "partlycloudy", {}, "partlycloudy"),
        ("sensor.washer", "running", {}, "running"),
        ("sensor.washer", "running", POWER, REDACTED),
        ("sensor.washer", "Anna's programme", {"device_class": "enum"}, REDACTED),
        ("sensor.x", "2025-01-02T00:00:00+00:00", {"device_class": "timestamp"}, REDACTED),
        ("sensor.x", "203.0.113.77", {}, REDACTED),
        ("person.ann", "not_home", {}, "not_home"),
        ("person.ann", "Gym", {}, "not_home"),
        ("person.ann", "812", POWER, "not_home"),
        ("device_tracker.x", "idle", {}, "not_home"),
        ("device_tracker.x", "unavailable", {}, "unavailable"),
        ("hacs.x", "on", {}, REDACTED),
        ("sensor.x", "unavailable", POWER, "unavailable"),
        ("media_player.x", "unknown", {}, "unknown"),
    ],
)
def test_only_home_assistants_own_words_stay(entity_id: str, state: str, attributes: dict[str, Any], told: str) -> None:
    assert state_of(entity_id, state, attributes) == (told, None)


def test_the_operators_reviewed_words_are_published_and_bring_selects_back() -> None:
    rows = [{"entity_id": "sensor.oven", "state": "roasting"}, {"entity_id": "select.mode", "state": "roasting"}]
    rows += [{"entity_id": "select.mode", "state": "Anna"}, {"entity_id": "text.note", "state": "roasting"}]
    told = published(*rows, words=frozenset({"roasting"}))
    assert [(row["type"], row["state"]) for row in told] == [("sensor", "roasting"), ("select", "roasting")]


def test_unknown_units_and_device_classes_are_null() -> None:
    (row,) = published({"entity_id": "sensor.x", "attributes": {"device_class": "Maria", "unit_of_measurement": "Silva"}})
    assert (row["device_class"], row["unit"], row["attributes"]) == (None, None, "{}")


def test_attributes_keep_numbers_known_units_and_known_words() -> None:
    kept = {"temperature": 21.5, "hvac_action": "heating", "hvac_modes": ["heat", "off"], "rgb_color": [1, 2, 3]}
    assert attributes_of({**kept, "unit_of_measurement": "°C", "preset_mode": "Anna", "event_type": "x"}) == {
        **kept,
        "unit_of_measurement": "°C",
    }
    assert attributes_of({"options": ["idle", "guest Anna +351 912 345 678"]}) == {"options": ["idle"]}
    assert attributes_of({"preset_mode": "siesta"}, words=frozenset({"siesta"})) == {"preset_mode": "siesta"}


def times(entity_id: str, **rules: Any) -> tuple[datetime, datetime]:
    (row,) = published({"entity_id": entity_id}, **rules)
    return row["last_changed"], row["last_updated"]


def test_times_of_presence_and_weather_are_rounded_and_those_of_a_home_are_exact() -> None:
    assert times("person.ann") == (datetime(2022, 6, 20, 12, 30, tzinfo=UTC),) * 2
    assert times("device_tracker.x", strict=True) == (datetime(2022, 6, 20, 12, 30, tzinfo=UTC),) * 2
    assert times("weather.home") == (datetime(2022, 6, 20, 12, tzinfo=UTC),) * 2
    assert times("light.x") == (NOW, NOW)
    assert times("light.x", strict=True) == (datetime(2022, 6, 20, 12, 34, tzinfo=UTC),) * 2


def test_the_times_of_a_group_are_as_coarse_as_those_of_the_people_in_it() -> None:
    told = published(*({"entity_id": "group.family", "state": state} for state in ("home", "not_home", "on")))
    assert [row["time"] for row in told] == [datetime(2022, 6, 20, 12, 30, tzinfo=UTC)] * 2 + [NOW]


def test_a_time_that_is_missing_stays_missing() -> None:
    assert published({"entity_id": "person.ann", "last_changed": None})[0]["last_changed"] is None


def test_the_values_of_weather_are_rounded() -> None:
    told = attributes_of({"temperature": 21.47, "humidity": 63, "wind_bearing": 211.2, "pressure": 1013.4}, "weather.home")
    assert told == {"temperature": 21, "humidity": 65, "wind_bearing": 210, "pressure": 1013}


def test_raw_publishes_what_the_lake_holds_under_a_pseudonym_of_the_home() -> None:
    (row,) = published({"entity_id": "text.lock_code", "state": "4711", "attributes": {"mode": "password"}}, raw=True)
    assert (row["entity_id"], row["state"], row["value"]) == ("text.lock_code", "4711", 4711.0)
    assert row["home"].startswith("home_")


def test_no_dictionary_holds_what_was_redacted() -> None:
    rows = batch({"entity_id": "sensor.anna", "state": "Anna"}, {"entity_id": "text.berta", "state": "Berta"})
    told = redacted(Redactor(SECRET), rows)
    held = {text for column in told.columns if pa.types.is_dictionary(column.type) for text in column.dictionary.to_pylist()}
    assert held.isdisjoint({"Anna", "Berta", "sensor.anna", "text.berta"})
    assert told.column("state").to_pylist() == [REDACTED]


PERSONAL = [
    "Maria Silva",
    "maria",
    "+351912345678",
    "41.1496",
    "4711",
    "192.168.1.23",
    "Rua das Flores 12",
    "AA:BB:CC:DD:EE:FF",
]


@pytest.mark.parametrize("strict", [False, True])
def test_no_personal_text_planted_in_any_field_of_any_domain_is_published(strict: bool) -> None:
    names = [*facts.judged("publication")["attributes"].values()]
    keys = {name for each in names for name in each} | {
        "device_class",
        "state_class",
        "last_reset",
        "event_type",
        "event_types",
    }
    lists = set(facts.judged("publication")["attributes"]["lists_of_words"])
    numbers = set(facts.judged("publication")["attributes"]["numbers"])
    rows = []
    for domain in sorted(facts.domains() | {"maria"}):
        for text in PERSONAL:
            planted = {key: [text] if key in lists else text for key in keys - numbers}
            slug = text.lower().replace(" ", "_")
            rows += [
                {"entity_id": f"{domain}.{slug}", "state": text, "attributes": planted},
                {"entity_id": f"{domain}.x_{slug}_power", "state": text, "attributes": {"unit_of_measurement": text}},
                {"entity_id": f"{domain}.y", "state": text, "attributes": {"user_id": text, "latitude": text, "ssid": text}},
            ]
    told = json.dumps(published(*rows, strict=strict), default=str, ensure_ascii=False).lower()
    for text in PERSONAL:
        assert text.lower() not in told
    assert "silva" not in told
    assert "flores" not in told


def test_of_a_row_without_a_time_the_day_of_arrival_is_told_and_no_more() -> None:
    arrival = NOW.replace(hour=13, minute=37, microsecond=4711)
    void = {"last_changed": None, "last_updated": None, "received": arrival, "time": arrival}
    (row,) = published({"entity_id": "binary_sensor.door", "state": "on", **void})
    assert (row["time"], row["received"]) == (NOW.replace(hour=0, minute=0, second=0, microsecond=0), NOW.date())
