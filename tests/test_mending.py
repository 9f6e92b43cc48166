"""Damaged documents of the state that can be made of what else is kept: they are told, and made again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from click.testing import CliRunner

from backends.ports import Change, Part, PartDamaged, StoreUnfit
from smarthouse_api.cli import main
from smarthouse_api.coordination.damage import Damages, Problem
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.errors import Unavailable
from smarthouse_api.house import House
from smarthouse_api.states.receipts import digest_of, receipt_name, stored_receipt, stored_receipts
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, on_pairs
from tests.damaging import damage, flipped
from tests.states.test_rebuilding import body, flip, keep_house, rows, upload
from tests.states.test_rebuilding import damage as damage_file

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
    assert (failed, "exports answer 503" in told["lake"]) == (True, True)
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

    def fails(*_: object, **__: object) -> None:
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


def test_each_document_of_a_home_is_made_again(make_house: Callable[..., House], environment: dict[str, str]) -> None:
    house = make_house(raw_days=1)
    uploads = house.states.uploads
    old = uploads.receive(Upload(HOME, body("old"), address="192.0.2.1"), datetime.now(UTC) - timedelta(days=3))
    for value, home in (("one", HOME), ("two", HOME), ("three", OTHER)):
        uploads.receive(Upload(home, body(value), idempotency_key="k" + value))
    house.housekeeper.keep()
    assert [one.id for one in stored_receipts(house.state, key_of(house)) if one.expired] == [old.receipt.id]
    house.state.put("homes", f"forgotten/{'f' * 32}", b"1.5")
    before, mended = rows(house), set[str]()
    assert len(before) == 4
    for name, document in list(house.state.scan_all("homes")):
        is_expired = name.startswith("upload/") and stored_receipt(document.value).expired
        if not document.value or is_expired or house.state.get("homes", name) is None:
            continue
        hurt(house, environment, "homes", name)  # and each other of the same value
        assert house.mending.mend_all() == []
        made = house.state.get("homes", name)
        kind = name.partition("/")[0]
        if kind not in mended:  # it looks at all that is stored
            assert (kind, house.health()[0]["documents"]) == (kind, "none is known to be damaged")
        if kind in ("reply", "born", "sent"):
            assert made is None
        elif kind == "forgotten":
            assert made is not None
            assert made.value == b"0"
            house.state.commit("homes", Change(deletes=(name,)))
        elif kind == "first":  # it told when the home was added
            arrivals = {one.received or 0 for one in stored_receipts(house.state, name.partition("/")[2])}
            arrivals |= {raw.received_us or 0 for raw, _ in uploads.raw_of(name.partition("/")[2])}
            assert made is not None
            assert int(made.value) == min(arrivals - {0})
        else:
            assert (kind, made and made.value) == (kind, document.value)
        mended.add(kind)
    counts = {"kept", "kept-in-all", "expired", "expired-in-all", "expired-until", "first", "last"}
    assert mended == {"home", "upload", "reply", "born", "forgotten", "sent"} | counts
    assert (rows(house), problems(house)) == (before, [])


def test_a_damaged_receipt_is_made_again_by_the_same_upload(house: House, environment: dict[str, str]) -> None:
    upload(house, HOME, "one", "two")
    key, before = key_of(house), rows(house)
    told = {name: document.value for name, document in house.state.scan_all("homes", f"upload/{key}/")}
    counted = house.states.counts.of([key])
    for name, value in told.items():
        hurt(house, environment, "homes", name)
        sent = body("one") if name.endswith(digest_of(body("one"), None)) else body("two")
        answer = house.states.uploads.receive(Upload(HOME, sent))
        assert (answer.duplicate, answer.receipt.id) == (True, stored_receipt(value).id)
        assert house.state.get("homes", name).value == value  # type: ignore[union-attr]
    # With the raw upload gone, nothing but the bytes can tell what it was.
    name = receipt_name(key, digest_of(body("one"), None))
    house.objects.delete([stored_receipt(told[name]).object or ""])
    hurt(house, environment, "homes", name)
    assert [part.name for part in house.mending.mend_all()] == [name]
    answer = house.states.uploads.receive(Upload(HOME, body("one"), idempotency_key="again"))
    assert answer.receipt.records == 1
    assert house.states.uploads.receive(Upload(HOME, body("one"), idempotency_key="again")).replayed
    assert (house.states.counts.of([key])[0].bytes, rows(house), problems(house)) == (counted[0].bytes, before, [])
    # What is damaged keeps no home from being forgotten.
    hurt(house, environment, "homes", name)
    house.forgetting.forget(HOME)
    assert (names(house, "homes", f"upload/{key}/"), rows(house)) == ([], [])


def test_damaged_entries_and_notes_are_made_again(house: House, environment: dict[str, str]) -> None:
    upload(house, HOME, "one")
    house.states.uploads.receive(Upload(HOME, body("two")))
    (entry,) = house.state.read("homes", "pending")
    damage(environment, entry.value, flipped(entry.value))
    with pytest.raises(PartDamaged):
        house.states.chores.flush()
    house.mending.work()
    keep_house(house)
    assert [row.split(",")[-2:] == [] for row in rows(house)] == [False, False]
    house.states.rebuilding.ask(date(2026, 3, 1), date(2026, 3, 2))
    (repair,) = names(house, "lake", "repair/")
    hurt(house, environment, "lake", repair)
    with pytest.raises(PartDamaged):
        rows(house)
    house.mending.work()
    (made,) = house.states.rebuilding.repairs.all()
    assert (made[0].step, made[0].holds) == ("queue", False)
    keep_house(house)
    assert (len(rows(house)), house.states.rebuilding.condition(), problems(house)) == (2, None, [])
    (raw, *_) = (info.key for info in house.objects.list("raw/"))
    Damages(house.state).note(Problem("objects", raw, key_of(house), "it is damaged", is_lacking=True))
    hurt(house, environment, "damage", raw)
    house.mending.work()
    assert house.states.rebuilding.lacking(date(2026, 3, 1)) is not None
    house.states.uploads.healing.look_now()
    keep_house(house)
    assert (len(rows(house)), problems(house)) == (2, [])


def test_the_command_mends_first_and_refuses_before_it_holds_anything_back(
    house: House, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.serving.logs.log_to_stderr", lambda *_: None)

    def run(*options: str) -> tuple[int, str]:
        told = CliRunner().invoke(main, ["rebuild", "--no-wait", *options], env=environment)
        return told.exit_code, told.output

    house.installation.settle()
    upload(house, HOME, "one", "two")
    before, receipts = rows(house), names(house, "homes", "upload/")
    # The lake is lost, and the receipt that tells of a raw upload is damaged.
    for path in [info.key for info in house.objects.list_table("states")]:
        house.objects.sweep_table("states", [path])
    hurt(house, environment, "homes", receipts[0])
    assert run()[0] == 0
    keep_house(house)
    assert (rows(house), problems(house)) == (before, [])
    # Nobody knows what the other receipt told, since its raw upload is gone, too.
    lost = stored_receipt(house.state.get("homes", receipts[1]).value)  # type: ignore[union-attr]
    house.objects.delete([lost.object or ""])
    hurt(house, environment, "homes", receipts[1])
    code, told = run()
    assert (code, "Restore a backup" in told, "Nothing was asked for" in told) == (1, True, True)
    assert (house.states.rebuilding.repairs.all(), rows(house)) == ([], before)
    assert run("--despite-damage")[0] == 0
    with pytest.raises(Unavailable):
        rows(house)
    assert run("--withdraw") == (0, "Requests withdrawn: 1. Exports say what they lack.\n")
    keep_house(house)
    assert (rows(house), names(house, "homes", "upload/")) == (before, receipts[:1])
    # Of two homes at once, nobody can tell which is which.
    upload(house, OTHER, "three")
    for name in names(house, "homes", "home/"):
        hurt(house, environment, "homes", name)
    code, told = run()
    assert (code, "cannot be made again: 2, such as homes/home/" in told, "Restore a backup" in told) == (1, True, True)


def test_readiness_says_in_its_lake_line_that_exports_are_stopped(
    house: House, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    house.installation.settle()
    upload(house, HOME, "one")
    house.state.put("homes", f"forgotten/{'f' * 32}", b"1.5")
    before = rows(house)
    head = house.state.get("lake", "head/states")
    assert head is not None
    for value in (b"1.5", head.value):
        damage(environment, value, flipped(value))
        with pytest.raises(StoreUnfit):
            rows(house)
        assert "exports answer 503" in house.health()[0]["lake"]
        damage(environment, flipped(value), value)
        assert rows(house) == before
        assert house.health()[0]["lake"].startswith("version 1 can be read")
    house.states.uploads.receive(Upload(OTHER, body("two")))
    (entry,) = house.state.read("homes", "pending")
    damage(environment, entry.value, flipped(entry.value))
    with pytest.raises(StoreUnfit):
        rows(house)
    assert "exports answer 503" in house.health()[0]["lake"]
    # A damaged note of the damage keeps nothing from being mended, nor does a damaged lease.
    (note,) = names(house, "damage", "documents/")
    hurt(house, environment, "damage", note)
    faults, hold = [PartDamaged(Part("leases", "one/mending"))], Leases.try_hold

    def fails_first(leases: Leases, name: str) -> Lease | None:
        if name == "mending" and faults:
            raise faults.pop()
        return hold(leases, name)

    monkeypatch.setattr(Leases, "try_hold", fails_first)
    for _ in range(3):
        house.mending.work()
    assert faults == []
    keep_house(house)
    assert (len(rows(house)), problems(house)) == (2, [])


def key_of(house: House) -> str:
    home = house.states.homes.find(HOME)
    assert home is not None
    return home.key
