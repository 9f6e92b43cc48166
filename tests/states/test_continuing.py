"""What came after a version: no row is lost and none comes twice, whatever happened to the lake meanwhile."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from smarthouse_api.errors import Gone, Invalid
from smarthouse_api.house import House
from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.export.metadata import Since
from smarthouse_api.states.query import Filters
from smarthouse_api.states.rows import StateRows
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, OTHER_HOME, on_pairs, payload, state, unzipped
from tests.each import on_disk, on_disk_and_servers
from tests.states.test_rebuilding import keep_house
from tests.waiting import pass_time

environment = on_pairs("embedded_pair", "production_pair")

Make = Callable[..., House]
NOW = datetime(2026, 3, 20, 5, tzinfo=UTC)
ME = "address/me"
TEMPERATURE = {"unit_of_measurement": "°C", "device_class": "temperature"}
read = msgspec.json.Decoder(dict[str, Any]).decode


def receive(house: House, states: list[dict[str, Any]], at: datetime = NOW, home: str = HOME) -> None:
    house.states.uploads.receive(Upload(home, payload(*states)), at)


def told(body: bytes) -> Counter[tuple[Any, ...]]:
    """The rows, without the day of arrival: of repeats the earliest counts, and clocks may be set back."""
    rows = map(read, unzipped(body)["jsonl"].splitlines())
    return Counter(tuple(str(row[name]) for name in row if name != "received") for row in rows)


def streamed(house: House, since: str | None = None) -> Counter[tuple[Any, ...]]:
    filters = Filters() if since is None else house.states.jobs.continuing.filters(since, Filters())
    export = house.states.exports.open(["jsonl"], filters, metadata=False)
    if export is None:
        return Counter()
    body = b"".join(export)
    export.close()
    return told(body)


def ask(house: House, since: str | None = None, **options: Any) -> str:
    """Have a job made; its id."""
    jobs = house.states.jobs
    id_ = jobs.ask(jobs.request(options.pop("filters", Filters()), ("jsonl",), since=since, **options), ME).id
    while jobs.maker.work():
        pass
    return id_


def version(house: House, id_: str) -> str:
    found = house.states.jobs.view(id_).version
    assert found is not None
    return found


def rows_of(house: House, id_: str) -> Counter[tuple[Any, ...]]:
    kept = house.states.jobs.open(id_)
    if kept is None:
        return Counter()
    body = b"".join(kept.body())
    kept.close()
    return told(body)


class Killed(BaseException):
    """Ends what a process does, as kill -9 does."""


def drawn(chance: random.Random, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """States of today and of old days, some without a time, and some that came before."""
    again = chance.sample(known, min(len(known), 5))
    new = list[dict[str, Any]]()
    for _ in range(chance.randrange(1, 12)):
        days = chance.choice((0, 0, 1, 9, 400))
        at = NOW - timedelta(days=days, minutes=chance.randrange(1440))
        value = str(chance.randrange(30))
        new.append(state(f"sensor.kitchen_{chance.randrange(3)}_temperature", value, at.isoformat(), **TEMPERATURE))
        if chance.random() < 0.1:
            del new[-1]["last_changed"], new[-1]["last_updated"]
    known += new
    return again + new


def compacted(house: House) -> None:
    table = house.states.table
    with table.writing(5) as lease:
        table.compact(lease, 2, lambda: False)
        table.erase_history(lease)


def curated_by_a_victim(make_house: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring what waits into the lake, and die before that is recorded."""

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(StateRows, "record", die)
        with pytest.raises(Killed):
            make_house().states.chores.flush()


@on_disk_and_servers("seed, steps", [(0, 8)], [(0, 4)])
def test_a_version_and_what_came_after_are_all_rows(
    make_house: Make, monkeypatch: pytest.MonkeyPatch, seed: int, steps: int
) -> None:
    chance, house = random.Random(seed), make_house()
    known = {HOME: list[dict[str, Any]](), OTHER_HOME: list[dict[str, Any]]()}
    versions, last = dict[str, Counter[tuple[Any, ...]]](), None
    for step in range(steps):
        home = chance.choice(list(known))
        # The clocks of two machines may differ by hours: what comes later may say that it arrived earlier.
        receive(house, drawn(chance, known[home]), NOW + timedelta(hours=chance.randrange(-6, 6), minutes=step), home)
        if chance.random() < 0.3:
            curated_by_a_victim(make_house, monkeypatch)
        if chance.random() < 0.5:
            house.states.chores.flush()
            compacted(house)
        if chance.random() < 0.5:
            id_ = ask(house, last)
            all_so_far = rows_of(house, id_) + (versions[last] if last else Counter())
            last = version(house, id_)
            versions[last] = all_so_far
    wanted = streamed(house)
    assert len(versions) > 1
    assert max(wanted.values()) == 1
    for one, rows in versions.items():
        assert rows + streamed(house, one) == wanted
    assert versions[last] + rows_of(house, ask(house, last)) == wanted
    assert (streamed(house, version(house, ask(house))), house.states.jobs.view(ask(house, last)).rows) == (
        Counter(),
        (wanted - versions[last]).total(),
    )


