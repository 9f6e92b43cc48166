"""What a body decodes to, and that an upload's answer counts exactly the rows that the lake will hold."""

from __future__ import annotations

import gzip
import json
import random
import re
import subprocess
import sys
import time
import zlib
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pytest
import zstandard

from config.groups import RequestSettings
from smarthouse_api.states.payload.compression import TooLarge, Undecodable, unpack
from smarthouse_api.states.payload.decoding import to_table
from smarthouse_api.states.payload.inspection import inspect
from smarthouse_api.states.records.schema import RECORDS
from tests.conftest import ROOT

SETTINGS = RequestSettings()
TIME = "2022-06-20T12:46:04.198578+01:00"
UPLOAD = {
    "sensor.a": [
        {"entity_id": "sensor.a", "state": "21.5", "attributes": {"unit_of_measurement": "°C"}, "last_changed": TIME},
        {"entity_id": "sensor.a", "state": "unavailable", "attributes": {}, "last_changed": TIME, "last_updated": TIME},
    ],
    "light.b": [{"entity_id": "light.b", "state": "on", "attributes": {"brightness": 7, "friendly_name": "Ann's"}}],
}
TEXT = json.dumps(UPLOAD).encode()
GOOD = '{"state": "1", "attributes": {"device_class": "power"}, "last_changed": "' + TIME + '"}'


def states(*entries: str) -> bytes:
    return ('{"sensor.x": [' + ", ".join(entries) + "]}").encode()


def state(**members: Any) -> str:
    return json.dumps({"state": "1", **members})


def rows(body: bytes, content_encoding: str | None = None) -> list[dict[str, Any]]:
    return to_table([(body, content_encoding)], SETTINGS).table.to_pylist()


def counts(body: bytes, content_encoding: str | None = None) -> tuple[int, int]:
    """Records and ignored, once it is sure that both uses agree."""
    found = inspect(body, content_encoding, SETTINGS)
    assert to_table([(body, content_encoding)], SETTINGS).table.num_rows == found.records
    return found.records, found.ignored


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def windowed(level: int, bits: int) -> bytes:
    packer = zlib.compressobj(level, wbits=bits)
    return packer.compress(TEXT) + packer.flush()


@pytest.mark.parametrize(
    ("body", "content_encoding"),
    [
        (TEXT, None),
        (b"\xef\xbb\xbf" + TEXT, None),
        (json.dumps(UPLOAD, indent=1).encode(), None),
        (zlib.compress(TEXT), None),
        (windowed(0, 15), None),
        (windowed(1, 9), None),
        (windowed(9, 13), None),
        (gzip.compress(TEXT), None),
        (gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:]), None),
        (zstandard.compress(TEXT), None),
        (gzip.compress(zlib.compress(TEXT)), None),
        (TEXT, "identity"),
        (gzip.compress(TEXT), "gzip"),
        (gzip.compress(zlib.compress(TEXT)), "X-GZIP"),
        (zlib.compress(TEXT), "deflate"),
        (raw_deflate(TEXT), "deflate"),
        (zstandard.compress(TEXT), "zstd"),
        (zstandard.compress(gzip.compress(TEXT)), "gzip, zstd"),
    ],
)
def test_a_body_is_read_however_it_was_compressed(body: bytes, content_encoding: str | None) -> None:
    assert counts(body, content_encoding) == (3, 0)


