"""Raw uploads that are damaged or missing: named, out of the way of the others, and healed by the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from smarthouse_api.house import House
from smarthouse_api.states import kept_uploads
from smarthouse_api.states.homes import SPACE
from smarthouse_api.states.query import Filters
from smarthouse_api.states.uploads import Answer, Upload
from tests.conftest import HOME, OTHER_HOME, on_pairs, payload, rows, state
from tests.each import on_disk_and_servers

environment = on_pairs("embedded_pair", "production_pair")

Damage = Callable[[House, str], None]


def truncated(house: House, key: str) -> None:
    house.objects.put(key, [house.objects.get(key)[:-7]])


def emptied(house: House, key: str) -> None:
    house.objects.put(key, [])


def removed(house: House, key: str) -> None:
    house.objects.delete([key])


def swapped(house: House, key: str) -> None:
    """Give it another upload's bytes, which could be decoded as well."""
    house.objects.put(key, [body_of("foreign")])


DAMAGES: dict[str, Damage] = {"1": truncated, "2": emptied, "3": removed, "4": swapped}
"""The values of uploads that are damaged, each in another way. All of them are of one house."""

WHOLE = "0"


in_formats = on_disk_and_servers("format_", ["this format", "format 3"], ["this format"])


def body_of(value: str) -> bytes:
    return payload(state(value=value, unit_of_measurement="W", device_class="power"))


def sent(house: House, value: str, home: str = HOME, format_: str = "this format") -> Answer:
    answer = house.states.uploads.receive(Upload(home, body_of(value)))
    if format_ == "format 3":
        as_format_3_kept_it(house, answer.receipt.id)
    return answer


def as_format_3_kept_it(house: House, id_: str) -> None:
    """Rewrite what is stored of an upload in the form of format 3."""
    (key,) = (info.key for info in house.objects.list("raw/") if id_ in info.key)
    old = key.partition(".")[0]
    house.objects.put(old, [house.objects.get(key)])
    house.objects.delete([key])
    for name, document in house.state.scan_all(SPACE, "upload/"):
        receipt = json.loads(document.value)
        if receipt["id"] == id_:
            del receipt["object"], receipt["decoded_bytes"]
            house.state.put(SPACE, name, json.dumps(receipt).encode())
    queue = house.states.uploads.queue
    for entry in queue.read():
        if id_.encode() in entry.value:
            changed = json.loads(entry.value) | {"object": old}
            queue.move(queue.take_turn(), type(entry)(entry.sequence, json.dumps(changed).encode()))


def sent_all(house: House, format_: str = "this format") -> dict[str, Answer]:
    """Upload what is to be damaged, by the values."""
    return {value: sent(house, value, format_=format_) for value in DAMAGES}


def damage_all(house: House, answers: dict[str, Answer]) -> list[str]:
    """Damage them, each in its own way; the names of their objects."""
    keys = [raw_of(house, answer) for answer in answers.values()]
    for damage, key in zip(DAMAGES.values(), keys, strict=True):
        damage(house, key)
    return keys


def assert_whole(house: House, answers: dict[str, Answer]) -> None:
    for value, answer in answers.items():
        assert house.objects.get(raw_of(house, answer)) == body_of(value)


def raw_of(house: House, answer: Answer) -> str:
    (key,) = (info.key for info in house.objects.list("raw/") if answer.receipt.id in info.key)
    return key


def values(house: House) -> list[str]:
    export = house.states.exports.open(["json"], Filters(), metadata=False)
    if export is None:
        return []
    try:
        return sorted(row["state"] for row in rows(b"".join(export)))
    finally:
        export.close()


def incomplete(house: House) -> str | None:
    export = house.states.exports.open(["json"], Filters(), metadata=False)
    assert export is not None
    export.close()
    return export.incomplete


def warning(house: House) -> str:
    return house.health()[0]["files"]


