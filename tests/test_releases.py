"""Releases: figures of many homes together, made once for each month, and open to more than rows are."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import statistics
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient

from backends.ports import Change, KeepsSums
from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.errors import Invalid
from smarthouse_api.house import House
from smarthouse_api.states.export.dataset import Export
from tests.conftest import HOME, Environment, house_of, payload, state, unzipped
from tests.damaging import damage, flipped
from tests.test_ingest import assert_problem

Clients = Callable[..., FlaskClient]
Key = tuple[str, str, str, str]
LEAST, ALL = 3, 6
MOST_MOVED = 0.7
SETTINGS = {"export_min_homes": LEAST, "enrolled_after_days": 1}
HOMES = [str(uuid.UUID(int=number, version=4)) for number in range(1, ALL + 1)]
STRANGER = str(uuid.UUID(int=99, version=4))
WORDS = ("off", "heat", "cool", "auto", "dry")
PATH = "/api/export/releases"


def filled(client: FlaskClient, homes: list[str] = HOMES, *, agree: bool = True) -> FlaskClient:
    """Two days of March of some homes: numbers of two sensors, and words, which not all homes have."""
    for number, home in enumerate([*homes, STRANGER]):
        chance, states = random.Random(number), []
        for entity, words in (("sensor.a", None), ("sensor.b", None), ("climate.living_room", WORDS[: 2 + number % 4])):
            at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(300))
            while at < datetime(2026, 3, 3, tzinfo=UTC):
                value = chance.choice(words) if words else f"{chance.gauss(20, 3):.2f}"
                attributes = {} if words else {"unit_of_measurement": "°C", "device_class": "temperature"}
                states.append(state(entity, value, at.isoformat(), **attributes))
                at += timedelta(minutes=chance.randrange(1, 200))
        assert client.post("/api/ingest/data", data=payload(*states), headers={"Home-UUID": home}).status_code == 200
        if agree and home != STRANGER:
            agreed = client.put("/api/ingest/consent", json={"terms": "1", "tier": "all"}, headers={"Home-UUID": home})
            assert agreed.status_code == 200
    return client


def release(client: FlaskClient, month: str = "2026-03") -> list[dict[str, str]]:
    members = unzipped(client.get(f"{PATH}/{month}", buffered=True).data)
    text = members[f"smarthouse_release_{month}.csv"].decode()
    parquet = pq.read_table(io.BytesIO(members[f"smarthouse_release_{month}.parquet"]))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert parquet["mean"].to_pylist() == [float(row["mean"]) if row["mean"] else None for row in rows]
    return rows


def expected(client: FlaskClient, every: str) -> Iterator[tuple[Key, dict[str, Any]]]:
    """What a release is made of, in plain Python, from the aggregates that each home has for itself: `figures`, one a home."""
    asked = f"/api/export/csv?every={every}&date_from=2026-03-01&date_to=2026-03-31"
    (text,) = (body for name, body in unzipped(client.get(asked, buffered=True).data).items() if name == "csv")
    numbers = defaultdict[Key, dict[str, list[tuple[float, float]]]](lambda: defaultdict(list))
    words = defaultdict[Key, dict[str, dict[str, float]]](lambda: defaultdict(lambda: defaultdict(float)))
    of_stranger = len({row["home"] for row in csv.DictReader(io.StringIO(text.decode()))}) - ALL
    assert of_stranger == 1
    for row in csv.DictReader(io.StringIO(text.decode())):
        if row["home"] == stranger(client):
            continue
        kind = row["start"], row["type"], row["device_class"], row["unit"]
        if row["mean"]:
            numbers[kind][row["home"]].append((float(row["mean"]), float(row["known"])))
        for word, share in json.loads(row["shares"] or "{}").items():
            words[kind][row["home"]][word] += share
    for kind, homes in numbers.items():
        means = [sum(mean * known for mean, known in some) / sum(known for _, known in some) for some in homes.values()]
        if len(means) >= LEAST:
            yield kind, {"state": "", "figures": means}
    for kind, by_home in words.items():
        told = list(told_words(by_home))
        if all(statistics.stdev(row["figures"]) > 1e-9 for row in told):
            yield from ((kind, row) for row in told)


def told_words(homes: Mapping[str, Mapping[str, float]]) -> Iterator[dict[str, Any]]:
    have = Counter(word for words in homes.values() for word in words)
    order = sorted(have, key=lambda word: (have[word], word))
    rare = [word for word in order if have[word] < LEAST]
    together = order[: len(rare) + 1] if rare else []
    if rare and len(together) == len(order):
        return
    for state_, some in (("*", together), *((word, [word]) for word in order[len(together) :])):
        if some:
            figures = [sum(words.get(word, 0.0) for word in some) / sum(words.values()) for words in homes.values()]
            yield {"state": state_, "figures": figures}


def step_of(deviation: float, homes: int) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is no larger than the standard error."""
    error = deviation / math.sqrt(homes)
    power = math.floor(math.log10(error))
    return max(digit * 10.0**power for digit in (1, 2, 5) if digit * 10.0**power <= error * (1 + 1e-12))