@pytest.mark.parametrize(
    ("body", "content_encoding", "why"),
    [
        (zlib.compress(TEXT)[:-3], None, "zlib stream is cut short"),
        (zlib.compress(TEXT)[:30], None, "zlib stream is cut short"),
        (zlib.compress(TEXT) + b"more", None, "4 bytes follow the end of the zlib stream"),
        (zlib.compress(TEXT)[:-1] + b"!", None, "zlib stream is damaged"),
        (gzip.compress(TEXT)[:-3], None, "gzip stream is cut short"),
        (gzip.compress(TEXT) + b"more", None, "4 bytes follow the end of the gzip stream"),
        (zstandard.compress(TEXT)[:-3], None, "zstd stream is cut short"),
        (zstandard.compress(TEXT) + b"more", None, "4 bytes follow the end of the zstd stream"),
        (TEXT, "gzip", "gzip stream is damaged"),
        (b"", "gzip", "gzip stream is cut short"),
        (TEXT, "br", "'br' is not understood"),
        (TEXT, ",".join(["gzip"] * 9), "names 9 codings"),
        (zlib.compress(b""), None, "empty"),
        (TEXT.decode().encode("utf-16"), None, "not UTF-8"),
        ('{"é": []}'.encode("latin-1"), None, "not UTF-8"),
    ],
)
def test_bytes_that_are_no_text_are_refused_in_words(body: bytes, content_encoding: str | None, why: str) -> None:
    with pytest.raises(Undecodable, match=why):
        unpack(body, content_encoding, SETTINGS)
    assert inspect(body, content_encoding, SETTINGS).fault == "decoding"
    assert why in to_table([(body, content_encoding)], SETTINGS).faults[0]


@pytest.mark.parametrize("text", [b"3", b"hello", b"{", b'{"a": [1 2]}', b"{} {}", b"[" * 100_000, b'{"\\ud800": [{}}'])
def test_text_that_is_no_object_of_entities_is_refused_in_words(text: bytes) -> None:
    found = inspect(text, None, SETTINGS)
    assert (found.records, found.fault) == (0, "structure")
    assert found.detail == to_table([(text, None)], SETTINGS).faults[0]


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, zstandard.compress])
def test_a_bomb_is_refused_long_before_the_limit_on_size(pack: Any) -> None:
    with pytest.raises(TooLarge, match="200 times"):
        unpack(pack(bytes(40 << 20)), None, SETTINGS)


@pytest.mark.parametrize("part", [gzip.compress(b" "), zstandard.compress(b" ")], ids=["gzip", "zstd"])
def test_many_tiny_members_are_refused_and_many_full_ones_are_not(part: bytes) -> None:
    compress = gzip.compress if part.startswith(b"\x1f") else zstandard.compress
    with pytest.raises(TooLarge, match=r"1000 (gzip members|zstd frames) of less than 1024 bytes each"):
        unpack(part * 1001 + compress(b"[]"), None, RequestSettings())
    assert unpack(part * 900 + compress(b"[]"), None, RequestSettings()).strip() == b"[]"
    full = compress(b" " * 1100)
    assert unpack(full * 3000 + compress(b"[]"), None, RequestSettings()).strip() == b"[]"


