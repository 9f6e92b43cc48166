"""Export jobs: made in parts that survive, once for equal questions, and gone with a home that is forgotten."""

from __future__ import annotations

import io
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, cast

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backends.ports import StoreUnavailable
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.arrow.schema_rows import SchemaRows
from smarthouse_api.backups.files import objects_of
from smarthouse_api.coordination.leases import LeaseLost
from smarthouse_api.coordination.room import Room
from smarthouse_api.errors import Gone, Invalid, NoRoom, NotFound, TooMany, Unavailable
from smarthouse_api.house import House
from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.jobs import gone_versions, service
from smarthouse_api.states.jobs.encoding import PartInFormat
from smarthouse_api.states.jobs.kept_files import KeptFile
from smarthouse_api.states.jobs.linking import linked
from smarthouse_api.states.jobs.model import PREFIX, Dataset, Progress, encode
from smarthouse_api.states.jobs.views import PUT_TOGETHER, JobView
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records.privacy import home_name
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, OTHER_HOME, agree, on_pairs, payload, state, unzipped
from tests.each import each, on_disk, on_disk_and_servers
from tests.waiting import pass_time, soon

environment = on_pairs("embedded_pair", "production_pair")

Make = Callable[..., House]
NOW = datetime(2026, 3, 20, 5, tzinfo=UTC)
ME = "address/me"


def receive(house: House, home: str, days: int | Iterable[int] = 3, value: int = 0) -> None:
    """Rows on some days, counted back from now: ten each."""
    states = [
        state(f"sensor.kitchen_{number % 3}", str(value + number), (NOW - timedelta(days=day, minutes=number)).isoformat())
        | {"attributes": {"unit_of_measurement": "°C", "device_class": "temperature"}}
        for day in (range(days) if isinstance(days, int) else days)
        for number in range(10)
    ]
    house.states.uploads.receive(Upload(home, payload(*states)), NOW)
    house.states.chores.flush()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 8)


def ask(house: House, *formats: str, owner: str = ME, **filters: Any) -> str:
    return house.states.jobs.ask(house.states.jobs.request(Filters(**filters), formats or ("csv",)), owner).id


def work(house: House) -> None:
    while house.states.jobs.maker.work():
        pass


def view(house: House, id_: str) -> JobView:
    return house.states.jobs.view(id_)


def file(house: House, id_: str) -> bytes:
    kept = house.states.jobs.open(id_)
    assert kept is not None
    body = b"".join(kept.body())
    kept.close()
    return body


def exported(house: House, *formats: str) -> dict[str, bytes]:
    export = house.states.exports.open(formats, Filters(), metadata=False)
    assert export is not None
    body = b"".join(export)
    export.close()
    return unzipped(body)


def forget(house: House, home: str) -> None:
    """Forget a home, and look that no data file of the lake has a row of it."""
    found = house.states.homes.find(home)
    assert found is not None
    house.forgetting.forget(home)
    for info in house.objects.list_table("states"):
        if info.key.endswith(".parquet") and not info.key.startswith("_delta_log"):
            file = io.BytesIO(b"".join(house.objects.stream_table("states", info.key)))
            assert found.key not in pq.read_table(file, columns=["home"])["home"].to_pylist()


def kept(house: House) -> list[str]:
    """The objects of all datasets, but for the checksums beside a file."""
    names = [info.key for info in house.objects.list(PREFIX)]
    return [name for name in names if "/sums" not in name or name.replace("/sums", "/zip") not in names]


def file_of(house: House, id_: str) -> str:
    """The object that is the file of a job."""
    return house.states.jobs.files.usable(str(view(house, id_).version)).file


def flip(house: House, name: str, place: int) -> None:
    whole = bytearray(house.objects.get(name))
    whole[place] ^= 1
    house.objects.put(name, [bytes(whole)])


def parts_of(house: House, id_: str) -> int:
    version = house.states.jobs._find(id_)[0].dataset
    return 0 if version is None else len(house.states.jobs.maker._shop.book.parts(version))


def stop_in_the_middle(house: House, id_: str) -> None:
    """Stop working on the only job that is not done, once some parts are made."""
    house.states.jobs.maker.work()
    house.states.jobs.maker.work(lambda: parts_of(house, id_) > 1)
    assert (view(house, id_).state, parts_of(house, id_)) == ("running", 2)


@pytest.mark.usefixtures("small_parts")
def test_a_file_holds_byte_for_byte_what_a_download_holds(house: House) -> None:
    receive(house, HOME)
    receive(house, OTHER_HOME, value=100)
    id_ = ask(house, *FORMATS)
    assert (view(house, id_).state, view(house, id_).fraction) == ("waiting", 0.0)
    work(house)
    told = view(house, id_)
    assert (told.state, told.rows, told.rows_in_all, told.fraction) == ("done", 60, 60, 1.0)
    body = file(house, id_)
    assert told.bytes == len(body)
    members = unzipped(body)
    streamed = exported(house, *FORMATS)
    assert {name: members[name] for name in streamed} == streamed
    assert told.version in members["CITATION.cff"].decode()
    assert told.citation is not None
    assert told.citation in members["CITATION.cff"].decode()
    assert set(members) - set(streamed) == {"metadata.json", "datapackage.json", "README.md", "dataset.jsonld", "CITATION.cff"}
    assert kept(house) == [f"{PREFIX}{told.version}/zip"]
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None


