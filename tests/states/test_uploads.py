"""Uploads: kept once, counted, answered again under a key; never under a home that is gone."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pytest

from backends.ports import Conflict
from config.settings import Settings
from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.errors import Invalid, KeyReused
from smarthouse_api.house import House
from smarthouse_api.states.homes import SPACE, normalised_uuid
from smarthouse_api.states.pending import Pending
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, OTHER_HOME, payload, state


def raw_objects(house: House) -> list[str]:
    return [info.key for info in house.objects.list("raw/")]


def test_the_bytes_are_kept_as_they_came(house: House) -> None:
    house.states.uploads.receive(Upload(HOME, b"\x00 anything \xff"))
    assert [house.objects.get(key) for key in raw_objects(house)] == [b"\x00 anything \xff"]


def test_a_receipt_counts_records_and_what_is_none(house: House) -> None:
    body = json.dumps({"sensor.a": [state(), {"no": "state"}], "sensor.b": "nothing"}).encode()
    receipt = house.states.uploads.receive(Upload(HOME, body)).receipt
    assert (receipt.records, receipt.ignored) == (1, 2)


def test_the_same_bytes_are_kept_once(house: House) -> None:
    first, second = (house.states.uploads.receive(Upload(HOME, payload(state()))) for _ in range(2))
    assert (first.duplicate, second.duplicate) == (False, True)
    assert first.receipt == second.receipt
    assert len(raw_objects(house)) == len(house.states.uploads.pending()) == 1


def test_the_same_bytes_of_two_homes_are_two_uploads(house: House) -> None:
    assert not any(house.states.uploads.receive(Upload(home, payload(state()))).duplicate for home in (HOME, OTHER_HOME))


def test_the_same_bytes_from_eight_sides_at_once_are_kept_once(house: House) -> None:
    with ThreadPoolExecutor(8) as sides:
        answers = list(sides.map(lambda _: house.states.uploads.receive(Upload(HOME, payload(state()))), range(8)))
    assert sorted(answer.duplicate for answer in answers) == [False] + [True] * 7
    assert len({answer.receipt.id for answer in answers}) == len(raw_objects(house)) == 1


def test_two_uploads_in_the_same_second_are_both_kept(house: House) -> None:
    ids = {house.states.uploads.receive(Upload(HOME, payload(state(value=str(value))))).receipt.id for value in range(2)}
    assert len(ids) == len(raw_objects(house)) == 2


def test_an_undecodable_body_is_kept_and_not_queued(house: House) -> None:
    receipt = house.states.uploads.receive(Upload(HOME, b"rubbish")).receipt
    assert receipt.records == 0
    assert receipt.detail
    assert (len(raw_objects(house)), house.states.uploads.pending()) == (1, [])


@pytest.mark.parametrize(("body", "title"), [(b"\xff\xfe", "Bad ingest decoding"), (b"[]", "Bad JSON structure")])
def test_a_strict_house_refuses_an_undecodable_body_and_keeps_nothing(
    make_house: Callable[..., House], body: bytes, title: str
) -> None:
    house = make_house(ingest_strict=True)
    with pytest.raises(Invalid) as told:
        house.states.uploads.receive(Upload(HOME, body))
    assert told.value.title == title
    assert raw_objects(house) == []


def test_an_empty_body_is_refused(house: House) -> None:
    with pytest.raises(Invalid, match="empty"):
        house.states.uploads.receive(Upload(HOME, b""))


def test_a_repeat_under_a_key_gets_the_first_answer(house: House) -> None:
    first, second = (house.states.uploads.receive(Upload(HOME, payload(state()), None, "night 1")) for _ in range(2))
    assert (first.replayed, second.replayed) == (False, True)
    assert (second.receipt, second.duplicate) == (first.receipt, False)


def test_a_key_with_another_body_is_refused(house: House) -> None:
    house.states.uploads.receive(Upload(HOME, payload(state(value="1")), None, "night 1"))
    with pytest.raises(KeyReused):
        house.states.uploads.receive(Upload(HOME, payload(state(value="2")), None, "night 1"))
    assert len(raw_objects(house)) == 1


def test_an_answer_is_remembered_under_its_home_as_0_1_0_did(house: House) -> None:
    first, again = (house.states.uploads.receive(Upload(HOME, payload(state()), None, key)) for key in ("first", "again"))
    home = house.states.homes.find(HOME)
    assert home is not None
    kept = {name: json.loads(document.value) for name, document in house.state.scan_all(SPACE, "reply/")}
    digest = hashlib.sha256(b"\0" + payload(state())).hexdigest()
    receipt = {"id": first.receipt.id, "records": 1, "ignored": 0}
    assert again.receipt == first.receipt
    assert kept == {
        f"reply/{home.key}/{hashlib.sha256(key).hexdigest()}": {
            "body_sha256": digest,
            "receipt": receipt,
            "duplicate": is_repeat,
        }
        for key, is_repeat in ((b"first", False), (b"again", True))
    }


def test_a_key_is_each_homes_own(house: House) -> None:
    answers = [
        house.states.uploads.receive(Upload(home, payload(state(value=home)), None, "night 1")) for home in (HOME, OTHER_HOME)
    ]
    assert not any(answer.replayed for answer in answers)


def test_a_key_is_forgotten_after_its_time(make_house: Callable[..., House]) -> None:
    house = make_house(idempotency_hours=0)
    house.states.uploads.receive(Upload(HOME, payload(state(value="1")), None, "night 1"))
    assert not house.states.uploads.receive(Upload(HOME, payload(state(value="2")), None, "night 1")).replayed


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_of_no_sane_length_is_refused(house: House, key: str) -> None:
    with pytest.raises(Invalid, match="Idempotency-Key"):
        house.states.uploads.receive(Upload(HOME, payload(state()), None, key))


def test_a_home_forgotten_while_it_uploads_is_a_new_home_afterwards(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.states.uploads.receive(Upload(HOME, payload(state(value="old"))))
    put = house.objects.put

    def forget_meanwhile(key: str, chunks: Any) -> int:
        size = put(key, chunks)
        monkeypatch.undo()
        house.forgetting.forget(HOME)
        return size

    monkeypatch.setattr(house.objects, "put", forget_meanwhile)
    house.states.uploads.receive(Upload(HOME, payload(state(value="new"))))
    found = house.states.homes.find(HOME)
    assert found is not None
    assert [key.split("/")[1] for key in raw_objects(house)] == [found.key]


def test_an_upload_that_died_before_its_commit_is_swept_up_with_its_home(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.state, "commit", _dies_at(house, "upload/"))
    with pytest.raises(KeyboardInterrupt):
        house.states.uploads.receive(Upload(HOME, payload(state())))
    monkeypatch.undo()
    assert len(raw_objects(house)) == 1
    house.forgetting.forget(HOME)
    assert raw_objects(house) == []


def _dies_at(house: House, prefix: str) -> Callable[..., Any]:
    commit = house.state.commit

    def dying(space: str, change: Any) -> Any:
        if any(put.key.startswith(prefix) for put in change.puts):
            raise KeyboardInterrupt
        return commit(space, change)

    return dying


def test_payloads_of_forgotten_homes_are_swept_up_and_of_unknown_ones_are_not(house: House) -> None:
    forgotten, unknown = "0" * 32, "1" * 32
    house.forgetting.note([digest_of(forgotten)])
    for key in (forgotten, unknown):
        house.objects.put(f"raw/{key}/2026-03-01/stray", [b"of no home"])
    house.forgetting.sweep()
    assert [key.split("/")[1] for key in raw_objects(house)] == [unknown]


def test_the_uuid_is_nowhere_in_the_state_store(house: House) -> None:
    house.states.uploads.receive(Upload(HOME, payload(state()), None, "night 1"))
    documents = [(key, document.value.decode()) for key, document in house.state.scan_all(SPACE)]
    assert HOME not in str(documents)


@pytest.mark.parametrize("text", [HOME, HOME.upper(), f"  {HOME} ", "00000000-0000-0000-0000-000000000000"])
def test_a_uuid_in_any_case_and_version_is_normalised(text: str) -> None:
    assert normalised_uuid(text) == text.strip().lower()


@pytest.mark.parametrize(
    "text",
    ["", "x", f"{{{HOME}}}", f"urn:uuid:{HOME}", HOME.replace("-", ""), HOME[:-1], HOME + "0", HOME.replace("1", "١", 1)],
)
def test_what_is_no_uuid_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(Invalid) as told:
        normalised_uuid(text)
    assert len(text) < 2 or text not in told.value.detail


def test_a_conflict_that_never_ends_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.states.uploads.receive(Upload(HOME, payload(state(value="1"))))

    def conflict(*_: Any) -> None:
        raise Conflict("always")

    monkeypatch.setattr(house.state, "commit", conflict)
    with pytest.raises(Exception, match="send it again"):
        house.states.uploads.receive(Upload(HOME, payload(state(value="2"))))


@pytest.mark.parametrize("pair", ["embedded_pair", "production_pair"])
def test_a_home_forgotten_by_another_process_is_a_new_home(pair: str, request: pytest.FixtureRequest) -> None:
    settings = Settings.from_env(request.getfixturevalue(pair))
    one, other = House(settings), House(settings)
    one.states.uploads.receive(Upload(HOME, payload(state())))
    before = one.states.homes.find(HOME)
    other.forgetting.forget(HOME)
    answer = one.states.uploads.receive(Upload(HOME, payload(state())))
    after = other.states.homes.find(HOME)
    assert before is not None
    assert after is not None
    assert not answer.duplicate
    assert after.key != before.key
    assert {key.split("/")[1] for key in raw_objects(one)} == {after.key}
    one.close()
    other.close()


# What is kept raw, by its names


def fields(pending: Pending) -> tuple[object, ...]:
    return (pending.home, pending.object, pending.received_us, pending.decoded_bytes, pending.records, pending.statistics or 0)


@pytest.mark.parametrize(
    ("encoding", "told"), [(None, None), ("gzip", "gzip"), (" X-GZIP,identity", "gzip"), ("deflate, gzip", "deflate, gzip")]
)
def test_what_is_kept_raw_stands_as_it_stood_in_the_queue(house: House, encoding: str | None, told: str | None) -> None:
    body = zlib.decompress(payload(state()))
    for coding in (told or "").split(", "):
        body = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[coding](body)
    house.states.uploads.receive(Upload(HOME, body, encoding), datetime(1969, 7, 20, 20, 17, 40, 3, UTC))
    (queued,), (kept,) = house.states.uploads.pending(), house.states.uploads.kept()
    assert fields(kept) == fields(queued)
    assert kept.encoding == told


def test_a_raw_uploads_name_tells_its_sum(house: House) -> None:
    house.states.uploads.receive(Upload(HOME, b"\x00 anything", "x" * 900))
    (key,) = raw_objects(house)
    assert key.split(".")[2:] == [hashlib.sha256(b"\x00 anything").hexdigest(), "unknown"]


def test_what_an_earlier_format_kept_raw_has_its_day_of_arrival(house: House) -> None:
    home = kept_by_an_earlier_format(house, "2026-02-03")
    (kept,) = house.states.uploads.kept(home)
    assert datetime.fromtimestamp(kept.received_us / 1e6, UTC).date() == date(2026, 2, 3)
    assert (kept.encoding, kept.records) == (None, 1)
    assert kept.decoded_bytes > 0


def test_nothing_is_kept_of_hidden_homes_and_of_uploads_that_have_no_receipt_or_no_rows(house: House) -> None:
    house.states.uploads.receive(Upload(OTHER_HOME, payload(state())))
    house.states.homes.hide(house.states.homes.tag(OTHER_HOME))
    house.states.uploads.receive(Upload(HOME, b"rubbish"))
    found = house.states.homes.find(HOME)
    assert found is not None
    house.objects.put(f"raw/{found.key}/2026-03-01/{'0' * 32}", [payload(state())])
    assert list(house.states.uploads.kept()) == []


def kept_by_an_earlier_format(house: House, day: str) -> str:
    """Store a home's upload as format 3 did; the home's internal key."""
    body, home = payload(state()), house.states.homes.find_or_add(HOME)
    receipt = {"id": "5" * 32, "records": 1, "ignored": 0}
    house.state.put(
        SPACE, f"upload/{home.key}/{hashlib.sha256(chr(0).encode() + body).hexdigest()}", json.dumps(receipt).encode()
    )
    house.objects.put(f"raw/{home.key}/{day}/{receipt['id']}", [body])
    return home.key