_DEFLATE_END: Final = b"\x01\x00\x00\xff\xff" + (1).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("head", "block", "end"),
    [
        (b"\x78\x01", b"\x00\x00\x00\xff\xff", _DEFLATE_END),
        (b"\x78\x01", bytes([0x02, 0x08, 0x20, 0x80, 0x00]), _DEFLATE_END),  # four of ten bits
        (zstandard.FRAME_HEADER + b"\x00\x58", b"\x00\x00\x00", b"\x01\x00\x00"),
        (b"", b"\x50\x2a\x4d\x18\x00\x00\x00\x00", zstandard.compress(b"{}")),
    ],
    ids=["stored", "fixed", "zstd", "skippable frames"],
)
def test_blocks_that_hold_nothing_are_not_read_to_their_end(head: bytes, block: bytes, end: bytes) -> None:
    content_encoding, began = ("deflate" if head.startswith(b"\x78") else "zstd"), time.process_time()
    with pytest.raises((TooLarge, Undecodable), match=r"2 times as large|bytes follow"):
        unpack(head + block * (15_000_000 // len(block)) + end, content_encoding, RequestSettings())
    assert time.process_time() - began < 1.0
    with pytest.raises(Undecodable, match=r"empty|bytes follow"):
        unpack(head + block * 20 + end, content_encoding, RequestSettings())


def test_a_bomb_in_a_bomb_is_refused() -> None:
    inner = zlib.compress(bytes(60 << 20))
    with pytest.raises(TooLarge):
        unpack(zlib.compress(inner), None, RequestSettings(max_compression_ratio=1100))


def test_a_bomb_of_a_gigabyte_takes_less_than_64_megabytes() -> None:
    script = """if True:
        import resource, zlib
        from config.groups import RequestSettings
        from smarthouse_api.states.payload.compression import TooLarge, unpack
        packer = zlib.compressobj()
        bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1024)) + packer.flush()
        unpack(zlib.compress(b"{}"), None, RequestSettings())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            unpack(bomb, None, RequestSettings())
        except TooLarge:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 64 * 1024


def test_a_short_text_may_repeat_itself() -> None:
    body = zlib.compress(json.dumps({"sensor.x": [{"state": "1"}] * 20_000}).encode())
    assert counts(body) == (20_000, 0)


def test_a_text_over_the_limit_is_refused_whether_compressed_or_not() -> None:
    for body in (TEXT, zlib.compress(TEXT)):
        with pytest.raises(TooLarge, match="100 bytes"):
            unpack(body, None, RequestSettings(max_decoded_bytes=100))


@pytest.mark.parametrize("text", [states(*[GOOD] * 11), states(*["3"] * 11), states(*["{}"] * 999)])
def test_too_many_states_are_refused(text: bytes) -> None:
    with pytest.raises(TooLarge, match="10 records"):
        inspect(text, None, RequestSettings(max_records=10))
    assert "10 records" in to_table([(text, None)], RequestSettings(max_records=10)).faults[0]


@pytest.mark.parametrize(
    "entry",
    [
        "3",
        "null",
        "[]",
        "{}",
        state(state=None),
        state(state=3),
        state(entity_id=3),
        state(attributes=[]),
        state(attributes="x"),
        '{"state": NaN}',
        '{"state": "1", "attributes": {"x": NaN}}',
        '{"state": "1", "attributes": {"x": [-Infinity]}}',
        '{"state": "1", "attributes": {"device_class": "\\ud800"}}',
        '{"state": "\\udc00"}',
        '{"state": "1", "entity_id": "\\ud800\\ud800"}',
        '{"state": "1", "attributes": {"x": ' + "[" * 70 + "]" * 70 + "}}",
        '{"state": "1", "attributes": {"x": ' + "[" * 100_000 + "]" * 100_000 + "}}",
        '{"state": "1", "attributes": {"x": ' + '{"y":' * 5_000 + "1" + "}" * 5_000 + "}}",
    ],
)
def test_a_malformed_state_costs_only_itself(entry: str) -> None:
    assert counts(states(GOOD, entry, GOOD)) == (2, 1)


@pytest.mark.parametrize(
    "entry",
    [
        state(attributes=None),
        state(entity_id=None),
        state(last_changed=5),
        state(last_changed=None, last_updated={"x": []}),
        state(context={"user_id": "x"}, last_reported=TIME),
        '{"state": "1", "context": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"state": "1", "last_changed": 1e999}',
        '{"state": "1", "attributes": {"min": ' + "1" * 1_000_000 + "}}",
        '{"state": "1", "attributes": {"x": "\\"[[{{ NaN Infinity _ \\\\"}}',
        '{"state": "1", "attributes": {"min": 1e_16}}',
    ],
)
def test_an_odd_member_does_not_cost_its_state(entry: str) -> None:
    assert counts(states(GOOD, entry)) == (2, 0)


def test_a_repaired_body_keeps_the_texts_that_look_like_its_faults() -> None:
    odd = {"state": 'NaN, -Infinity_[[{"', "attributes": {"mode": "NaN: I \\ud800 \\"}}
    body = states(json.dumps(odd), '{"state": NaN}')
    (row,) = rows(body)
    assert (row["state"], json.loads(row["attributes"])) == (odd["state"], odd["attributes"])


def test_a_value_that_is_no_array_counts_once() -> None:
    body = b'{"sensor.x": {"state": "1"}, "sensor.y": null, "sensor.z": [' + GOOD.encode() + b"]}"
    assert counts(body) == (1, 2)


def test_both_lists_of_a_name_that_comes_twice_count() -> None:
    body = b'{"sensor.x": [{"state": "1"}, {"state": "2"}], "sensor.y": [], "sensor\\u002ex": [{"state": "3"}]}'
    assert [row["state"] for row in rows(body)] == ["1", "2", "3"]
    assert counts(body) == (3, 0)


def test_the_key_stands_in_for_a_missing_entity_id() -> None:
    assert [row["entity_id"] for row in rows(states('{"state": "1"}', state(entity_id="sensor.y")))] == ["sensor.x", "sensor.y"]


def test_a_record_has_its_columns() -> None:
    table = to_table([(TEXT, None)], SETTINGS).table
    assert table.schema == RECORDS
    assert table.to_pylist()[0] == {
        "entity_id": "sensor.a",
        "type": "sensor",
        "state": "21.5",
        "value": 21.5,
        "unit": "°C",
        "device_class": None,
        "last_changed": datetime(2022, 6, 20, 11, 46, 4, 198578, UTC),
        "last_updated": None,
        "utc_offset": 60,
        "attributes": '{"unit_of_measurement":"°C"}',
        "attributes_uploaded": None,
    }


def test_a_real_upload_decodes_whole(real_upload: bytes) -> None:
    assert {row["type"] for row in rows(zlib.compress(real_upload))} == {"persistent_notification", "person", "sun", "weather"}
    assert counts(real_upload) == (4, 0)


def test_a_real_upload_says_the_same_after_the_sanitiser(real_upload: bytes) -> None:
    sanitised = re.sub(r"(?<=\d)_(?=\d)", ".", re.sub(r"[.<>*#%&+?/]", "_", real_upload.decode())).encode()
    kept = ("entity_id", "type", "state", "last_changed", "attributes")
    assert [[row[name] for name in kept] for row in rows(sanitised)] == [
        [row[name] for name in kept] for row in rows(real_upload)
    ]


def test_rows_know_their_body_and_a_bad_body_costs_only_itself() -> None:
    decoded = to_table([(TEXT, None), (b"no", None), (states(), None), (zlib.compress(TEXT), None)], SETTINGS)
    assert decoded.payload.to_pylist() == [0, 0, 0, 3, 3, 3]
    assert list(decoded.faults) == [1]


def test_nothing_decodes_to_an_empty_table() -> None:
    decoded = to_table([], SETTINGS)
    assert (decoded.table.num_rows, decoded.table.schema, len(decoded.payload)) == (0, RECORDS, 0)


@pytest.mark.parametrize(
    ("text", "ticks"),
    [
        (TIME, "2022-06-20T11:46:04.198578"),
        ("2022-06-20T12:46:04.198578.01:00", "2022-06-20T11:46:04.198578"),
        ("2022-06-20T12:46:04.01:00", "2022-06-20T11:46:04"),
        ("2022-06-20T12:46:04-05:30", "2022-06-20T18:16:04"),
        ("2022-06-20T12:46:04Z", "2022-06-20T12:46:04"),
        ("2022-06-20T12:46:04.5", "2022-06-20T12:46:04.500000"),
        ("2022-06-20T12:46:04.123456789Z", "2022-06-20T12:46:04.123456"),
        ("2022-06-20", "2022-06-20T00:00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999"),
        ("0001-01-01T00:00:00+01:00", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("0000-01-01T00:00:00Z", None),
        ("2022-02-30T00:00:00Z", None),
        ("2022-06-20T12:46:04+99:99", None),
        ("{{REDACTED}}", None),
        ("", None),
    ],
)
def test_a_time_reads_the_same_alone_and_among_others(text: str, ticks: str | None) -> None:
    expected = datetime.fromisoformat(ticks).replace(tzinfo=UTC) if ticks else None
    alone = rows(states(state(last_changed=text)))[0]["last_changed"]
    among = rows(states(state(last_changed=text), state(last_changed="nonsense"), state(last_changed=TIME)))[0]["last_changed"]
    assert alone == among == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [("21.5", 21.5), ("-0.5", -0.5), ("+5", 5), ("1e-05", 1e-05), ("007", 7), (".5", 0.5), ("5.", 5)]
    + [(text, None) for text in ("", " 1", "1\n", "nan", "inf", "-Infinity", "0x10", "1_000", "1,5", "1e999", "٣", "1" * 999)],
)
def test_a_value_is_a_finite_decimal_number_or_null(text: str, value: float | None) -> None:
    assert rows(states(state(state=text)))[0]["value"] == value


@pytest.mark.parametrize(
    ("uploaded", "kind", "kept"),
    [
        ("sensor.x", "sensor", "sensor.x"),
        ("sensor_x", "sensor", "sensor.x"),
        ("binary_sensor_x_y", "binary_sensor", "binary_sensor.x_y"),
        ("sensor_temp_2.3", "sensor", "sensor.temp_2_3"),
        ("device_tracker_7.x", "device_tracker_7", "device_tracker_7.x"),
        ("weather_station.temp", "weather_station", "weather_station.temp"),
        ("light_manager.zone_1", "light_manager", "light_manager.zone_1"),
        ("switch_bot.curtain", "switch_bot", "switch_bot.curtain"),
        ("climate_ip.hall", "climate_ip", "climate_ip.hall"),
        ("plant_monitor.fern", "plant_monitor", "plant_monitor.fern"),
        ("sensor_", "unknown", "sensor_"),
        (" Person.Admin", "person", " Person.Admin"),
        ("PERSON_x", "person", "PERSON_x"),
        ("ｐerson．x", "person", "ｐerson．x"),
        ("per\u200bson.x", "person", "per\u200bson.x"),
        ("hacs.x", "hacs", "hacs.x"),
        ("a.b.c", "a", "a.b.c"),
        ("hello world", "unknown", "hello world"),
        ("🏠.x", "unknown", "🏠.x"),
        ("", "unknown", ""),
        ("x" * 5000, "unknown", "x" * 5000),
    ],
)
def test_an_entity_id_has_a_type_and_loses_the_sanitiser(uploaded: str, kind: str, kept: str) -> None:
    (row,) = rows(states(state(entity_id=uploaded)))
    assert (row["type"], row["entity_id"]) == (kind, kept)


def test_deep_nesting_counts_the_same_wherever_it_is_asked_from() -> None:
    def deeper(frames: int, body: bytes) -> Any:
        return deeper(frames - 1, body) if frames else inspect(body, None, SETTINGS)

    for depth in range(300, 1000, 100):
        body = states(GOOD, '{"state": "1", "context": ' + "[" * depth + "]" * depth + "}")
        assert deeper(0, body) == deeper(500, body)


def mutated(chance: random.Random) -> bytes:
    text = bytearray(chance.choice([TEXT, states(GOOD, state(attributes={"min": [1, {"a": "\\"}]}), "3"), b"{}"]))
    bits = [b"NaN", b"[", b"}", b'"', b"\\", b"\\ud800", b"null", b",", b"1e999", b"\xff", b"\x00", b"{}", b":", b"_", b"\n"]
    for _ in range(chance.randrange(4)):
        place = chance.randrange(len(text) + 1)
        text[place : place + chance.randrange(6)] = chance.choice(bits)
    body = chance.choice([bytes, zlib.compress, gzip.compress, zstandard.compress])(bytes(text))
    if chance.random() < 0.2:
        body = body[: chance.randrange(len(body) + 1)]
    return body


def test_whatever_is_sent_the_answer_counts_the_rows() -> None:
    chance = random.Random(7)
    bodies = [(mutated(chance), chance.choice([None, None, None, "gzip", "deflate", "zstd"])) for _ in range(4_000)]
    found = [inspect(body, coding, SETTINGS) for body, coding in bodies]
    decoded = to_table(bodies, SETTINGS)
    held = decoded.payload.to_numpy()
    assert [each.records for each in found] == [int(count) for count in np.bincount(held, minlength=4_000)]
    assert all(found[place].detail == why and not found[place].records for place, why in decoded.faults.items())
    assert all(each.detail for each in found if each.ignored or each.without_time or not each.records)
    assert sum(each.records > 0 for each in found) > 500
    assert sum(each.ignored > 0 for each in found) > 100


@pytest.fixture
def real_upload() -> bytes:
    return (ROOT / "tests" / "data" / "home-assistant-upload.json").read_bytes()
