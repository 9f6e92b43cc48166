"""Damaged documents of the state that can be made of what else is kept: they are told, and made again."""

from __future__ import annotations

import pytest

from backends.ports import Part, PartDamaged, StoreUnfit
from smarthouse_api.errors import Unavailable
from smarthouse_api.house import House
from tests.conftest import HOME, on_pairs
from tests.damaging import damage, flipped
from tests.states.test_rebuilding import damage as damage_file
from tests.states.test_rebuilding import flip, keep_house, rows, upload

environment = on_pairs("embedded_pair", "production_pair")

OTHER = "11111111-0000-4000-8000-000000000000"


def names(house: House, space: str, prefix: str) -> list[str]:
    return [name for name, _ in house.state.scan_all(space, prefix)]


def hurt(house: House, environment: dict[str, str], space: str, name: str) -> None:
    """Turn a bit of a document over, and leave its checksum."""
    document = house.state.get(space, name)
    assert document is not None
    damage(environment, document.value, flipped(document.value))
    with pytest.raises(PartDamaged):
        house.state.get(space, name)


def problems(house: House) -> list[str]:
    return [one.name for one in house.verifying.run(1.0, lambda *_: None)]


def test_a_damaged_record_of_a_data_file_costs_nothing(house: House, environment: dict[str, str]) -> None:
    upload(house, HOME, "one", "two")
    before, recorded = rows(house), names(house, "lake", "file/states/")
    hurt(house, environment, "lake", recorded[0])
    assert rows(house) == before
    assert "state store that are damaged: 1;" in house.health()[0]["documents"]
    house.mending.work()
    assert names(house, "lake", "file/states/") == recorded
    assert (house.health()[0]["documents"], problems(house)) == ("none is known to be damaged", [])
    # The file is damaged, too: its rows are made again from raw.
    hurt(house, environment, "lake", recorded[0])
    damage_file(house, recorded[0].removeprefix("file/states/"), flip)
    house.mending.work()
    keep_house(house)
    assert (rows(house), problems(house)) == (before, [])


def test_a_damaged_record_of_a_table_is_made_again_unless_the_table_is_of_yesterday(
    house: House, environment: dict[str, str]
) -> None:
    upload(house, HOME, "one", "two")
    before, head = rows(house), house.states.table.ledger.head()
    hurt(house, environment, "lake", "head/states")
    with pytest.raises(StoreUnfit, match="the state's record of the lake's table states is damaged"):
        rows(house)
    told, failed = house.health()
    assert (failed, "nothing of it is given" in told["lake"]) == (True, True)
    house.mending.work()
    made = house.states.table.ledger.head()
    assert head is not None
    assert made is not None
    assert (made.version, made.log, made.id, made.changed) == (head.version, head.log, head.id, head.version)
    assert (rows(house), problems(house)) == (before, [])
    # Without its newest commit, the table does not fit the other records.
    newest = max(info.key for info in house.objects.list_table("states", "_delta_log/") if info.key.endswith(".json"))
    house.objects.sweep_table("states", [newest])
    hurt(house, environment, "lake", "head/states")
    assert house.mending.mend_all() == [Part("lake", "head/states")]
    with pytest.raises(StoreUnfit):
        house.states.rebuilding.check_tables()
    house.states.rebuilding.ask(None, None)
    keep_house(house)
    assert (rows(house), problems(house)) == (before, [])


def test_a_rebuild_that_cannot_go_on_says_so_and_can_be_withdrawn(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(house, HOME, "one")
    before, rebuilding = rows(house), house.states.rebuilding

    def fails(*_: object) -> None:
        raise PartDamaged(Part("homes", "upload/x"))

    rebuilding.ask(None, None)
    with monkeypatch.context() as patch:
        patch.setattr(type(house.states.uploads), "kept", fails)
        house.states.chores.repair()  # what is to be made again leaves the lake
        with pytest.raises(PartDamaged):
            house.states.chores.repair()
        with pytest.raises(Unavailable, match="/health/ready says how far it is"):
            rows(house)
        told, failed = house.health()
        assert not failed
        assert told["lake"].startswith(
            "warning: the rebuild cannot go on: the state store's document homes/upload/x is damaged"
        )
        assert "exports of any day answer 503" in told["lake"]
    assert rebuilding.withdraw() == 1
    assert "503" not in (rebuilding.condition() or "")
    keep_house(house)  # what was removed is made again
    assert (rows(house), rebuilding.condition(), rebuilding.withdraw()) == (before, None, 0)
    rebuilding.ask(None, None)
    assert rebuilding.withdraw() == 1
    assert (rows(house), rebuilding.condition()) == (before, None)