@pytest.mark.usefixtures("small_parts")
@on_disk_and_servers(
    "aggregation",
    [Aggregation("15m", "1h"), Aggregation("1h", "1h", figures=("max", "known"))],
    [Aggregation("1d", "1h", is_local=True)],
)
def test_aggregates_are_made_in_blocks_of_days(house: House, monkeypatch: pytest.MonkeyPatch, aggregation: Aggregation) -> None:
    monkeypatch.setattr("smarthouse_api.states.jobs.plan._TIMES_LONGER", 1)
    receive(house, HOME, days=5)
    request = house.states.jobs.request(Filters(), ("jsonl",), metadata=False, aggregation=aggregation)
    id_ = house.states.jobs.ask(request, ME).id
    stop_in_the_middle(house, id_)
    assert 0.0 < (view(house, id_).fraction or 0.0) < 1.0
    work(house)
    export = house.states.exports.open(("jsonl",), Filters(), metadata=False, aggregation=aggregation)
    assert export is not None
    streamed = unzipped(b"".join(export))["jsonl"].splitlines()
    export.close()
    assert unzipped(file(house, id_))["jsonl"].splitlines() == streamed
    assert view(house, id_).rows == view(house, id_).rows_in_all == len(streamed) > 9
    with pytest.raises(Invalid):
        house.states.jobs.request(Filters(time_field="received"), ("csv",), aggregation=aggregation)


def dying(act: Callable[..., Any], turn: Iterator[int], *, is_done: bool) -> Callable[..., Any]:
    """Do what `act` does, but for one time, when `turn` comes to 0: then die before it, or after."""

    def act_or_die(*given: Any, **options: Any) -> Any:
        is_last = next(turn) == 0
        if is_last and not is_done:
            raise Killed
        made = act(*given, **options)
        if is_last:
            raise Killed
        return made

    return act_or_die


class Killed(BaseException):
    """Ends all that a process does, as kill -9 does."""


@pytest.mark.usefixtures("small_parts")
@on_disk_and_servers("is_done", [False, True], [True])
def test_another_goes_on_where_one_is_killed(make_house: Make, monkeypatch: pytest.MonkeyPatch, is_done: bool) -> None:
    """Killed at every commit and every write of an object, the job is made by the next, who makes no part again."""
    house = make_house()
    receive(house, HOME, days=2)
    whole = ask(house, "json", "parquet")
    work(house)
    wanted = unzipped(file(house, whole))
    house.states.jobs.cancel(whole)
    id_, made, kills, version = ask(house, "json", "parquet"), 0, 0, None
    while view(house, id_).state != "done":
        kills += 1
        victim, turn = make_house(job_parts_at_once=2), count(1 - kills)
        commit = dying(victim.state.commit, turn, is_done=is_done)
        monkeypatch.setattr(victim.state, "commit", only_jobs(victim.state.commit, commit))
        monkeypatch.setattr(victim.objects, "put", dying(victim.objects.put, turn, is_done=is_done))
        monkeypatch.setattr(victim.objects, "delete", dying(victim.objects.delete, turn, is_done=is_done))
        with suppress(Killed):
            work(victim)
        found = parts_of(house, id_)
        assert found >= made or view(house, id_).state == "done", "a part was lost"
        made, before, version = found, version, house.states.jobs._find(id_)[0].dataset
        assert before in (None, version), "it was begun anew"
    assert kills > 4
    members = unzipped(file(house, id_))
    assert all(members[name] == wanted[name] for name in ("json", "parquet"))
    house.states.jobs.sweep()
    assert kept(house) == [f"{PREFIX}{version}/zip"]


