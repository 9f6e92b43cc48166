"""The installation's id and format: no stores that do not belong together are served, on any pair of stores."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from flask.testing import FlaskClient

from backends.ports import Change, StoreFull, StoreUnfit
from smarthouse_api.access import grants
from smarthouse_api.collections import catalogue as collections
from smarthouse_api.collections import table as collections_table
from smarthouse_api.coordination.installation import Installation, NoInstallation
from smarthouse_api.coordination.store_agreement import FORMAT, HeldBack, NewerFormat
from smarthouse_api.coordination.store_marks import SPACES, TABLES, Marks, ObjectMarks, StateMarks
from smarthouse_api.house import House
from smarthouse_api.serving.watch import Watch
from smarthouse_api.states import homes, statistics_table
from smarthouse_api.states import table as states_table
from smarthouse_api.states.uploads import Upload
from smarthouse_api.status.faults import Faults
from smarthouse_api.streams import catalogue as streams
from tests.conftest import HOME, house_of, payload, state


def numbers(house: House) -> tuple[int, int]:
    found = house.state.get("installation", "format")
    assert found is not None
    number = ObjectMarks(house.objects).read().number
    assert number is not None
    return int(found.value), number


def test_new_stores_and_those_without_a_number_are_marked(house: House) -> None:
    house.installation.settle()
    assert numbers(house) == (FORMAT, FORMAT)


def test_an_older_number_is_raised(house: House) -> None:
    house.state.put("installation", "format", b"1")
    house.objects.put("installation/format", [b"1"])
    house.installation.settle()
    assert numbers(house) == (FORMAT, FORMAT)


def fill_state(house: House) -> None:
    """Leave what an older version would, which wrote no id."""
    house.state.put("homes", "home/tag", b"key")


def in_state(house: House) -> None:
    house.state.put("installation", "format", b"99")


def in_objects(house: House) -> None:
    ObjectMarks(house.objects).put_number(99)


@pytest.mark.parametrize(("newer", "name"), [(in_state, "state"), (in_objects, "object")])
def test_a_newer_format_is_refused_in_words_and_nothing_is_marked(
    house: House, newer: Callable[[House], None], name: str
) -> None:
    newer(house)
    with pytest.raises(StoreUnfit, match=f"the {name} store has format 99, and this version reads formats 1 to {FORMAT}"):
        house.installation.settle()
    marked = house.state.get("installation", "format"), list(house.objects.list("installation/"))
    assert (marked[0] is None) is (name == "object")
    assert len(marked[1]) == (name == "object")


def test_no_chore_touches_stores_of_a_newer_format(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    in_state(house)
    done = list[bool]()
    monkeypatch.setattr(type(house.states.chores), "curate", lambda *_: done.append(True))
    house.housekeeper.keep()
    assert done == []


def test_readiness_tells_the_format_or_that_it_is_too_new(house: House) -> None:
    in_state(house)
    told, failed = house.health()
    assert failed
    assert told["installation"].startswith("unfit: the state store has format 99")
    house.state.put("installation", "format", b"1")
    told, failed = house.health()
    assert (told["installation"], failed) == (f"{house.installation.id()}, format {FORMAT}", False)


def test_what_was_settled_is_not_asked_again(house: House) -> None:
    installation = Installation(house.state, house.objects)
    installation.settle()
    in_state(house)
    installation.settle()


@pytest.mark.parametrize(("store", "method"), [("state", "commit"), ("objects", "put")])
def test_a_full_store_is_marked_later_and_its_chores_go_on(
    house: House, monkeypatch: pytest.MonkeyPatch, store: str, method: str
) -> None:
    fill_state(house)

    def full(*_: object, **__: object) -> None:
        raise StoreFull("full")

    done = list[bool]()
    monkeypatch.setattr(type(house.forgetting), "try_purge", lambda _: done.append(True))
    with monkeypatch.context() as patch:
        patch.setattr(getattr(house, store), method, full)
        house.installation.settle()
        house.housekeeper.keep()
    assert done == [True]
    house.installation.settle()
    assert numbers(house) == (FORMAT, FORMAT)


def test_a_newer_version_that_starts_at_the_same_moment_is_not_undone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    put = house.objects.put

    def meanwhile(key: str, *given: Any, **more: Any) -> int:
        in_state(house)
        return put(key, *given, **more)

    monkeypatch.setattr(house.objects, "put", meanwhile)
    with pytest.raises(StoreUnfit, match="format 99"):
        house.installation.settle()
    assert "installation/format" not in {info.key for info in house.objects.list("installation/")}


# The id


def ids(house: House) -> tuple[str, str]:
    found = house.state.get("installation", "id")
    assert found is not None
    return found.value.decode(), house.objects.get("installation/id").decode()


def refusal(house: House) -> str:
    """What a process that starts now is told."""
    with pytest.raises(StoreUnfit) as told:
        Installation(house.state, house.objects).settle()
    return str(told.value)


def test_both_stores_bear_one_random_id_and_so_does_each_table(house: House) -> None:
    house.installation.settle()
    assert ids(house) == (house.installation.id(),) * 2
    assert re.fullmatch("[0-9a-f]{32}", ids(house)[0])
    for table in (house.states.table, house.states.statistics):
        assert table.open_or_create().metadata().configuration["smarthouse.installation"] == house.installation.id()


def test_the_spaces_and_tables_that_tell_an_empty_store_are_those_of_the_tenants_and_of_keys() -> None:
    assert {homes.SPACE, streams.SPACE, collections.SPACE, grants.SPACE} == set(SPACES)
    assert (states_table.LAYOUT.name, statistics_table.LAYOUT.name, collections_table.LAYOUT.name) == TABLES


@pytest.mark.parametrize("lost", ["state", "objects"])
def test_an_empty_store_beside_a_full_one_is_refused_and_nothing_is_made(house: House, lost: str) -> None:
    upload(house)
    house.installation.settle()
    empty(house, lost)
    assert f"the {'state store is empty' if lost == 'state' else 'object store bears no'}" in refusal(house)
    assert house.state.get("installation", "id") is None or list(house.objects.list()) == []


def test_an_empty_state_is_refused_also_if_nothing_was_uploaded(house: House) -> None:
    house.begin()
    empty(house, "state")
    assert refusal(house).startswith("the state store is empty, but the object store holds an installation; set SMARTHOUSE_")


def test_a_lake_without_any_object_is_no_empty_store(house: House) -> None:
    house.states.table.open_or_create()
    house.state.erase("lake")
    assert refusal(house).startswith("the state store is empty, but the object store holds an installation")


@pytest.mark.parametrize("store", ["state", "object"])
def test_stores_of_two_installations_are_refused(house: House, store: str) -> None:
    upload(house)
    house.installation.settle()
    if store == "state":
        house.state.put("installation", "id", b"f" * 32)
    else:
        house.objects.put("installation/id", [b"f" * 32])
    told = refusal(house)
    assert f"{store} store is of the installation {'f' * 32}" in told or f"{store} store of the installation {'f' * 32}" in told


def test_a_table_of_another_installation_is_not_read_and_readiness_says_so(house: House) -> None:
    house.installation.settle()
    table = house.states.table.open_or_create()
    table.alter.set_table_properties({"smarthouse.installation": "f" * 32}, raise_if_not_exists=False)
    with pytest.raises(StoreUnfit, match="the table states of the lake is of the installation ffff"):
        house.states.table.open()
    told, failed = house.health()
    assert failed
    assert told["lake"].startswith("unfit: the table states of the lake is of the installation ffff")


def test_an_older_installation_gets_its_id_at_the_next_write_also_in_its_tables(house: House) -> None:
    upload(house)
    house.states.table.open_or_create()
    house.installation.settle()
    assert "smarthouse.installation" not in house.states.table.open().metadata().configuration
    bears = house.states.table.open_or_create().metadata().configuration
    assert bears["smarthouse.installation"] == house.installation.id()


@pytest.mark.parametrize("step", ["put_id of the state", "put_number of the objects"])
@pytest.mark.parametrize("fill", [fill_state, lambda house: None])
def test_a_process_that_dies_while_it_marks_the_stores_leaves_what_the_next_one_ends(
    house: House, monkeypatch: pytest.MonkeyPatch, step: str, fill: Callable[[House], None]
) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    fill(house)
    name, _, which = step.partition(" of the ")
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(StateMarks if which == "state" else ObjectMarks, name, dies)
        Installation(house.state, house.objects).settle()
    begun = house.objects.get("installation/id").decode()
    house.installation.settle()
    assert ids(house) == (begun, begun)
    assert numbers(house) == (FORMAT, FORMAT)


def test_processes_that_begin_together_agree_on_one_id(house: House) -> None:
    made = [Installation(house.state, house.objects) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Installation.settle, made))
    assert {one.id() for one in made} == {ids(house)[0]}


def test_one_who_begins_between_the_looks_at_the_two_stores_is_no_stranger(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = StateMarks.read

    def before_another(marks: StateMarks) -> Marks:
        monkeypatch.undo()
        found = read(marks)
        house.begin()
        return found

    monkeypatch.setattr(StateMarks, "read", before_another)
    late = Installation(house.state, house.objects)
    late.settle()
    assert late.id() == house.installation.id()


def test_a_state_of_before_the_id_is_refused_beside_objects_that_bear_one_until_it_is_adopted(house: House) -> None:
    upload(house)
    house.installation.settle()
    house.state.commit("installation", Change(deletes=("id",)))
    assert "smarthouse restore" in refusal(house)
    Installation(house.state, house.objects).adopt()
    Installation(house.state, house.objects).settle()
    assert ids(house) == (house.installation.id(),) * 2


def test_stores_of_two_installations_are_not_adopted(house: House) -> None:
    upload(house)
    house.installation.settle()
    house.objects.put("installation/id", [b"f" * 32])
    with pytest.raises(StoreUnfit, match="of the installation ffff"):
        house.installation.refuse_others()
    house.installation.adopt()
    assert ids(house) == (house.installation.id(), "f" * 32)


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"f" * 31])
def test_a_damaged_mark_is_told_and_written_again_when_it_is_adopted(house: House, damage: bytes) -> None:
    upload(house)
    house.installation.settle()
    house.objects.put("installation/id", [damage])
    assert "the mark `installation/id` of the object store is damaged" in refusal(house)
    Installation(house.state, house.objects).adopt()
    Installation(house.state, house.objects).settle()


def test_an_id_of_which_a_bit_turned_over_is_damaged_and_not_anothers(house: House) -> None:
    upload(house)
    house.installation.settle()
    id_ = house.objects.get("installation/id")
    house.objects.put("installation/id", [bytes([id_[0] ^ 1]) + id_[1:]])
    assert "the mark `installation/id` of the object store is damaged" in refusal(house)
    Installation(house.state, house.objects).adopt()
    assert house.objects.get("installation/id") == id_
    Installation(house.state, house.objects).settle()


def test_a_lost_number_is_written_again(house: House) -> None:
    house.installation.settle()
    house.objects.put("installation/format", [b"\x00"])
    Installation(house.state, house.objects).settle()
    assert numbers(house) == (FORMAT, FORMAT)


def test_one_who_may_not_begin_makes_nothing_in_empty_stores(house: House) -> None:
    modest = Installation(house.state, house.objects, may_begin=False)
    with pytest.raises(NoInstallation):
        modest.settle()
    assert list(house.objects.list()) == []
    assert not modest.is_there()
    modest.begin()
    assert modest.is_settled


# Held back


def test_what_is_held_back_is_refused_with_the_reason_until_it_is_let_go(house: House) -> None:
    house.installation.settle()
    house.installation.hold_back("a backup is being restored")
    assert refusal(house) == "a backup is being restored"
    with pytest.raises(HeldBack):
        house.installation.check()
    assert not house.installation.is_settled
    house.installation.let_go()
    assert house.health()[0]["installation"].startswith(ids(house)[0])


@pytest.mark.parametrize("store", ["state", "objects"])
def test_the_mark_of_one_store_is_enough(house: House, store: str) -> None:
    house.installation.settle()
    house.installation.hold_back("copied")
    if store == "state":
        house.objects.delete(["installation/held"])
    else:
        house.state.commit("installation", Change(deletes=("held",)))
    assert refusal(house) == "copied"


def test_one_who_serves_is_announced_before_it_looks_for_the_mark(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    share = house.leases.share

    def meanwhile(name: str) -> Any:
        house.installation.hold_back("restored")
        return share(name)

    monkeypatch.setattr(house.leases, "share", meanwhile)
    house.watch.start()
    assert not house.installation.is_settled
    assert house.leases.shared("serving") == set()


def test_a_process_that_serves_is_announced_until_it_stops(house: House) -> None:
    house.watch.start()
    assert len(house.leases.shared("serving")) == 1
    house.leases.break_shared("serving", 0)
    house.watch.look()
    assert len(house.leases.shared("serving")) == 1
    house.watch.stop()
    assert house.leases.shared("serving") == set()


def test_foreign_stores_are_not_even_announced_in(house: House) -> None:
    upload(house)
    house.installation.settle()
    house.state.put("installation", "id", b"f" * 32)
    other = Installation(house.state, house.objects)
    Watch(other, house.leases, Faults(house.state), 4).start()
    assert house.leases.shared("serving") == set()


# What clients are told


REQUESTS = (
    ("POST", "/api/ingest/data", {"Home-UUID": HOME}),
    ("DELETE", "/api/ingest/data", {"Home-UUID": HOME}),
    ("GET", "/api/export/csv", {}),
    ("POST", "/restapi/datasource/insert", {}),
    ("GET", "/homes/7/smartModules/m/streams", {}),
    ("POST", "/v2/data/in/example", {}),
)


@pytest.mark.parametrize(("method", "path", "headers"), REQUESTS)
def test_every_api_answers_503_in_its_dialect_from_a_lost_state(
    client: FlaskClient, method: str, path: str, headers: dict[str, str]
) -> None:
    upload(house_of(client))
    house_of(client).installation.settle()
    empty(house_of(client), "state")
    client.application.extensions["smarthouse"].installation = Installation(house_of(client).state, house_of(client).objects)
    answer = client.open(path, method=method, headers=headers, data=b"{}")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert b"/health/ready says why" in answer.data
    assert answer.content_type == ("application/problem+json" if path.startswith("/api") else "application/json")
    assert client.get("/health/live").status_code == client.get("/api/ingest/ui").status_code == 200


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/api/ingest/data"), ("GET", "/api/export/csv")])
def test_stores_that_are_exchanged_under_a_running_process_are_noticed(client: FlaskClient, method: str, path: str) -> None:
    upload(house_of(client))
    assert client.get("/api/export/csv").status_code == 200
    empty(house_of(client), "state")
    assert client.open(path, method=method, headers={"Home-UUID": HOME}).status_code == 503
    assert client.post("/api/ingest/data", data=b"{}", headers={"Home-UUID": HOME}).status_code == 503
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert "the state store is empty" in ready.json["backends"]["installation"]


@pytest.mark.parametrize("delay_seconds", [0, 3600])
def test_a_deletion_is_a_503_while_the_lake_is_of_another_installation(
    make_client: Callable[..., FlaskClient], delay_seconds: int
) -> None:
    client = make_client(purge_delay_seconds=delay_seconds, purge_wait_seconds=0)
    upload(house_of(client))
    assert client.get("/api/export/csv").status_code == 200
    lake = house_of(client).states.table.open_or_create()
    lake.alter.set_table_properties({"smarthouse.installation": "f" * 32}, raise_if_not_exists=False)
    for _ in range(2):
        answer = client.delete("/api/ingest/data", headers={"Home-UUID": HOME})
        assert (answer.status_code, b"/health/ready says why" in answer.data) == (503, True)
    assert house_of(client).states.homes.hidden()


def upload(house: House) -> None:
    house.states.uploads.receive(Upload(HOME, payload(state())))


def empty(house: House, store: str) -> None:
    if store == "objects":
        house.objects.delete([info.key for info in house.objects.list()])
    else:
        for space in ("installation", "access", "homes", "streams", "collections", "leases"):
            house.state.erase(space)


def garble(house: House, store: str) -> None:
    if store == "state":
        house.state.put("installation", "format", b"\x00\xffgarbage")
    else:
        house.objects.put("installation/format", [b"\x00\xffgarbage"])


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("store", ["state", "objects"])
def test_a_damaged_format_number_is_written_again_from_the_other_store_and_logged(
    house: House, store: str, runs: bool, caplog: pytest.LogCaptureFixture
) -> None:
    house.installation.settle()
    garble(house, store)
    again = house.installation if runs else Installation(house.state, house.objects)
    assert again.check() == house.installation.id()
    assert numbers(house) == (FORMAT, FORMAT)
    (told,) = [one.message for one in caplog.records if one.levelname == "WARNING"]
    name = "state" if store == "state" else "object"
    assert (
        told
        == f"the format number of the {name} store was damaged; it is written again, as the other store has format {FORMAT}"
    )


@pytest.mark.parametrize("store", ["state", "objects"])
def test_a_damaged_number_beside_a_newer_one_is_not_overwritten(house: House, store: str) -> None:
    house.installation.settle()
    garble(house, store)
    (in_objects if store == "state" else in_state)(house)
    with pytest.raises(NewerFormat, match="format 99"):
        Installation(house.state, house.objects).settle()


@pytest.mark.parametrize("others", ["damaged", "missing"])
def test_numbers_that_no_store_tells_are_refused_in_words_until_a_restore_writes_them(house: House, others: str) -> None:
    upload(house)
    house.installation.settle()
    garble(house, "state")
    if others == "damaged":
        garble(house, "objects")
    else:
        house.objects.delete(["installation/format"])
    again = Installation(house.state, house.objects)
    with pytest.raises(StoreUnfit, match=r"`installation/format` of the state store is damaged, .*run `smarthouse restore`"):
        again.settle()
    again.refuse_others()
    again.adopt()
    assert Installation(house.state, house.objects).check() == house.installation.id()
    assert numbers(house) == (FORMAT, FORMAT)


def test_an_older_number_beside_a_damaged_one_counts(house: House) -> None:
    fill_state(house)
    house.state.put("installation", "format", b"3")
    garble(house, "objects")
    house.installation.settle()
    assert (house.installation.found, numbers(house)) == (3, (FORMAT, FORMAT))