@on_disk_and_servers(
    "aggregation",
    [Aggregation("1d", "7d", is_local=True, figures=("mean", "known"))],
    [Aggregation("1h", "6h")],
)
def test_aggregates_of_the_days_that_changed_take_the_place_of_those_before(make_house: Make, aggregation: Aggregation) -> None:
    chance, house, known = random.Random(7), make_house(), list[dict[str, Any]]()
    versions = dict[str, list[dict[str, Any]]]()
    receive(house, [state("sensor.hall_temperature", "1", (NOW - timedelta(days=200)).isoformat(), **TEMPERATURE)])  # it stays
    for step in range(3):
        receive(house, drawn(chance, known), NOW + timedelta(minutes=step))
        if step % 2:
            house.states.chores.flush()
            compacted(house)
        id_ = ask(house, aggregation=aggregation)
        kept = house.states.jobs.open(id_)
        assert kept is not None
        versions[version(house, id_)] = list(map(read, unzipped(b"".join(kept.body()))["jsonl"].splitlines()))
        kept.close()
    stayed, (*before, newest) = 0, versions
    for one in before:
        files = since_of(house, one, aggregation)
        extras = {each["key"]: each["value"] for each in read(files["metadata.json"])["extras"]}
        spans = [span.partition("/") for span in json.loads(extras["since_days"])]
        replaced = [(first, "9999" if last == ".." else last or first) for first, _, last in spans]
        left = [row for row in versions[one] if not any(first <= row["start"][:10] <= last for first, last in replaced)]
        stayed += len(left)
        new = list(map(read, files["jsonl"].splitlines()))
        assert all(any(first <= row["start"][:10] <= last for first, last in replaced) for row in new)
        names = {name for row in versions[newest] for name in row}
        told = [tuple(str(row.get(name)) for name in sorted(names)) for row in (*left, *new)]
        assert sorted(told) == sorted(tuple(str(row[name]) for name in sorted(names)) for row in versions[newest])
        assert sorted(map(str, new)) == sorted(map(str, list_of(house, ask(house, one))))
        assert ", ".join(json.loads(extras["since_days"])) in files["README.md"].decode()
    assert stayed > 0


def since_of(house: House, one: str, aggregation: Aggregation) -> dict[str, bytes]:
    export = house.states.exports.open(
        ["jsonl"], house.states.jobs.continuing.filters(one, Filters()), aggregation=aggregation, since=Since(one)
    )
    assert export is not None
    files = unzipped(b"".join(export))
    export.close()
    return files


def list_of(house: House, id_: str) -> list[dict[str, Any]]:
    kept = house.states.jobs.open(id_)
    assert kept is not None
    files = unzipped(b"".join(kept.body()))
    kept.close()
    assert "since_days" in files["metadata.json"].decode()
    return list(map(read, files["jsonl"].splitlines()))


@on_disk
def test_only_the_days_that_have_something_new_are_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 4)
    for day in range(9):
        receive(house, [state("sensor.kitchen_temperature", str(day), (NOW - timedelta(days=day)).isoformat(), **TEMPERATURE)])
    before = version(house, ask(house))
    for day in (3, 7):
        receive(house, [state("sensor.attic_temperature", "1", (NOW - timedelta(days=day)).isoformat(), **TEMPERATURE)])
    house.states.chores.flush()
    filters = house.states.jobs.continuing.filters(before, Filters())
    snapshot = house.states.table.open()
    assert snapshot is not None
    with house.states.table.reading() as lease:
        exports = house.states.exports
        rows = exports.rows(snapshot, filters, lease, b"secret", exports.looks(snapshot, filters))
        assert [(NOW.date() - part.first).days for part in rows.parts] == [7, 3]
        assert all(part.first == part.last for part in rows.parts)
    assert len(streamed(house, before)) == 2