@pytest.mark.usefixtures("small_parts")
def test_parts_are_made_at_once_and_end_in_any_order(make_house: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while its first part is under way and later ones are noted, a job is gone on with by another."""
    house, victim = make_house(), make_house(job_parts_at_once=3)
    receive(house, HOME, days=6)
    id_ = ask(house, "json", "xml", "parquet")
    house.states.jobs.maker.work()
    dataset, book, told = str(house.states.jobs._find(id_)[0].dataset), victim.states.jobs.maker._shop.book, list[Progress]()
    numbers, put, late, tell = list[int](), victim.objects.put, threading.Event(), book.tell

    def put_late(name: str, chunks: Any, **options: Any) -> int:
        if name.endswith("json/000002"):
            late.set()
            soon(lambda: parts_of(house, id_) > 3)
            raise Killed
        return put(name, chunks, **options)

    def note(one: Dataset, progress: Progress) -> None:
        assert sum(part.rows for part in book.parts(one.version).values()) <= progress.rows <= 60
        told.append(progress)
        tell(one, progress)

    monkeypatch.setattr(victim.objects, "put", put_late)
    monkeypatch.setattr(book, "tell", note)
    with pytest.raises(Killed):
        victim.states.jobs.maker.work()
    made = book.parts(dataset)
    assert late.is_set()
    assert 2 not in made
    assert max(made) > 2
    for figures in zip(*((one.rows, one.bytes, one.parts) for one in told), strict=True):
        assert list(figures) == sorted(figures)
    put_again = house.objects.put
    monkeypatch.setattr(
        house.objects, "put", lambda name, chunks, **options: numbers.append(name) or put_again(name, chunks, **options)
    )
    work(house)
    assert {int(name[-6:]) for name in numbers if name[-6:].isdigit()}.isdisjoint(made)
    assert (view(house, id_).version, view(house, id_).rows) == (dataset, 60)
    members, streamed = unzipped(file(house, id_)), exported(house, "json", "xml", "parquet")
    assert {name: members[name] for name in streamed} == streamed
    assert kept(house) == [f"{PREFIX}{dataset}/zip"]


@pytest.mark.usefixtures("small_parts")
@on_disk
def test_the_file_is_put_together_while_parts_are_made_and_is_whole_only_at_its_end(
    make_house: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(job_parts_at_once=1)
    receive(house, HOME)
    id_, put, begun, told = ask(house), house.objects.put, threading.Event(), list[JobView]()

    def watched(chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            begun.set()
            yield chunk
        soon(lambda: told.append(view(house, id_)) or told[-1].told is not None)

    def put_in_turn(name: str, chunks: Any, **options: Any) -> int:
        if name.endswith("csv/000002"):
            assert begun.wait(10)
        return put(name, watched(chunks) if name.endswith("/zip") else chunks, **options)

    monkeypatch.setattr(house.objects, "put", put_in_turn)
    work(house)
    assert (told[-1].state, told[-1].rows, told[-1].fraction, told[-1].told) == ("running", 30, 0.99, PUT_TOGETHER)
    assert (view(house, id_).state, view(house, id_).fraction, view(house, id_).told) == ("done", 1.0, None)
    assert unzipped(file(house, id_))["csv"] == exported(house, "csv")["csv"]


@pytest.mark.usefixtures("small_parts")
@on_disk
def test_a_fault_while_the_file_is_put_together_ends_the_making_of_parts(
    make_house: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(job_parts_at_once=1)
    receive(house, HOME, days=4)
    id_, put, failed = ask(house), house.objects.put, threading.Event()

    def put_or_fail(name: str, chunks: Any, **options: Any) -> int:
        if name.endswith("/zip"):
            failed.set()
            raise StoreUnavailable("full")
        if name.endswith("csv/000002"):
            assert failed.wait(10)
        return put(name, chunks, **options)

    with monkeypatch.context() as failing:
        failing.setattr(house.objects, "put", put_or_fail)
        house.states.jobs.maker.work()
        house.states.jobs.maker.work()
    assert (view(house, id_).state, parts_of(house, id_)) == ("running", 2), "the first one has no rows"
    pass_time(house, 10, monkeypatch)
    work(house)
    assert (view(house, id_).state, view(house, id_).rows) == ("done", 40)


def only_jobs(act: Callable[..., Any], dying_act: Callable[..., Any]) -> Callable[..., Any]:
    """Die at commits to the space of jobs alone."""
    return lambda space, change: (dying_act if space == "jobs" else act)(space, change)


@on_disk
def test_a_question_is_answered_from_what_was_made_before_files_were_merged(house: House) -> None:
    receive(house, HOME)
    first = ask(house)
    work(house)
    with house.states.table.writing(1) as lease:
        assert house.states.table.compact(lease, 2, lambda: False)
        house.states.table.erase_history(lease)
    again = ask(house)
    work(house)
    assert view(house, again).version == view(house, first).version
    found = house.states.jobs.files.equal(house.states.jobs.request(Filters(), ("csv",)))
    assert found is not None
    found.close()
    receive(house, OTHER_HOME)
    newer = ask(house)
    work(house)
    house.forgetting.forget(OTHER_HOME)
    newest = ask(house)
    work(house)
    assert len({view(house, id_).version for id_ in (first, newer, newest)}) == 3
    assert (view(house, newer).state, view(house, newest).rows) == ("expired", 30)


@on_disk
def test_equal_questions_are_answered_once(house: House) -> None:
    receive(house, HOME)
    first, again, other = ask(house), ask(house, owner="address/you"), ask(house, "jsonl")
    work(house)
    assert view(house, first).version == view(house, again).version != view(house, other).version
    late = ask(house)
    work(house)
    assert view(house, late).version == view(house, first).version
    house.states.jobs.cancel(first)
    assert file(house, again) == file(house, late)
    receive(house, OTHER_HOME)
    newer = ask(house)
    work(house)
    assert (view(house, newer).rows, view(house, again).rows) == (60, 30)
    house.states.jobs.cancel(again)
    house.states.jobs.cancel(late)
    assert len(kept(house)) == 2
    nothing = ask(house, since=NOW.date() + timedelta(days=1))
    work(house)
    house.forgetting.forget(OTHER_HOME)
    assert view(house, nothing).state == "done", "it held no home"


@pytest.mark.usefixtures("small_parts")
def test_a_home_that_is_forgotten_is_in_no_file_and_no_part(make_house: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    house = make_house()
    receive(house, HOME)
    earlier = ask(house, "json")
    work(house)
    receive(house, OTHER_HOME, value=100)
    done, sent = ask(house, "json"), ask(house, "jsonl")
    work(house)
    opened = house.states.jobs.open(sent)
    assert opened is not None
    body = opened.body()
    running = ask(house, "csv")
    stop_in_the_middle(house, running)
    forgetter = make_house(purge_wait_seconds=0.2)
    forgetter.forgetting.forget(OTHER_HOME)
    with pytest.raises((LeaseLost, Gone)):
        list(body)
    opened.close()
    for id_ in (done, sent):
        assert view(house, id_).state == "expired"
        with pytest.raises(Gone, match="erased"):
            house.states.jobs.open(id_)
    assert len(unzipped(file(house, earlier))["json"].splitlines()) == 32, "it is older than the home"
    assert kept(house) == [f"{PREFIX}{view(house, earlier).version}/zip"]
    work(house)
    told = view(house, running)
    assert (told.state, told.rows) == ("done", 30)
    assert "made again" in (told.told or "")


@on_disk
def test_a_home_that_waits_to_be_erased_is_in_no_file_that_is_read(make_house: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    house = make_house(purge_delay_seconds=3600)
    receive(house, HOME)
    receive(house, OTHER_HOME, value=100)
    before = ask(house)
    work(house)
    house.forgetting.forget(OTHER_HOME)
    assert (view(house, before).state, kept(house)) == ("expired", [])
    after, last = ask(house), view(house, before)
    work(house)
    assert (view(house, after).state, view(house, after).rows) == ("done", 30)
    assert "erased" in (last.told or "")
    pass_time(house, 3601, monkeypatch)
    house.forgetting.finish()
    assert len(file(house, after)) > 100, "it was made without the home"
    assert kept(house) == [f"{PREFIX}{view(house, after).version}/zip"]


@on_disk
def test_a_file_by_other_rules_of_privacy_is_not_given(make_house: Make) -> None:
    house = make_house(export_words="eco")
    receive(house, HOME)
    id_ = ask(house)
    work(house)
    stricter = make_house()
    with pytest.raises(Gone, match="privacy"):
        stricter.states.jobs.open(id_)
    assert file(house, id_)


@pytest.mark.usefixtures("small_parts")
@on_disk
def test_no_file_is_made_by_two_versions_or_two_rules(make_house: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    house = make_house()
    receive(house, HOME)
    id_ = ask(house)
    stop_in_the_middle(house, id_)
    version = house.states.jobs._find(id_)[0].dataset
    with monkeypatch.context() as newer:
        newer.setattr("smarthouse_api.states.jobs.workshop.own_version", lambda: "99")
        house.states.jobs.maker.work()
        stop_in_the_middle(house, id_)
        assert house.states.jobs._find(id_)[0].dataset != version
        assert "another version" in (view(house, id_).told or "")
        work(make_house(export_privacy="strict"))
    told = view(house, id_)
    assert (told.state, kept(house)) == ("failed", [])
    assert "other rules" in (told.told or "")


@on_disk
def test_strict_privacy_holds_for_files_too(make_house: Make) -> None:
    house = make_house(export_privacy="strict", export_min_homes=2, enrolled_after_days=1)
    agree(house, HOME, OTHER_HOME)
    receive(house, HOME)
    few = ask(house)
    work(house)
    assert (view(house, few).state, view(house, few).rows) == ("done", 0)
    receive(house, OTHER_HOME)
    enough = ask(house, "jsonl")
    work(house)
    assert (view(house, enough).state, view(house, enough).rows) == ("done", 60)
    assert b"kitchen" not in unzipped(file(house, enough))["jsonl"]


def test_a_file_that_a_backup_did_not_hold_is_told_as_gone(house: House) -> None:
    receive(house, HOME)
    id_ = ask(house)
    work(house)
    house.objects.delete(kept(house))
    with pytest.raises(Gone, match="gone"):
        house.states.jobs.open(id_)
    house.states.jobs.sweep()
    assert view(house, id_).state == "expired"
    again = ask(house)
    work(house)
    assert file(house, again)


def test_rows_wait_in_a_file_and_not_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.states.jobs.encoding._IN_MEMORY_BYTES", 1000)
    numbers = pa.array([number * 7919 % 104729 for number in range(200_000)], pa.int64())
    batch = pa.RecordBatch.from_pydict({"number": numbers})
    with PartInFormat("csv", lambda some: SchemaRows(some, batch.schema, objects=frozenset())) as part:
        part.add(batch)
        assert part.size > 1000
        assert part._spool._rolled
        assert sum(map(len, part.end())) == part.size


@pytest.mark.usefixtures("small_parts")
@on_disk_and_servers("step", [1, 2, 5, 13], [2])
def test_a_forget_while_a_file_is_made_begins_it_anew(make_house: Make, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    house, forgetter = make_house(), make_house(purge_wait_seconds=5)
    receive(house, HOME)
    receive(house, OTHER_HOME, value=100)
    id_, put, puts = ask(house, "json"), house.objects.put, count(1)
    forgets: list[threading.Thread] = []

    def put_and_forget(*given: Any, **options: Any) -> Any:
        number = next(puts)  # parts are put by several threads
        size = put(*given, **options)
        if number == step:
            forgets.append(threading.Thread(target=forgetter.forgetting.forget, args=(OTHER_HOME,)))
            forgets[0].start()
            soon(lambda: forgetter.states.homes.hidden() or not forgets[0].is_alive())
        return size

    monkeypatch.setattr(house.objects, "put", put_and_forget)
    work(house)
    for one in forgets:
        one.join()
    soon(lambda: work(house) or view(house, id_).state in ("done", "expired"))  # the purge may have broken it off once more
    if forgets and view(house, id_).state == "expired":
        assert step > 10
        return
    assert (view(house, id_).state, view(house, id_).rows) == ("done", 30 if forgets else 60)
    assert kept(house) == [file_of(house, id_)]


@pytest.mark.usefixtures("small_parts")
@on_disk_and_servers("privacy", ["standard", "strict"], ["standard"])
def test_a_home_that_comes_and_goes_while_a_job_runs_has_only_its_days_made_again(
    make_house: Make, monkeypatch: pytest.MonkeyPatch, privacy: str
) -> None:
    """A stranger uploads, waits for each part, and deletes; again and again. Each other row is there once."""
    monkeypatch.setattr("smarthouse_api.states.jobs.maker._LONGEST_REST_SECONDS", 0.05)  # else it doubles with each fault
    strict = {"export_privacy": privacy, "export_min_homes": 1, "enrolled_after_days": 1}
    house, forgetter = make_house(job_parts_at_once=1, **strict), make_house(purge_wait_seconds=0.2)
    agree(house, HOME, OTHER_HOME)
    receive(house, HOME)
    receive(house, OTHER_HOME, days=[1], value=100)
    id_, put, puts = ask(house, "jsonl"), house.objects.put, list[str]()

    def put_and_forget(name: str, chunks: Any, **options: Any) -> int:
        size: int = put(name, chunks, **options)
        if "/jsonl/" in name:
            puts.append(name)
            if len(puts) <= 3:
                forgetter.forgetting.forget(OTHER_HOME)
                receive(forgetter, OTHER_HOME, days=[0, 1, 2], value=1000 * len(puts))
        return size

    monkeypatch.setattr(house.objects, "put", put_and_forget)
    house.states.jobs.maker.work()
    version = house.states.jobs._find(id_)[0].dataset
    soon(lambda: work(house) or view(house, id_).state == "done")
    monkeypatch.undo()
    told = view(house, id_)
    assert (told.rows, told.version) == (30, version)
    assert "parts of it were made again" in (told.told or "")
    assert 3 < len(puts) <= 6, "the first home's day once more, and what was under way"
    assert kept(house) == [file_of(house, id_)]
    lines = unzipped(file(house, id_))["jsonl"].splitlines()
    forget(forgetter, OTHER_HOME)
    assert sorted(lines) == sorted(exported(house, "jsonl")["jsonl"].splitlines())


@pytest.mark.usefixtures("small_parts")
@on_disk_and_servers("asked", [(10, 8, 5), (2, 1, 0), (2, 1, 40000)], [(10, 8, 5)])
def test_a_home_without_a_row_of_the_days_breaks_off_nothing(make_house: Make, asked: tuple[int, int, int]) -> None:
    """Whether its rows lie in files of their own, among late ones of the same month, or where times cannot be right."""
    first, last, other = asked
    count = 10 * (first - last + 1)
    house, forgetter = make_house(), make_house(purge_wait_seconds=0)
    receive(house, HOME, days=range(last, first + 1))
    receive(house, HOME, days=[other])
    receive(house, OTHER_HOME, days=[other], value=100)
    with house.states.table.writing(5) as lease:
        house.states.table.compact(lease, 2, lambda: False)  # the rows of both lie in the same files
    days = {"since": (NOW - timedelta(days=first)).date(), "until": (NOW - timedelta(days=last)).date()}
    done, running = ask(house, "csv", **days), ask(house, "json", **days)
    house.states.jobs.maker.work()
    house.states.jobs.maker.work()
    stop_in_the_middle(house, running)
    sent, export = house.states.jobs.open(done), house.states.exports.open(["csv", "xml"], Filters(**days), metadata=False)
    lease, opened = house.states.table.reading(), house.states.exports.whole(Filters(**days))
    assert sent is not None
    assert export is not None
    assert opened is not None
    house.states.table.note(lease, opened[0], Filters(**days).span)
    body = sent.body()
    forget(forgetter, OTHER_HOME)
    begun = house.states.exports.rows(opened[0], Filters(**days), lease, bytes(32), opened[1])
    assert sum(batch.num_rows for batch in begun) == count, "its files went before its parts were planned"
    lease.release()
    assert len(b"".join(body)) == sent.size_bytes
    sent.close()
    members = unzipped(b"".join(export))
    export.close()
    assert (len(members["csv"].splitlines()), members["xml"].count(b"<row>")) == (count + 1, count)
    work(house)
    told = view(house, running)
    assert (told.state, told.rows, told.told) == ("done", count, None)
    assert len(unzipped(file(house, running))["json"].splitlines()) == count + 2
    assert view(house, done).state == "done"


def test_a_file_without_a_row_of_a_home_stays_though_the_home_has_rows_on_its_days(
    make_house: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, forgetter = make_house(), make_house(purge_wait_seconds=0)
    receive(house, HOME)
    for day in range(3):
        at = (NOW - timedelta(days=day, minutes=7)).isoformat()
        house.states.uploads.receive(Upload(OTHER_HOME, payload(state("light.lamp", "on", at))), NOW)
    jobs, sensors = house.states.jobs, Filters(types=("sensor",))
    daily, wide = Aggregation("1d"), Aggregation("1d", figures=("mean",))
    requests = [jobs.request(sensors, ("csv",)), jobs.request(sensors, ("csv",), aggregation=daily)]
    requests += [jobs.request(Filters(), ("json",)), jobs.request(sensors, ("csv",), aggregation=wide)]
    secret, names = house.states.contents.asking.secret(), list[str]()
    for home in map(house.states.homes.find, (HOME, OTHER_HOME)):
        assert home is not None
        names.append(home_name(secret, home.key))
    requests += [jobs.request(Filters(types=("sensor",), homes=tuple(names)), ("csv",))]
    without, aggregates, with_it, of_columns, naming_it = (jobs.ask(one, ME).id for one in requests)
    work(house)
    assert {view(house, id_).state for id_ in (without, naming_it)} == {"done"}
    sent, doomed = jobs.open(without), jobs.open(with_it)
    assert sent is not None
    assert doomed is not None
    bodies = sent.body(), doomed.body()
    forget(forgetter, OTHER_HOME)
    assert len(b"".join(bodies[0])) == sent.size_bytes
    with pytest.raises((LeaseLost, Gone)):
        list(bodies[1])
    for opened in (sent, doomed):
        opened.close()
    states = [view(house, id_).state for id_ in (without, aggregates, with_it, of_columns, naming_it)]
    assert states == ["done", "done", *["expired"] * 3], "columns may tell of any home, and documents of what was asked for"
    assert len(unzipped(file(house, without))["csv"].splitlines()) == 31
    noted = [name for name, _ in house.state.scan_all("jobs", "homes/")]
    assert sorted(noted) == sorted(f"homes/{view(house, id_).version}" for id_ in (without, aggregates))
    forget(forgetter, HOME)
    assert (view(house, without).state, view(house, aggregates).state, kept(house)) == ("expired", "expired", [])
    assert list(house.state.scan_all("jobs", "homes/")) == []


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    ("environment", "kind"),
    [("embedded_pair", "wide"), ("embedded_pair", "wide of other things"), ("production_pair", "since")],
    indirect=["environment"],
)
def test_parts_of_wide_aggregates_and_of_increments_stay_while_they_tell_nothing_of_who_is_forgotten(
    make_house: Make, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("smarthouse_api.states.jobs.plan._TIMES_LONGER", 1)
    house, forgetter = make_house(job_parts_at_once=1), make_house(purge_wait_seconds=0)
    asked, version = Aggregation("1d", "1h", figures=() if kind == "since" else ("mean",)), None
    receive(house, HOME, days=1)
    if kind == "since":
        whole = house.states.jobs.ask(house.states.jobs.request(Filters(), ("csv",), aggregation=asked), ME).id
        work(house)
        version = view(house, whole).version
    receive(house, HOME, days=range(1, 6))
    receive(house, OTHER_HOME, days=[3], value=100)
    if kind == "wide of other things":
        told = {"attributes": {"unit_of_measurement": "hPa", "device_class": "pressure"}}
        at = (NOW - timedelta(days=3)).isoformat()
        house.states.uploads.receive(Upload(OTHER_HOME, payload(state("sensor.air", "1013", at) | told)), NOW)
    request = house.states.jobs.request(Filters(), ("jsonl",), metadata=False, aggregation=asked, since=version)
    id_ = house.states.jobs.ask(request, ME).id
    stop_in_the_middle(house, id_)
    begun = house.states.jobs._find(id_)[0].dataset
    forget(forgetter, OTHER_HOME)
    assert parts_of(house, id_) == 2, "of days before those of the home"
    work(house)
    stays, found = kind != "wide of other things", view(house, id_)
    assert (found.state, found.version == begun) == ("done", stays)
    assert ("made again" if stays else "begun anew") in (found.told or "")
    export = house.states.exports.open(("jsonl",), request.filters, metadata=False, aggregation=asked)
    assert export is not None
    streamed = unzipped(b"".join(export))["jsonl"]
    export.close()
    assert unzipped(file(house, id_))["jsonl"] == streamed
    assert len(streamed.splitlines()) > 4
    assert list(house.state.scan_all("jobs", "told/")) == []


@pytest.mark.parametrize("environment", ["embedded_pair"], indirect=True)
def test_nobody_knows_the_homes_of_a_file_of_which_one_part_does_not_tell(
    make_house: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(export_pseudonyms="rotating")
    for home, kind in ((HOME, "sensor.kitchen"), (OTHER_HOME, "light.lamp")):
        house.states.uploads.receive(Upload(home, payload(state(kind, "on", NOW.isoformat()))), NOW)
    known, limited = ask(house, types=("sensor",)), ask(house, "json", types=("sensor",))
    house.states.jobs.maker.work()
    house.states.jobs.maker.work()
    monkeypatch.setattr("smarthouse_api.states.jobs.homes_in_files._MOST_BYTES", 0)
    work(house)
    house.forgetting.forget(OTHER_HOME)
    assert [view(house, id_).state for id_ in (known, limited)] == ["done", "expired"]


@on_disk_and_servers("phase", ["waiting", "preparing"], ["preparing"])
def test_a_forget_before_a_file_is_made_leaves_the_home_out(
    make_house: Make, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    house, forgetter = make_house(), make_house(purge_wait_seconds=0.2)
    receive(house, HOME)
    receive(house, OTHER_HOME, value=100)
    id_, book = ask(house, "json"), house.states.jobs.maker._shop.book
    join, forgotten = book.join, list[str]()

    def forget_and_join(*given: Any, **options: Any) -> bool:
        if not forgotten:
            forgotten.append(OTHER_HOME)
            forgetter.forgetting.forget(OTHER_HOME)
        return join(*given, **options)

    if phase == "waiting":
        forgetter.forgetting.forget(OTHER_HOME)
    else:
        monkeypatch.setattr(book, "join", forget_and_join)
    work(house)
    soon(lambda: work(house) or view(house, id_).state == "done")
    assert view(house, id_).rows == 30
    assert len(unzipped(file(house, id_))["json"].splitlines()) == 32
    assert kept(house) == [f"{PREFIX}{view(house, id_).version}/zip"]


@pytest.mark.usefixtures("small_parts")
@on_disk_and_servers("is_lost", [False, True], [False])
def test_once_its_snapshot_is_gone_the_rest_is_made_of_the_newest_without_later_rows(house: House, is_lost: bool) -> None:
    """If nobody can tell any more which rows came later, it is begun anew."""
    receive(house, HOME)
    id_ = ask(house)
    stop_in_the_middle(house, id_)
    receive(house, HOME, value=50)
    with house.states.table.writing(5) as lease:
        house.states.table.compact(lease, 2, lambda: False)
        house.states.table.erase_history(lease)
        if is_lost:
            house.states.table.remove()
    if is_lost:
        house.states.rebuilding.ask(None, None)
        while house.states.rebuilding.work():
            house.states.chores.curate(lambda: False)
    puts, put = list[str](), house.objects.put
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.objects, "put", lambda name, chunks, **options: puts.append(name) or put(name, chunks, **options))
        work(house)
    told = view(house, id_)
    assert (told.state, told.rows) == ("done", 60 if is_lost else 30)
    assert ("newest data" in (told.told or "")) is is_lost
    assert sum("/csv/" in name for name in puts) == (3 if is_lost else 2), "one day was made before"


def test_files_expire_and_nothing_of_them_stays(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(house, HOME)
    id_ = ask(house)
    work(house)
    pass_time(house, 24 * 3600 + 1, monkeypatch)
    assert view(house, id_).state == "expired"
    house.states.jobs.tidy()
    assert kept(house) == []
    with pytest.raises(Gone, match="expired"):
        house.states.jobs.open(id_)
    house.objects.put(f"{PREFIX}{'0' * 32}/csv/000000", [b"left by a process that died"])
    house.states.jobs.sweep()
    assert kept(house) == []


@on_disk
def test_a_job_whose_file_would_be_too_large_fails_in_words(make_house: Make) -> None:
    house = make_house(job_bytes=100)
    receive(house, HOME)
    id_ = ask(house)
    work(house)
    told = view(house, id_)
    assert (told.state, kept(house)) == ("failed", [])
    assert "larger than 100 bytes" in (told.told or "")


@on_disk
def test_a_store_that_fails_is_tried_again_and_given_up_in_plain_words(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(house, HOME)
    id_, put = ask(house), house.objects.put

    def fail(*_: Any, **__: Any) -> int:
        raise StoreUnavailable("the lake: a library failed (DeltaError)")

    monkeypatch.setattr(house.objects, "put", fail)
    work(house)
    what = "The service could not read or write its storage"
    assert (view(house, id_).state, view(house, id_).told) == ("running", f"{what}; the job goes on by itself")
    for _ in range(8):
        pass_time(house, 61, monkeypatch)
        work(house)
    told = f"{what}; tried 8 times; ask again later, or tell the service's operator"
    assert (view(house, id_).state, view(house, id_).told) == ("failed", told)
    other = ask(house)
    monkeypatch.setattr(house.objects, "put", put)
    work(house)
    assert view(house, other).state == "done"


@on_disk
def test_rotating_pseudonyms_are_kept_while_a_file_is_made_and_never_shared(make_house: Make) -> None:
    house = make_house(export_pseudonyms="rotating")
    receive(house, HOME)
    ids = [ask(house, "jsonl"), ask(house, "jsonl")]
    work(house)
    homes = [{line.split(b'"')[3] for line in unzipped(file(house, id_))["jsonl"].splitlines()} for id_ in ids]
    assert [len(one) for one in homes] == [1, 1]
    assert homes[0] != homes[1]


@on_disk
def test_of_two_jobs_that_are_made_at_once_the_later_one_fails_beyond_the_bytes(make_house: Make) -> None:
    house = make_house(job_bytes=100_000)
    receive(house, HOME)
    earlier = ask(house)
    house.states.jobs.maker.work()  # it is begun, and in another process far on
    book = house.states.jobs.maker._shop.book
    (known,) = book.datasets()
    book.tell(known.dataset, Progress(1, 99_990, 0, 1))
    later = ask(house, "jsonl")
    for _ in range(2):
        house.states.jobs.maker.work(only=later)
    assert (view(house, later).state, view(house, earlier).state) == ("failed", "running")
    assert "larger than 100000 bytes" in str(view(house, later).told)
    work(house)
    assert view(house, earlier).state == "done"


@on_disk
def test_a_file_stops_growing_where_there_is_no_room_and_is_put_together_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive(house, HOME)
    full = list[bool]()

    def growing(*args: Any) -> Iterator[bytes]:
        full.append(True)
        yield from linked(*args)

    def look(_: Room) -> None:
        if full:
            raise NoRoom("the storage is full")

    with monkeypatch.context() as short:
        short.setattr("smarthouse_api.states.jobs.making.linked", growing)
        short.setattr(Room, "check", look)
        id_ = ask(house)
        work(house)
    assert (view(house, id_).state, view(house, id_).told) == ("running", "the storage is full; the job goes on by itself")
    assert not [name for name in kept(house) if name.endswith("/zip")]
    pass_time(house, 10, monkeypatch)
    work(house)
    assert view(house, id_).state == "done"


def test_versions_whose_files_are_gone_are_bounded_and_a_forget_tells_them_together(
    make_house: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gone_versions, "_MOST_OF_A_CLIENT", 5)
    monkeypatch.setattr(gone_versions, "_MOST", 7)
    house = make_house()
    receive(house, HOME)
    id_, jobs = ask(house), house.states.jobs
    work(house)
    book, job = jobs.maker._shop.book, house.state.get("jobs", f"job/{id_}")
    assert job is not None
    jobs.cancel(id_)
    house.state.put("jobs", f"job/{id_}", job.value)  # as of a file that has expired
    (known,) = book.gone()
    for number in range(1, 12):
        owner = ME if number < 8 else f"address/{number}"
        one = msgspec.structs.replace(known.dataset, version=f"{number:032x}", jobs=((f"{number:032x}", owner),))
        one = msgspec.structs.replace(one, finished_at=(one.finished_at or 0) + number, rows=0 if number == 7 else one.rows)
        house.state.put("jobs", f"gone/{one.version}", encode(one))
    jobs.tidy()
    assert sorted(int(one.dataset.version, 16) for one in book.gone()) == [5, 6, 7, 8, 9, 10, 11]
    with pytest.raises(NotFound):
        view(house, id_)
    with pytest.raises(NotFound, match="not any more"):
        jobs.files.usable(known.dataset.version)
    told, tell = list[int](), book.rebury

    def rebury(some: Any, *words: str) -> bool:
        told.append(len(some))
        if len(told) == 1:  # one of them changes meanwhile
            house.state.put("jobs", f"gone/{some[0].dataset.version}", encode(some[0].dataset))
        return tell(some, *words)

    monkeypatch.setattr(book, "rebury", rebury)
    forget(house, HOME)
    assert told == [6, 1, 1, 1, 1, 1, 1]
    states = {int(one.dataset.version, 16): one.dataset.state for one in book.gone()}
    assert states == {5: "expired", 6: "forgotten", 7: "expired", **dict.fromkeys(range(8, 12), "forgotten")}


@on_disk
def test_each_client_has_its_turn(house: House) -> None:
    receive(house, HOME)
    mine = [ask(house, "csv", since=NOW.date() - timedelta(days=days)) for days in range(3)]
    other = ask(house, "jsonl", owner="address/you")
    for _ in range(4):  # each job is prepared and made
        house.states.jobs.maker.work()
    states = [view(house, id_).state for id_ in (mine[0], other, *mine[1:])]
    assert states == ["done", "done", "waiting", "waiting"]


@on_disk
def test_a_stranger_that_asks_for_a_thousand_jobs_takes_nothing_from_others(make_house: Make) -> None:
    house = make_house(jobs_per_client=3, jobs_kept=12)
    receive(house, HOME)
    done = ask(house)
    work(house)
    before, waiting, refused, seconds = file(house, done), ask(house, "jsonl"), Counter[str](), set[int]()
    for number in range(1000):
        try:
            ask(house, "csv", owner=f"address/{number % 4}", since=NOW.date() - timedelta(days=number))
        except (TooMany, Unavailable) as fault:
            refused[fault.detail] += 1
            seconds |= {fault.retry_after_seconds} if isinstance(fault, TooMany) else set()
    told = ["You have 3 export jobs that wait or run; delete some, or wait"]
    told.append("There are as many export jobs as the service keeps; repeat the request later")
    assert sorted(refused) == sorted(told)
    assert refused.total() == 990
    assert seconds == {30}, "jobs end sooner than in some minutes"
    assert house.states.jobs.figures().waiting == 11
    assert file(house, done) == before
    for _ in range(10):  # the first one of each other client, and then this one: each is prepared and made
        house.states.jobs.maker.work()
    assert view(house, waiting).state == "done"
    work(house)
    assert [one.state for one in house.states.jobs.views()] == ["done"] * 12


@on_disk
def test_who_has_as_many_jobs_as_one_may_loses_the_oldest_that_is_finished(make_house: Make) -> None:
    house, owner = make_house(jobs_per_client=2), "address/a"
    receive(house, HOME)
    ids = [ask(house, format_, owner=owner) for format_ in ("csv", "json")]
    work(house)
    ids += [ask(house, format_, owner=owner) for format_ in ("csv", "jsonl")]  # an equal question, too
    with pytest.raises(TooMany, match="2 export jobs that wait or run"):
        ask(house, "xml", owner=owner)
    work(house)
    assert [view(house, id_).state for id_ in ids] == ["expired", "expired", "done", "done"]
    with pytest.raises(Gone, match="room for a newer job"):
        house.states.jobs.open(ids[1])


@on_disk
def test_a_new_job_takes_the_place_of_a_finished_one_of_whoever_has_the_most(make_house: Make) -> None:
    house = make_house(jobs_per_client=3, jobs_kept=6)
    receive(house, HOME)

    def asked(owner: str) -> str:
        id_ = ask(house, "csv", owner=owner, since=NOW.date() - timedelta(days=next(days)))
        work(house)
        return id_

    days = count(1)
    (first, *others), [key] = [asked("address/a") for _ in range(3)], [asked("key/k")]
    others += [asked("address/b") for _ in range(2)]
    new = asked("address/c")  # a has three
    assert view(house, first).state == "expired"
    with pytest.raises(Gone, match="made room for another client's"):
        house.states.jobs.open(first)
    assert {view(house, id_).state for id_ in (*others, key, new)} == {"done"}
    with pytest.raises(Unavailable, match="as many export jobs"):  # nobody has more than it would have then
        asked("address/c")
    assert view(house, key).state == "done"
    assert view(house, asked("key/other")).state == "done"
    assert sum(view(house, id_).state == "done" for id_ in others) == 3


@on_disk
def test_strangers_who_have_one_job_each_keep_nobody_out(make_house: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    house = make_house(jobs_kept=3)
    receive(house, HOME)
    asked = enumerate((("csv", ("kWh",)), ("csv", ()), ("xml", ())))
    empty, *others = [ask(house, format_, owner=f"address/{number}", units=units) for number, (format_, units) in asked]
    work(house)
    fourth = ask(house, "json", owner="address/3")  # the one that has no row goes first
    work(house)
    assert [view(house, id_).state for id_ in (empty, *others, fourth)] == ["expired", "done", "done", "done"]
    with pytest.raises(Unavailable, match="as many export jobs"):
        ask(house, "jsonl", owner="address/4")
    monkeypatch.setattr(service, "_TAKEN_SECONDS", 0.0)
    ask(house, "jsonl", owner="address/4")
    assert [view(house, id_).state for id_ in (*others, fourth)] == ["expired", "done", "done"]


def test_ten_jobs_at_once_are_all_made(make_house: Make) -> None:
    house = make_house(jobs_at_once=2, curate_interval_seconds=0.05)
    receive(house, HOME)
    ids = [ask(house, format_, owner=f"address/{number}") for number in range(2) for format_ in FORMATS]
    house.housekeeper.start()
    try:
        soon(lambda: all(view(house, id_).state == "done" for id_ in ids))
    finally:
        house.housekeeper.stop()
    assert len({view(house, id_).version for id_ in ids}) == 5


def test_a_cancelled_job_stops_within_a_second(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(house, HOME)
    id_, put = ask(house), house.objects.put

    def put_slowly(key: str, chunks: Any, **options: Any) -> int:
        house.states.jobs.cancel(id_)
        return put(key, chunks, **options)

    monkeypatch.setattr(house.objects, "put", put_slowly)
    work(house)
    assert view(house, id_).state == "cancelled"
    assert kept(house) == []
    assert not house.states.jobs.maker.is_wanted()


def test_a_backup_holds_no_file_of_a_job(house: House) -> None:
    receive(house, HOME)
    ask(house)
    work(house)
    assert kept(house)
    assert [file.path for file in objects_of(house.objects) if file.path.startswith(PREFIX)] == []


@each("damage", ["first", "later", "short", "gone", "sums", "no sums"])
def test_a_damaged_file_is_never_sent_and_is_made_anew(house: House, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    for room in ("sums", "kept_files"):
        monkeypatch.setattr(f"smarthouse_api.states.jobs.{room}.BLOCK_BYTES", 64)
    if house.states.homes.find(HOME) is None:
        receive(house, HOME)
    jobs = house.states.jobs
    id_ = ask(house, "csv")
    work(house)
    whole, version = file(house, id_), view(house, id_).version
    assert len(whole) > 256
    with closing(cast(KeptFile, jobs.open(id_))) as part:
        assert b"".join(part.body(100, 199)) == whole[100:200]
    name = f"{PREFIX}{version}/zip"
    assert list(jobs.files.verify(1.0)) == []
    match damage:
        case "first" | "later":
            flip(house, name, 3 if damage == "first" else len(whole) - 2)
        case "short":
            house.objects.put(name, [whole[:-40]])
        case "gone":
            house.objects.delete([name])
        case "sums":
            flip(house, f"{PREFIX}{version}/sums", 5)
        case _:
            house.objects.delete([f"{PREFIX}{version}/sums"])
    assert [(one.store, one.name) for one in jobs.files.verify(1.0)] == [("objects", name)]
    with pytest.raises((Gone, Unavailable), match="ask for the export again"):
        file(house, id_)
    with pytest.raises(Gone, match="ask for the export again"):
        jobs.open(id_)
    assert kept(house) == []
    assert jobs.files.equal(jobs.request(Filters(), ("csv",))) is None
    assert list(jobs.files.verify(1.0)) == []
    again = ask(house, "csv")
    work(house)
    assert unzipped(file(house, again))["csv"] == unzipped(whole)["csv"]


@pytest.mark.usefixtures("small_parts")
@on_disk_and_servers("format_", ["csv", "parquet"], ["parquet"])
def test_a_damaged_part_is_not_put_into_a_file(house: House, format_: str) -> None:
    receive(house, HOME)
    id_ = ask(house, format_)
    stop_in_the_middle(house, id_)
    flip(house, kept(house)[0], 10)
    work(house)
    assert unzipped(file(house, id_))[format_] == exported(house, format_)[format_]


@on_disk
def test_a_kept_aggregate_is_given_for_a_quarter_of_an_hour(make_house: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last states are held until now, so the interval that is under way grows, however long it is."""
    house = make_house()
    receive(house, HOME)
    request = house.states.jobs.request(Filters(), ("jsonl",), aggregation=Aggregation("1d"))
    house.states.jobs.ask(request, ME)
    work(house)

    def is_kept() -> bool:
        kept = house.states.jobs.files.equal(request)
        if kept is not None:
            kept.close()
        return kept is not None

    if house.state.now() % 900 < 890:  # else the next quarter may begin meanwhile
        assert is_kept()
    pass_time(house, 901, monkeypatch)
    assert not is_kept()