def stranger(client: FlaskClient) -> str:
    states = house_of(client).states
    home = states.homes.find(STRANGER)
    return next(one.pseudonym for one in states.known_homes.list() if one.home == home)


def test_a_release_has_the_figures_of_the_enrolled_homes_together(make_client: Clients) -> None:
    client, every = filled(make_client(**SETTINGS)), "1h"
    made = house_of(client).states.releases.make("2026-03", every)
    rows = release(client)
    wanted = sorted(expected(client, every), key=lambda one: (*one[0], one[1]["state"]))
    given = sorted(rows, key=lambda row: (row["start"], row["type"], row["device_class"], row["unit"], row["state"]))
    assert made.rows == len(rows) == len(wanted)
    assert {"*", "off", "heat"} <= {row["state"] for row in rows}
    moved = list[float]()
    for row, (kind, told) in zip(given, wanted, strict=True):
        assert (row["start"], row["type"], row["device_class"], row["unit"], row["state"]) == (*kind, told["state"])
        figures = told["figures"]
        assert int(row["homes"]) == len(figures) >= LEAST
        mean, deviation = statistics.mean(figures), statistics.stdev(figures)
        step = step_of(deviation, len(figures))
        names = {"share": mean} if told["state"] else {"mean": mean, "deviation": deviation}
        for name, exact in names.items():
            figure = float(row[name])
            assert abs(figure - exact) <= MOST_MOVED * deviation + step / 2 + 1e-9, (kind, name)
            assert math.isclose(figure / step, round(figure / step), abs_tol=1e-6) or figure in (0, 1), (kind, name)
            moved.append((figure - exact) / deviation)
        assert all(row[name] == "" for name in ("mean", "deviation", "share") if name not in names)
    assert statistics.median(map(abs, moved)) > 0.03, "figures are exact"
    assert statistics.quantiles(map(abs, moved), n=10)[-1] < MOST_MOVED, "and yet they tell something of homes"


def of_days(client: FlaskClient, figures: Mapping[str, Callable[[int], float | None]]) -> list[dict[str, str]]:
    """The rows of a release by days, of homes that have one figure each day. figures: of each home, by the day of March."""
    for home, figure in figures.items():
        days = ((day, figure(day)) for day in range(1, 29))
        told = {"unit_of_measurement": "kg", "device_class": "weight"}
        states = [
            state("sensor.a", f"{one}", f"2026-03-{day:02}T00:00:00+00:00", **told) for day, one in days if one is not None
        ]
        assert client.post("/api/ingest/data", data=payload(*states), headers={"Home-UUID": home}).status_code == 200
        client.put("/api/ingest/consent", json={"terms": "1", "tier": "all"}, headers={"Home-UUID": home})
    house_of(client).states.releases.make("2026-03", "1d")
    return [row for row in release(client) if row["start"] < "2026-03-28"]


def test_a_home_that_has_nearly_all_is_not_the_mean(make_client: Clients) -> None:
    watts = {home: (lambda day, at=number: 11_000.0 + day if at == 0 else 2.0 + at) for number, home in enumerate(HOMES)}
    rows = of_days(make_client(**SETTINGS), watts)
    assert len(rows) > 20
    assert len({row["mean"] for row in rows}) <= 2, "that it changes by 1 W is not told"
    for row in rows:
        exact = 11_000 + int(row["start"][8:10])
        assert abs(6 * float(row["mean"]) - exact) > 100
        assert abs(math.sqrt(6) * float(row["deviation"]) - exact) > 100


def test_what_all_homes_have_alike_is_left_out(make_client: Clients) -> None:
    alike = {home: (lambda day, at=number: 21.5 if day < 8 else 20.0 + at) for number, home in enumerate(HOMES)}
    rows = of_days(make_client(**SETTINGS), alike)
    assert {row["start"][:10] for row in rows} == {f"2026-03-{day:02}" for day in range(8, 28)}


def test_numbers_without_bounds_spoil_no_row_but_their_own(make_client: Clients) -> None:
    huge = {
        home: (lambda day, at=number: (1e200 if at else -1e308) if day < 8 else 20.0 + at) for number, home in enumerate(HOMES)
    }
    rows = of_days(make_client(**SETTINGS), huge)
    assert {row["start"][:10] for row in rows} == {f"2026-03-{day:02}" for day in range(8, 28)}
    assert all(row["mean"] and row["deviation"] for row in rows)