@in_formats
def test_a_damaged_upload_costs_its_own_rows_and_is_named(house: House, format_: str, caplog: pytest.LogCaptureFixture) -> None:
    house.installation.settle()
    answers = sent_all(house, format_)
    sent(house, WHOLE, OTHER_HOME)
    keys = damage_all(house, answers)
    assert values(house) == [WHOLE]
    assert house.states.uploads.pending() == []
    messages = [record.getMessage() for record in caplog.records]
    for key in keys:
        _, home_key, *name = key.split("/")
        assert [one for one in messages if "/".join(["raw", *name]) in one]
        assert home_key not in caplog.text
    assert HOME not in caplog.text
    told, failed = house.health()
    assert ("damaged or missing: 4;" in told["files"], failed) == (True, False)


@on_disk_and_servers("is_verified", [False, True], [True])
def test_an_export_says_that_it_lacks_the_rows_of_a_damaged_upload(house: House, is_verified: bool) -> None:
    house.installation.settle()
    answers = sent_all(house)
    sent(house, WHOLE, OTHER_HOME)
    assert incomplete(house) is None
    sent(house, "5")
    assert incomplete(house) is None
    damage_all(house, answers)  # the lake has their rows
    if is_verified:
        assert len(list(house.verifying.run(1, lambda *_: None))) == 4
    assert incomplete(house) is None
    later = {f"{value}0": sent(house, f"{value}0") for value in DAMAGES}
    damage_all(house, later)
    if is_verified:
        assert len(list(house.verifying.run(1, lambda *_: None))) == 8
    for value in later:
        assert "are missing, because these are damaged" in str(incomplete(house))
        assert not sent(house, value).duplicate
    assert incomplete(house) is None
    assert values(house) == sorted([WHOLE, "5", *answers, *later])


@on_disk_and_servers("format_, is_verified", product(["this format", "format 3"], [False, True]), [("this format", True)])
def test_what_left_the_lake_and_is_no_longer_kept_raw_is_missed_aloud(house: House, format_: str, is_verified: bool) -> None:
    house.installation.settle()
    answer = sent(house, "1", format_=format_)
    assert values(house) == ["1"]
    sent(house, "2", OTHER_HOME)
    assert values(house) == ["1", "2"]
    removed(house, raw_of(house, answer))
    if is_verified:
        assert list(house.verifying.run(1, lambda *_: None))
    assert incomplete(house) is None  # the lake has its rows
    house.objects.sweep_table("states", [one.key for one in house.objects.list_table("states", "day=")])
    house.states.rebuilding.look_at_all()
    for _ in range(4):
        house.housekeeper.keep()
    assert values(house) == ["2"]
    if format_ == "this format":
        assert "are missing, because these are damaged" in str(incomplete(house))
    assert "damaged or missing: 1;" in warning(house)
    assert not sent(house, "1").duplicate
    assert (values(house), incomplete(house)) == (["1", "2"], None)


@in_formats
def test_the_same_bytes_sent_again_heal_it(house: House, format_: str) -> None:
    house.installation.settle()
    answers = sent_all(house, format_)
    damage_all(house, answers)
    assert values(house) == []
    for value, answer in answers.items():
        assert warning(house) != "none is known"
        again = sent(house, value)
        assert (again.receipt, again.duplicate) == (answer.receipt, False)
    assert warning(house) == "none is known"
    assert values(house) == [*DAMAGES]
    assert all(sent(house, value).duplicate for value in DAMAGES)
    assert_whole(house, answers)


@in_formats
def test_damage_that_nobody_has_met_is_healed_too(house: House, format_: str) -> None:
    answers = sent_all(house, format_)
    assert values(house) == [*DAMAGES]
    damage_all(house, answers)
    assert not any(sent(house, value).duplicate for value in DAMAGES)
    assert values(house) == [*DAMAGES]
    assert_whole(house, answers)


def test_a_repeat_under_its_key_is_replayed_and_heals(house: House) -> None:
    uploads = {value: Upload(HOME, body_of(value), None, f"night {value}") for value in DAMAGES}
    answers = {value: house.states.uploads.receive(upload) for value, upload in uploads.items()}
    damage_all(house, answers)
    for value, upload in uploads.items():
        again = house.states.uploads.receive(upload)
        assert (again.receipt, again.replayed) == (answers[value].receipt, True)
    assert values(house) == [*DAMAGES]


