"""Records of a damaged data file: the topic gives them back as far as it keeps them, and readings say what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import date

import msgspec
import pytest
from flask.testing import FlaskClient

from backends.ports import Change, PartDamaged, StoreUnfit
from smarthouse_api.collections.model import TOPIC
from smarthouse_api.collections.queue import FIELDS, TAKEN, TopicQueue
from smarthouse_api.collections.read_plan import Selection
from smarthouse_api.collections.rebuilding import RecordsRebuilding
from smarthouse_api.collections.rows import Fields, read_logged, to_rows
from smarthouse_api.coordination.mending import Mending
from smarthouse_api.lake.ledger import SPACE
from smarthouse_api.lake.ledger_mending import LedgerMending
from smarthouse_api.lake.repairs import Place, Repair, Repairs
from tests.collections.lakes import Died, Lake, interrupt, once
from tests.conftest import Environment, house_of, on_pairs
from tests.damaging import damage, flipped

environment = on_pairs("embedded_pair", "production_pair")


@pytest.fixture
def lake(environment: Environment) -> Iterator[Lake]:
    one = Lake.on(environment)
    yield one
    one.close()


def data_files(lake: Lake) -> list[str]:
    return [info.key for info in lake.objects.list_table("collections") if not info.key.startswith("_delta_log/")]


def incomplete(lake: Lake, collection: object) -> str | None:
    answer = lake.records.open(collection, Selection(), "jsonl")
    answer.close()
    return answer.incomplete


@pytest.mark.parametrize("how", [lambda data: b"", lambda data: data[:-7], lambda data: data[:99] + b"x" + data[100:], None])
def test_a_damaged_file_is_made_again_from_the_topic(lake: Lake, how: Callable[[bytes], bytes] | None) -> None:
    meters, other = lake.create("meters", entry_topic="in"), lake.create("other", entry_topic="in")
    for number in range(3):
        lake.accept(meters, {"n": number}, {"n": number + 10})
        assert lake.read(meters)
    lake.accept(other, {"n": 7})
    lake.read(other)
    before, path = lake.read(meters), next(one for one in data_files(lake) if meters.key in one)
    if how is None:
        lake.objects.sweep_table("collections", [path])
    else:
        lake.objects.put_table("collections", path, [how(b"".join(lake.objects.stream_table("collections", path)))])
    reader = lake.another()
    assert "are missing" in str(incomplete(reader, meters))
    assert incomplete(reader, other) is None
    assert len(reader.read(meters)) == len(before) - 2
    reader.chores.rebuilding.work()
    assert reader.read(meters) == before
    assert incomplete(reader, meters) is None
    lake.accept(meters, {"n": 99})
    assert lake.read(meters) == [*before, {"n": 99}]


def test_what_no_topic_keeps_is_lost_and_every_reading_says_so_until_that_is_accepted(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    meters = lake.create("meters")
    for number in range(2):
        lake.accept(meters, {"n": number})
        lake.read(meters)
    lake.objects.sweep_table("collections", data_files(lake)[:1])
    reader = lake.another()
    assert len(reader.read(meters)) == 1
    reader.chores.rebuilding.work()
    assert len(reader.read(meters)) == 1
    assert "0 of its rows were made again; the others are lost for good" in caplog.text
    assert "are lost for good" in str(incomplete(reader, meters))
    assert "is lost for good" in str(reader.chores.rebuilding.condition())
    reader.chores.rebuilding.work()
    assert len(reader.chores.rebuilding.repairs.lost()) == 1
    assert reader.chores.rebuilding.repairs.accept_losses() == 1
    assert incomplete(reader, meters) is None
    assert reader.chores.rebuilding.condition() is None
    lake.accept(meters, {"n": 5})
    assert len(lake.read(meters)) == 2


@pytest.mark.parametrize("what", ["log", "folder of the log", "log and a file"])
def test_a_damaged_log_is_made_again_from_the_files_and_the_topics(lake: Lake, what: str) -> None:
    meters, plain = lake.create("meters", entry_topic="in"), lake.create("plain")
    for number in range(3):
        for one in (meters, plain):
            lake.accept(one, {"n": number})
            lake.read(one)
    lake.accept(meters, {"n": 50})
    before = {one.key: lake.read(one) for one in (meters, plain)}
    log = [info.key for info in lake.objects.list_table("collections", "_delta_log/")]
    lake.objects.sweep_table("collections", log if what == "folder of the log" else log[2:3])
    if what == "log and a file":
        lake.objects.sweep_table("collections", [next(one for one in data_files(lake) if meters.key in one)])
    other = lake.another()
    with pytest.raises(StoreUnfit):
        other.read(meters)
    assert other.chores.rebuilding.ask()
    other.chores.rebuilding.work()
    assert not other.chores.rebuilding.ask()
    assert {one.key: other.read(one) for one in (meters, plain)} == before
    other.accept(meters, {"n": 99})
    assert other.read(meters) == [*before[meters.key], {"n": 99}]


def test_damaged_documents_of_the_lakes_memory_are_made_again(lake: Lake, environment: Environment) -> None:
    meters, plain = lake.create("meters", entry_topic="in"), lake.create("plain")
    for one in (meters, plain):
        lake.accept(one, {"n": 1})
        lake.read(one)
    before = {one.key: lake.read(one) for one in (meters, plain)}
    rebuilding, repairs = lake.chores.rebuilding, Repairs(lake.state, "collections")
    ledgers = LedgerMending([(lake.table, rebuilding.set_aside)])
    mending = Mending(lake.state, lake.leases, [*ledgers.menders(), *lake.chores.mending.menders()])
    memory = {name: document.value for name, document in lake.state.scan_all(SPACE)}
    assert {name.partition("/")[0] for name in memory} == {"file", "head"}
    for name, value in memory.items():
        damage(environment, value, flipped(value))
        assert mending.mend_all() == []
        made = lake.state.get(SPACE, name)
        assert made is not None
        if name.startswith("file/"):
            assert made.value == value
        assert {one.key: lake.another().read(one) for one in (meters, plain)} == before
    # Nobody knows any more what was made again or lost: topics give what they keep, and any collection may lack some.
    repairs.add(Repair("1", "a file", "lost", (Place(plain.key, date.min, date.max, 1, 9),)))
    (value,) = (document.value for _, document in lake.state.scan_all(SPACE, "repair/"))
    damage(environment, value, flipped(value))
    with pytest.raises(StoreUnfit):
        lake.read(meters)
    assert mending.mend_all() == []
    rebuilding.work()
    assert {one.key: lake.read(one) for one in (meters, plain)} == before
    assert "are lost for good" in str(incomplete(lake, plain))
    assert rebuilding.repairs.accept_losses() == 2
    assert [incomplete(lake, one) for one in (meters, plain)] == [None, None]


@pytest.mark.parametrize("which", ["held", "waiting", "last"])
def test_a_damaged_entry_of_a_topic_stops_no_other_and_its_loss_is_told(
    lake: Lake, environment: Environment, which: str
) -> None:
    meters = lake.create("meters", entry_topic="in")
    lake.accept(meters, {"n": 0})
    before = lake.read(meters)
    for number in range(1, 4):
        lake.accept(meters, {"n": number})
    entry = lake.state.read(meters.space, TOPIC)[{"held": 0, "waiting": 2, "last": 3}[which]]
    damage(environment, entry.value, flipped(entry.value))
    mending = Mending(lake.state, lake.leases, lake.chores.mending.menders())
    with pytest.raises(PartDamaged):
        lake.topic(meters)
    assert mending.mend_all() == []
    if which == "held":
        assert (before, lake.read(meters)) == ([{"n": 0}], [{"n": number} for number in range(4)])
        assert (incomplete(lake, meters), lake.topic(meters)) == (None, [{"n": 1}, {"n": 2}, {"n": 3}])
        return
    lost = entry.sequence - 1
    assert lake.read(meters) == [{"n": number} for number in range(4) if number != lost]
    assert "are lost for good" in str(incomplete(lake, meters))
    assert f"entry {entry.sequence} of a topic was damaged" in str(lake.chores.rebuilding.condition())
    lake.accept(meters, {"n": 9})
    assert lake.read(meters)[-1] == {"n": 9}
    assert lake.chores.rebuilding.repairs.accept_losses() == 1
    assert incomplete(lake, meters) is None


def test_damaged_documents_of_a_collection_are_made_of_the_topic_and_the_lake(lake: Lake, environment: Environment) -> None:
    meters = lake.create("meters", entry_topic="in")
    for number in range(3):
        lake.accept(meters, {"n": number, f"field{number}": "x"})
        lake.read(meters)
    rows, whole = lake.rows(meters), {}
    for name in (TAKEN, FIELDS):
        document = lake.state.get(meters.space, name)
        assert document is not None
        whole[name] = msgspec.json.decode(document.value)
        damage(environment, document.value, flipped(document.value))
    mending = Mending(lake.state, lake.leases, lake.chores.mending.menders())
    assert mending.mend_all() == []
    lake.accept(meters, {"n": 3})
    assert [record["n"] for record in lake.read(meters)] == [0, 1, 2, 3]
    assert lake.rows(meters)[:3] == rows
    again = TopicQueue(lake.state, meters)
    assert (again.taken().sequence, again.taken().kept_us) == (4, whole[TAKEN]["kept_us"])
    assert again.taken().kept_bytes > whole[TAKEN]["kept_bytes"]
    assert again.fields().types == whole[FIELDS]


def test_a_log_that_was_being_made_again_when_its_process_died_is_made_again(lake: Lake) -> None:
    meters = lake.create("meters")
    for number in range(3):
        lake.accept(meters, {"n": number})
        lake.read(meters)
    log = [info.key for info in lake.objects.list_table("collections", "_delta_log/")]
    lake.objects.sweep_table("collections", log[1:2])
    other = lake.another()
    assert other.chores.rebuilding.ask()
    lake.objects.sweep_table("collections", log)
    other.table.ledger.forget_head()  # here it died
    other.accept(meters, {"n": 3})
    other.chores.curate(lambda: False)  # another begins a table
    other.chores.rebuilding.work()
    assert other.counts(meters) == once(range(4))


def test_readiness_tells_of_a_damaged_table(client: FlaskClient) -> None:
    house = house_of(client)
    here = Lake(house.state, house.objects)
    meters = here.create("meters", entry_topic="in")
    for number in range(2):
        here.accept(meters, {"n": number})
        here.read(meters)
    assert "collections: version" in client.get("/health/ready").get_data(as_text=True)
    here.objects.sweep_table("collections", ["_delta_log/00000000000000000001.json"])
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert "table collections is damaged" in ready.get_data(as_text=True)


def test_a_lost_file_beside_a_damaged_log_is_told_of_until_its_collection_is_deleted(lake: Lake) -> None:
    plain = lake.create("plain")
    for number in range(3):
        lake.accept(plain, {"n": number})
        lake.read(plain)
    lake.objects.sweep_table("collections", ["_delta_log/00000000000000000002.json", data_files(lake)[0]])
    other = lake.another()
    assert other.chores.rebuilding.ask()
    other.chores.rebuilding.work()
    assert len(other.read(plain)) == 2
    assert "are lost for good" in str(incomplete(other, plain))
    other.catalogue.delete("plain")
    other.chores.rebuilding.work()
    assert other.chores.rebuilding.repairs.lost() == []


def test_nothing_of_a_damaged_file_stays_once_its_collection_is_deleted(lake: Lake) -> None:
    gone, other = lake.create("gone", entry_topic="in"), lake.create("other", entry_topic="in")
    for one in (gone, other):
        lake.accept(one, {"n": 1})
        lake.read(one)
    for path in data_files(lake):
        whole = b"".join(lake.objects.stream_table("collections", path))
        lake.objects.put_table("collections", path, [whole[:-7]])
    reader = lake.another()
    for one in (gone, other):
        incomplete(reader, one)
    assert len([*lake.objects.list("damaged/")]) == 2
    reader.catalogue.delete("gone")
    while reader.catalogue.tombstones():
        reader.chores.purge()
    assert [other.key in info.key for info in lake.objects.list("damaged/")] == [True]


def test_a_loss_is_told_of_though_the_process_that_found_it_died(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = lake.create("plain")
    for number in range(3):
        lake.accept(plain, {"n": number})
        lake.read(plain)
    lake.objects.sweep_table("collections", ["_delta_log/00000000000000000002.json", data_files(lake)[0]])
    other = lake.another()
    assert other.chores.rebuilding.ask()

    def die() -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(RecordsRebuilding, "_make", interrupt(RecordsRebuilding, "_make", die, when="before"))
        with pytest.raises(Died):
            other.chores.rebuilding.work()
    last = lake.another()
    last.chores.rebuilding.work()
    assert len(last.read(plain)) == 2
    assert "are lost for good" in str(incomplete(last, plain))


def test_an_entry_that_waits_to_be_made_again_keeps_no_damaged_log_from_it(lake: Lake) -> None:
    meters = lake.create("meters", entry_topic="in")
    for number in range(3):
        lake.accept(meters, {"n": number})
        lake.read(meters)
    before = lake.read(meters)
    lake.objects.sweep_table("collections", data_files(lake)[:1])
    reader = lake.another()
    assert len(reader.read(meters)) == 2
    log = sorted(info.key for info in lake.objects.list_table("collections", "_delta_log/"))
    lake.objects.put_table("collections", log[-1], [b""])
    (waiting,) = reader.state.scan_all(SPACE, "repair/collections/")
    first = msgspec.json.decode(waiting[1].value, type=Repair)
    repairs = Repairs(reader.state, "collections")
    repairs.end(first, waiting[1])
    repairs.add(msgspec.structs.replace(first, id="0" * 32))
    assert reader.chores.rebuilding.ask()
    for _ in range(2):
        with suppress(StoreUnfit):
            reader.chores.rebuilding.work()
    assert reader.read(meters) == before


def test_a_topic_that_keeps_only_some_of_a_lost_file_hides_no_loss(lake: Lake) -> None:
    meters = lake.create("meters", entry_topic="in")
    for number in range(3):
        lake.accept(meters, {"n": number})
        lake.read(meters)
    first = TopicQueue(lake.state, meters).read(0, 1)[0]
    lake.state.commit(meters.space, Change(drops=((TOPIC, first.sequence),)))  # as its retention does
    lake.objects.sweep_table("collections", ["_delta_log/00000000000000000002.json", *data_files(lake)])
    other = lake.another()
    assert other.chores.rebuilding.ask()
    other.chores.rebuilding.work()
    assert len(other.read(meters)) == 2
    assert "are lost for good" in str(incomplete(other, meters))


def test_a_sequence_that_a_failover_gave_anew_stands_for_no_other_entry(lake: Lake) -> None:
    """The table holds an entry that the state store has lost, and another under a later sequence than the topic has it."""
    meters = lake.create("meters", entry_topic="in")
    sequence = lake.accept(meters, {"n": 1})
    (entry,) = TopicQueue(lake.state, meters).read(0, 1)
    here = read_logged(sequence, entry.value)
    snapshot, before = lake.table.open_or_create(), set[str]()
    for logged in (replace(here, sequence=sequence + 1), replace(here, batch="lost")):
        before = set(data_files(lake))
        lake.table.append(snapshot, to_rows(meters, [logged], Fields()), {})
    assert lake.read(meters) == [{"n": 1}, {"n": 1}]
    lake.objects.sweep_table("collections", set(data_files(lake)) - before)
    reader = lake.another()
    reader.read(meters)
    reader.chores.rebuilding.work()
    assert reader.read(meters) == [{"n": 1}]
    assert "are lost for good" in str(incomplete(reader, meters))