def test_a_version_is_continued_long_after_its_file_is_gone(make_house: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    house = make_house()
    receive(house, drawn(random.Random(1), []))
    kept, removed = ask(house), ask(house, filters=Filters(types=("sensor",)))
    house.states.jobs.cancel(removed)
    versions = [version(house, kept), next(known.dataset.version for known in house.states.jobs.maker._shop.book.gone())]
    receive(house, [state("sensor.attic_temperature", "1", NOW.isoformat(), **TEMPERATURE)])
    pass_time(house, 25 * 3600, monkeypatch)
    house.states.jobs.tidy()
    for one in versions:
        assert streamed(house, one).total() == 1
    assert house.states.jobs.continuing.filters(versions[1], Filters()).types == ("sensor",)
    house.states.jobs.continuing.filters(versions[1], Filters(types=("sensor",)))
    with pytest.raises(Invalid, match="filters are those of the version"):
        house.states.jobs.continuing.filters(versions[1], Filters(types=("light",)))
    for one in ("0" * 32, "x"):
        with pytest.raises(Invalid, match="no such version"):
            house.states.jobs.continuing.filters(one, Filters())


@on_disk_and_servers("is_expired", [False, True], [True])
def test_an_erased_home_is_told(make_house: Make, monkeypatch: pytest.MonkeyPatch, is_expired: bool) -> None:
    house = make_house()
    receive(house, [state("sensor.kitchen_temperature", "1", NOW.isoformat(), **TEMPERATURE)])
    alone = version(house, ask(house))
    receive(house, [state("sensor.kitchen_temperature", "2", NOW.isoformat(), **TEMPERATURE)], home=OTHER_HOME)
    both = version(house, ask(house))
    late = [state("sensor.kitchen_temperature", "3", (NOW - timedelta(days=9)).isoformat(), **TEMPERATURE)]
    receive(house, late)
    receive(house, late, home=OTHER_HOME)
    if is_expired:
        pass_time(house, 25 * 3600, monkeypatch)
        house.states.jobs.tidy()
    house.forgetting.forget(OTHER_HOME)
    assert streamed(house, both).total() == 1
    assert house.states.jobs.continuing.note(alone) is None
    assert "erased" in (house.states.jobs.continuing.note(both) or "")
    id_ = ask(house, both)
    assert "erased" in (house.states.jobs.view(id_).told or "")
    assert rows_of(house, id_).total() == 1


def test_what_was_made_again_is_refused_and_not_guessed(house: House) -> None:
    receive(house, drawn(random.Random(2), []))
    before = version(house, ask(house))
    receive(house, [state("sensor.attic_temperature", "1", NOW.isoformat(), **TEMPERATURE)])
    house.states.chores.flush()
    house.states.rebuilding.ask((NOW - timedelta(days=3)).date(), NOW.date())
    keep_house(house)
    with pytest.raises(Gone, match="made again"):
        streamed(house, before)
    assert house.states.jobs.view(ask(house, before)).state == "failed"
    after = version(house, ask(house))
    receive(house, [state("sensor.attic_temperature", "2", NOW.isoformat(), **TEMPERATURE)])
    assert streamed(house, after).total() == 1
    house.states.rebuilding.ask(None, None)
    keep_house(house)
    with pytest.raises(Gone, match="made anew"):
        streamed(house, after)


@on_disk
def test_what_cannot_be_continued_is_refused_in_words(make_house: Make) -> None:
    house = make_house()
    receive(house, drawn(random.Random(3), []))
    hours = Aggregation("1h", source="all")
    rows, hourly = version(house, ask(house)), version(house, ask(house, aggregation=hours))
    with pytest.raises(Invalid, match="statistics"):
        house.states.jobs.continuing.filters(hourly, Filters())
    with pytest.raises(Invalid, match="leave `every`"):
        ask(house, rows, aggregation=Aggregation("1h"))
    for changes, words in (
        ({"export_privacy": "strict"}, "other homes"),
        ({"export_pseudonyms": "rotating"}, "pseudonyms of its own"),
    ):
        with pytest.raises(Invalid, match=words):
            make_house(**changes).states.jobs.continuing.filters(rows, Filters())
    with pytest.raises(Gone, match="other rules"):
        make_house(export_words="eco").states.jobs.continuing.filters(rows, Filters())


@on_disk
def test_the_documents_name_the_version_that_is_continued(house: House) -> None:
    receive(house, drawn(random.Random(4), []))
    before = version(house, ask(house))
    receive(house, [state("sensor.attic_temperature", "1", NOW.isoformat(), **TEMPERATURE)])
    filters = house.states.jobs.continuing.filters(before, Filters())
    export = house.states.exports.open(["csv"], filters, since=Since(before, "Something changed"))
    assert export is not None
    files = unzipped(b"".join(export))
    export.close()
    told = {one["key"]: one["value"] for one in read(files["metadata.json"])["extras"]}
    assert (told["since"], told["since_note"], told["rows"]) == (before, "Something changed", "1")
    readme = files["README.md"].decode()
    assert f"after version `{before}`" in readme
    assert "Something changed." in readme
    kept = house.states.jobs.open(ask(house, before))
    assert kept is not None
    assert f"after version {before}" in unzipped(b"".join(kept.body()))["CITATION.cff"].decode()
    kept.close()
