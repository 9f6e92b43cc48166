"""Requests whose records are all of one shape: read another way, and told and kept as every other request."""

from __future__ import annotations

import json
import threading
from typing import Any, Generic, TypeVar

import msgspec
import pytest

from smarthouse_api.collections.fast_path import UniformReader, UniformRecords
from tests.collections.conftest import Keeper

Records = TypeVar("Records")
MANY = 400


class _Request(msgspec.Struct, Generic[Records], forbid_unknown_fields=True):
    id: str
    data: Records


READER = UniformReader(_Request)


def _records(count: int = MANY, **members: Any) -> list[dict[str, Any]]:
    some = ({"timestamp": "2025-01-01T12:00:00Z", "room": "kitchen, north side", "value": at} for at in range(count))
    return [{**one, **members} for one in some]


def _body(records: list[Any], **members: Any) -> bytes:
    return json.dumps({"id": "x", "data": records, **members}).encode()


def _read(body: bytes) -> Any:
    """What is read once the shape is known."""
    READER.read(body)
    given = READER.read(body)
    return None if given is None else given["data"]


@pytest.mark.parametrize(
    "member",
    ["text", 'é €\n\\ "{[]}"', 7, -0.0, 1e300, 2**63, 2**200, True, False],
    ids=repr,
)
def test_the_records_are_what_any_reader_of_json_makes_of_them(member: Any) -> None:
    first = "plain text" if isinstance(member, str) else member  # the shape is told by one without brackets
    records = [*_records(1, other=first), *_records(MANY, other=None), *_records(1, other=member)]
    read = _read(_body(records))
    assert isinstance(read, UniformRecords)
    assert repr(read.as_dicts()) == repr(records)
    assert repr(read.values("other")) == repr([one["other"] for one in records])
    assert repr(json.loads(msgspec.json.encode(read))) == repr(records)


def test_integers_and_fractions_are_both_numbers() -> None:
    records = _records()
    records[3]["value"] = 2.5
    read = _read(_body(records))
    assert list(map(type, read.values("value")[2:5])) == [int, float, int]


def test_members_have_the_order_of_the_first_record() -> None:
    records = _records()
    records[7] = dict(reversed(records[7].items()))
    assert repr(_read(_body(records)).as_dicts()) == repr(_records())


def test_a_shape_is_read_so_from_the_second_time_on() -> None:
    body = _body(_records(**{"a name that is new": 1}))
    assert READER.read(body) is None
    assert READER.read(body) is not None


def test_a_member_that_is_not_there_is_null_everywhere() -> None:
    assert _read(_body(_records())).values("nothing") == [None] * MANY


@pytest.mark.parametrize("name", ["", "a b", "class", "f0", "__init__", "größe", "1", "data"])
def test_members_may_have_any_name(name: str) -> None:
    records = _records(**{name: 1})
    assert _read(_body(records)).as_dicts() == records


OTHERS = {
    "another type": {"value": "text"},
    "a boolean among numbers": {"value": True},
    "one more member": {"more": 1},
    "an object": {"value": {}},
    "an array": {"room": []},
}


@pytest.mark.parametrize("place", [0, MANY // 2, MANY - 1])
@pytest.mark.parametrize("other", OTHERS)
def test_records_of_another_shape_are_left_to_the_usual_way(other: str, place: int) -> None:
    records = _records()
    records[place] = {**records[place], **OTHERS[other]}
    assert _read(_body(records)) is None


UNUSUAL = {
    "no records": _body([]),
    "few records": _body(_records(3)),
    "a number among the records": _body([*_records(), 7]),
    "a last record of another shape": _body([*_records()[1:], {"room": "attic"}]),
    "null at first": _body(_records(value=None)),
    "a name that no struct has": _body(_records(**{'a"b': 1})),
    "more members than one reads so": _body(_records(**{f"m{at}": at for at in range(101)})),
    "one more member of the request": _body(_records(), more=1),
    "another type of a member of the request": _body(_records(), id=7),
    "data twice, at last empty": _body(_records())[:-1] + b', "data": []}',
    "NaN": _body(_records()).replace(b'"value": 399', b'"value": NaN'),
    "a number beyond all": _body(_records()).replace(b'"value": 399', b'"value": 1e999'),
    "no UTF-8": _body(_records()).replace(b"kitchen", b"\xff", 9),
    "half a surrogate": _body(_records()).replace(b"kitchen", b"\\ud800", 9),
    "broken off": _body(_records())[:-1],
    "more behind its end": _body(_records()) + b"}",
    "nothing but brackets": b"[" * 50_000,
    "a deep value": b'{"id": "x", "data": [{"value": ' + b"[" * 50_000,
    "a text without an end": b'{"id": "x", "data": [{"value": "' + b"x" * 50_000,
    "data again and again": b'"data": [{}' * 5_000,
    "nothing but zeros": b"\x00" * 50_000,
}


@pytest.mark.parametrize("body", UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_not_usual_is_left_to_the_usual_way(body: bytes) -> None:
    assert _read(body) is None


def test_the_last_of_equal_members_counts_as_it_does_elsewhere() -> None:
    body = _body(_records()).replace(b'"value": 5}', b'"value": 5, "value": 6}')
    assert _read(body).as_dicts() == json.loads(body)["data"]


def test_many_threads_may_meet_a_shape_first() -> None:
    for number in range(20):
        body = _body(_records(**{f"member {number}": 1}))
        start, read = threading.Barrier(8), list[Any]()

        def run(body: bytes = body, start: threading.Barrier = start, read: list[Any] = read) -> None:
            start.wait()
            read.append(_read(body).as_dicts())

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert read == [json.loads(body)["data"]] * 8


COLLECTIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a time field": {"timestamp_field": "timestamp"},
    "a time field that is no text": {"timestamp_field": "value"},
    "a time field that is not there": {"timestamp_field": "when"},
    "strict": {"mode": "strict"},
    "a schema that all follow": {"mode": "strict", "schema": {"required": ["room"]}},
    "a schema that some fail, kept": {"mode": "warn", "schema": {"properties": {"value": {"maximum": MANY - 2}}}},
    "a schema that is not asked": {"mode": "off", "schema": {"required": ["attic"]}},
    "a key": {"dedup_key": "room"},
    "the message": {"dedup_key": "msgid"},
}
TIMES = ["2025-01-01T12:00:00Z", "2025-01-01T12:00:00.250Z", "2025-01-01 12:00", "never", 7, None]


@pytest.mark.parametrize("refuse_faulty", [True, False], ids=["data source", "dataset"])
@pytest.mark.parametrize("timestamp", TIMES)
def test_they_become_of_them_what_becomes_of_all_records(keeper: Keeper, timestamp: Any, refuse_faulty: bool) -> None:
    records = _records()
    for record in records[1 if timestamp is None else 0 :]:
        record["timestamp"] = timestamp
    read = _read(_body(records))
    accept = keeper.house.collections.accepting.accept
    for number, (what, members) in enumerate(COLLECTIONS.items()):
        one, other = keeper.create(f"one-{number}", **members), keeper.create(f"other-{number}", **members)
        told = accept(one, UniformRecords(read), message_id="m", refuse_faulty=refuse_faulty)
        wanted = accept(other, records, message_id="m", refuse_faulty=refuse_faulty)
        assert msgspec.structs.replace(told, id=wanted.id, at=wanted.at) == wanted, what
        assert keeper.records(one) == keeper.records(other), what
        assert [entry.faults for entry in keeper.entries(one)] == [entry.faults for entry in keeper.entries(other)], what