@in_formats
def test_an_upload_whose_object_is_brought_back_is_queued_again(
    house: House, format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_uploads, "_LOOK_SECONDS", 0.0)
    house.installation.settle()
    keys = damage_all(house, sent_all(house, format_))
    assert values(house) == []
    house.states.chores.heal()
    for value, key in zip(DAMAGES, keys, strict=True):
        assert warning(house) != "none is known"
        house.objects.put(key, [body_of(value)])
        house.states.chores.heal()
    assert warning(house) == "none is known"
    assert values(house) == [*DAMAGES]


@on_disk_and_servers("how", ["sent again", "brought back"], ["brought back"])
def test_an_old_upload_that_is_missing_is_named_until_it_is_whole(
    house: House, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_uploads, "_LOOK_SECONDS", 0.0)
    house.installation.settle()
    answer = sent(house, "1", format_="format 3")
    assert values(house) == ["1"]
    key = raw_of(house, answer)
    house.objects.delete([key])
    ((name, what),) = [(one.name, one.what) for one in house.verifying.run(1.0, lambda *_: None)]
    assert answer.receipt.id in name
    assert "is missing" in what
    house.states.chores.heal()
    assert warning(house) != "none is known"
    if how == "sent again":
        sent(house, "1")
    else:
        house.objects.put(key, [body_of("1")])
        house.states.chores.heal()
    assert warning(house) == "none is known"
    assert values(house) == ["1"]


def test_an_upload_that_stays_damaged_is_read_less_and_less_often(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.installation.settle()
    keys, now, read = damage_all(house, sent_all(house)), [1e6], list[str]()
    assert values(house) == []
    get = house.objects.get
    monkeypatch.setattr(house.objects, "get", lambda name: (read.append(name), get(name))[1])
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    for _ in range(180):  # minutes
        now[0] += 60.5
        house.states.chores.heal()
    assert all(7 <= read.count(key) <= 10 for key in keys)
    now[0] += 7200
    held = house.leases.try_hold("damaged-uploads")
    assert held is not None
    read.clear()
    house.states.chores.heal()
    assert read == []
    held.release()


def test_forgetting_a_home_removes_the_notes_of_its_uploads(house: House) -> None:
    house.installation.settle()
    damage_all(house, sent_all(house))
    assert values(house) == []
    house.forgetting.forget(HOME)
    assert warning(house) == "none is known"
    assert list(house.objects.list("raw/")) == []


def test_an_old_upload_under_a_coding_is_whole(house: House) -> None:
    body = body_of("1")[2:-4]  # deflate without zlib's head, which only its coding tells
    answer = house.states.uploads.receive(Upload(HOME, body, "deflate"))
    as_format_3_kept_it(house, answer.receipt.id)
    (kept,) = house.states.uploads.kept()
    assert kept.encoding is None
    read, found = house.states.uploads.read(kept)
    assert (read.encoding, found) == ("deflate", body)


def test_a_sum_is_of_the_bytes_alone(house: House) -> None:
    answer: Any = sent(house, "1")
    assert hashlib.sha256(body_of("1")).hexdigest() in raw_of(house, answer)


def test_a_loss_for_good_is_accepted_and_the_same_upload_ends_it(house: House) -> None:
    answers, _ = {value: sent(house, value) for value in ("1", "2")}, sent(house, WHOLE, OTHER_HOME)
    for damage, answer in zip((removed, truncated), answers.values(), strict=True):
        damage(house, raw_of(house, answer))
    house.states.chores.flush()
    healing = house.states.uploads.healing
    assert len([*house.verifying.run(1.0, lambda *_: None)]) == 2
    assert healing.accept_losses() == 2
    assert healing.accept_losses() == 0
    assert [*house.verifying.run(1.0, lambda *_: None)] == []
    assert house.health()[0]["files"].startswith("none")
    assert values(house) == [WHOLE]
    assert len(list(house.objects.list("raw/"))) == 1
    assert not any(sent(house, value).duplicate for value in answers)
    house.states.chores.flush()
    assert values(house) == [WHOLE, *answers]
    assert house.states.counts.in_all().uploads == 3