def test_no_file_of_a_release_names_a_home_or_an_entity(make_client: Clients) -> None:
    client = filled(make_client(**SETTINGS))
    house_of(client).states.releases.make("2026-03", "1d")
    pseudonyms = {one.pseudonym for one in house_of(client).states.known_homes.list()}
    body = client.get(f"{PATH}/2026-03", buffered=True).data
    for name, member in unzipped(body).items():
        for secret in (*pseudonyms, *HOMES, "living_room", "sensor.a"):
            assert secret.encode() not in member, name
    readme = unzipped(body)["README.md"]
    assert b"at least 3 homes" in readme
    assert b"Pseudonyms** stand" not in readme


def small(client: FlaskClient) -> FlaskClient:
    """One day of three homes that agreed, of one sensor."""
    for number, home in enumerate(HOMES[:LEAST]):
        states = [
            state(value=f"{degrees + number}", at=f"2026-03-02T0{degrees}:00:00+00:00", unit_of_measurement="°C")
            for degrees in (1, 2)
        ]
        assert client.post("/api/ingest/data", data=payload(*states), headers={"Home-UUID": home}).status_code == 200
        client.put("/api/ingest/consent", json={"terms": "1", "tier": "all"}, headers={"Home-UUID": home})
    return client


def test_a_release_is_listed_and_its_bytes_stay_the_same_also_after_a_forget(make_client: Clients) -> None:
    client = small(make_client(**SETTINGS, export_access="tiers", purge_delay_seconds=0))
    made = house_of(client).states.releases.make("2026-03", "1d")
    (told,) = client.get(PATH).json["releases"]
    assert (told["month"], told["every"], told["least_homes"], told["version"]) == ("2026-03", "1d", LEAST, made.version)
    whole = client.get(told["url"], buffered=True)
    assert (whole.status_code, len(whole.data)) == (200, told["bytes"])
    assert whole.headers["Content-Disposition"].endswith("smarthouse_release_2026-03.zip")
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOMES[0]}).status_code == 200
    part = client.get(told["url"], headers={"Range": "bytes=10-99", "If-Range": whole.headers["ETag"]})
    assert (part.status_code, part.data) == (206, whole.data[10:100])
    assert client.get(told["url"], headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
    assert client.get(told["url"], headers={"Range": "bytes=99999999-"}).status_code == 416
    assert_problem(client.get(f"{PATH}/2026-04"), 404, "no release")
    assert_problem(client.get(f"{PATH}/%2e%2e"), 404, "no release")
    assert_problem(client.get(f"{PATH}?x=1"), 400, "x")


def test_the_documents_of_a_release_name_it_and_say_who_may_have_it(make_client: Clients) -> None:
    for access, right in (("tiers", "PUBLIC"), ("key", "RESTRICTED")):
        client = small(make_client(**SETTINGS, export_access=access))
        if (made := house_of(client).states.releases.find("2026-03")) is not None:
            house_of(client).state.commit("releases", Change(deletes=("release/2026-03",)))
            house_of(client).notes.withdraw(digest_of("released/2026-03"))
        made = house_of(client).states.releases.make("2026-03", "1h")
        key = house_of(client).access.create("a reader", export=True)[1]
        answer = client.get(f"{PATH}/2026-03", headers={"Authorization": f"Bearer {key}"}, buffered=True)
        members = unzipped(answer.data)
        assert json.loads(members["dataset.jsonld"])["version"] == made.version
        assert made.version in json.loads(members["dataset.jsonld"])["citeAs"]
        assert b"GET /api/export/releases/2026-03" in members["README.md"]
        assert b"?version=" not in members["README.md"]
        assert answer.headers["ETag"] == f'"{made.version}"'
        package = json.loads(members["smarthouse_release_2026-03_metadata.json"])
        extras = {extra["key"]: extra["value"] for extra in package["extras"]}
        assert extras["access_rights"].endswith(f"/{right}")
        (*_, last) = csv.DictReader(io.StringIO(members["smarthouse_release_2026-03.csv"].decode()))
        assert extras["temporal_end"] == last["end"], "the end of the last interval"


def test_who_may_read_releases(make_client: Clients) -> None:
    for settings, statuses in (({"export_access": "open"}, (200, 200)), ({"export_access": "key"}, (401, 200))):
        client = make_client(**SETTINGS, **settings)
        releases = house_of(small(client)).states.releases
        if releases.find("2026-03") is None:  # stores in memory are others each time
            releases.make("2026-03", "1d")
        key = house_of(client).access.create("a reader", export=True)[1]
        for headers, status in zip(({}, {"Authorization": f"Bearer {key}"}), statuses, strict=True):
            for path in (PATH, f"{PATH}/2026-03"):
                assert client.get(path, headers=headers, buffered=True).status_code == status
    rows = make_client(**SETTINGS, export_access="tiers").get("/api/export/csv")
    assert_problem(rows, 403, "/api/export/releases")


def test_what_cannot_be_released_is_said(make_house: Callable[..., House], make_client: Clients) -> None:
    client = make_client(**SETTINGS)
    releases = house_of(small(client)).states.releases
    now = datetime.now(UTC)
    for month, words in (
        ("2026-3", "written like 2026-03, and not 2026-3"),
        ("2026-13", "not 2026-13"),
        (f"{now:%Y-%m}", "not over"),
        ("2026-01", "in common"),
    ):
        with pytest.raises(Invalid, match=words):
            releases.make(month, "1d")
    releases.make("2026-03", "1d")
    with pytest.raises(Invalid, match="released already"):
        releases.make("2026-03", "1h")
    releases.withdraw("2026-03")
    assert_problem(client.get(f"{PATH}/2026-03"), 410, "withdrawn")
    assert client.get(PATH).json == {"releases": []}
    assert list(house_of(client).objects.list("releases/")) == []
    with pytest.raises(Invalid, match="withdrawn; a month has one release"):
        releases.make("2026-03", "1d")
    for settings, words in (({"export_privacy": "raw"}, "standard or strict"), ({"lake_days": 7}, "not whole any more")):
        with pytest.raises(Invalid, match=words):
            make_house(**SETTINGS, **settings).states.releases.make("2026-02", "1d")


def test_too_few_homes_that_agreed_make_no_release(make_client: Clients) -> None:
    client = small(make_client(**SETTINGS))
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOMES[0]}).status_code == 200
    client.post("/api/ingest/data", data=payload(state(unit_of_measurement="°C")), headers={"Home-UUID": HOME})
    with pytest.raises(Invalid, match="nothing that 3 homes have in common"):
        house_of(client).states.releases.make("2026-03", "1d")


def test_a_release_that_is_broken_off_leaves_nothing_and_a_damaged_one_is_told(
    make_client: Clients, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = small(make_client(**SETTINGS))
    house = house_of(client)
    releases, whole = house.states.releases, Export.__iter__

    def broken(export: Export) -> Iterator[bytes]:
        yield next(whole(export))
        raise OSError("the disk is gone")

    monkeypatch.setattr(Export, "__iter__", broken)
    with pytest.raises(OSError, match="disk"):
        releases.make("2026-03", "1d")
    monkeypatch.undo()
    assert list(house.objects.list("releases/")) == releases.list() == []
    house.objects.put("releases/of-one-who-was-killed", [b"half"])
    made = releases.make("2026-03", "1d")
    assert {info.key for info in house.objects.list("releases/")} == {made.file, made.sums}
    assert list(releases.verify(1.0)) == []
    if isinstance(house.state, KeepsSums):
        name = "release/2026-03"
        whole_document = house.state.get("releases", name).value
        damage(environment, whole_document, flipped(whole_document))
        assert client.get(PATH).json == {"releases": []}
        with pytest.raises(Invalid, match="in common"):
            releases.make("2026-02", "1d")
        damage(environment, flipped(whole_document), whole_document)
        assert list(releases.verify(1.0)) == []
    house.objects.put(made.file, [b"rubbish"])
    assert_problem(client.get(f"{PATH}/2026-03"), 410, "backup")
    assert [problem.name for problem in releases.verify(0.0)] == [made.file]


def test_a_restored_state_releases_no_month_again_and_withdraws_what_was_withdrawn(make_client: Clients) -> None:
    client = small(make_client(**SETTINGS))
    house = house_of(client)
    releases, name = house.states.releases, "release/2026-03"
    releases.make("2026-03", "1d")
    document, noted = house.state.get("releases", name).value, house.forgetting.noted()
    house.state.commit("releases", Change(deletes=(name,)))  # as a backup of before has it
    with pytest.raises(Invalid, match="this state is older"):
        releases.make("2026-03", "1h")
    house.state.put("releases", name, document)
    assert house.restoring.restore(noted).releases == 0
    assert [one.month for one in releases.list()] == ["2026-03"]
    releases.withdraw("2026-03")
    house.state.put("releases", name, document)
    assert house.restoring.restore(house.forgetting.noted()).releases == 1
    assert releases.list() == []
    assert_problem(client.get(f"{PATH}/2026-03"), 410, "withdrawn")
