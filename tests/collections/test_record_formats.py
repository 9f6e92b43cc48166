"""Each format is read back with readers that know nothing of its writer."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from smarthouse_api.arrow import parquet, slices
from smarthouse_api.arrow.formats import Frame
from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.collections.record_formats import RECORD_FORMATS, RecordRows

AT = datetime(2026, 11, 21, 17, 0, 0, 123456, UTC)
AT_TEXT = "2026-11-21T17:00:00.123456Z"

TEXTS = (
    "plain",
    "",
    " ",
    'a "quoted" word',
    '"',
    "a, b",
    "two\r\nlines",
    "\r",
    "\n",
    "\x00",
    "\x7f\x1f",
    "\u2028\u2029\x85",
    "\ufeffmark",
    "𝔘𝔫𝔦 👩‍🚀",
    "back\\slash \\u00e9 \\",
    "=1+1",
    "null",
    "true",
    "1",
    "{}",
    "\t tab",
)
"""Texts that some writer or reader is known to trip over."""

READ = tuple(text.replace("\0", "\ufffd") for text in TEXTS)
"""The same texts as every format gives them: without NUL."""

KINDS = {"bool": True, "int": -7, "float": 2.5, "string": "x", "json": {"a": [1, "ä", None]}}
"""A value of each type of field."""

every_format = pytest.mark.parametrize("name", RECORD_FORMATS)
json_format = pytest.mark.parametrize("name", ["json", "jsonl"])

Rows = list[dict[str, Any]]


def batch(*records: str | Mapping[str, Any], faults: Mapping[int, str] | None = None, sequence: int = 12) -> pa.RecordBatch:
    """Rows as the lake gives them. records: objects, or JSON text as it is kept."""
    rows = range(len(records))
    texts = [record if isinstance(record, str) else json.dumps(record, separators=(",", ":")) for record in records]
    return pa.RecordBatch.from_pydict(
        {
            "sequence": pa.array([sequence] * len(texts), pa.int64()),
            "position": pa.array(rows, pa.int32()),
            "received": pa.array([AT] * len(texts), TIMESTAMP),
            "time": pa.array([AT] * len(texts), TIMESTAMP),
            "record": pa.array(texts, pa.string()),
            "fault": pa.array([(faults or {}).get(row) for row in rows], pa.string()),
        }
    )


def encoded(name: str, fields: Mapping[str, str], *batches: pa.RecordBatch, meta: bool = False, **more: Any) -> bytes:
    return b"".join(RECORD_FORMATS[name].write(RecordRows(iter(batches), fields, with_meta=meta, **more)))


def objects(name: str, data: bytes) -> Rows:
    """The objects of `json` and `jsonl`, by a reader that refuses what JSON does not have."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    parts = [data] if name == "json" else data.decode().split("\n")[:-1]
    found = [json.loads(part, parse_constant=refuse) for part in parts]
    return found[0] if name == "json" else found


def cells(data: bytes) -> list[dict[str, str | None]]:
    """The rows of `csv`, by Arrow's reader, which tells a quoted empty text from a bare one."""
    names = next(csv.reader(io.StringIO(data.decode(), newline="")))
    table = pyarrow.csv.read_csv(
        io.BytesIO(data),
        read_options=pyarrow.csv.ReadOptions(block_size=1 << 26),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    assert table.column_names == names
    return table.to_pylist()


def table(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data))


def back(name: str, fields: Mapping[str, str], *batches: pa.RecordBatch, meta: bool = False) -> Rows:
    data = encoded(name, fields, *batches, meta=meta)
    if name == "csv":
        return cells(data)
    return table(data).to_pylist() if name == "parquet" else objects(name, data)


def test_the_formats_have_their_names_and_media_types():
    assert {name: form.media_type for name, form in RECORD_FORMATS.items()} == {
        "json": "application/json",
        "jsonl": "application/jsonl",
        "csv": "text/csv",
        "parquet": "application/vnd.apache.parquet",
    }
    assert all(name == form.name for name, form in RECORD_FORMATS.items())


# --- all formats


@every_format
def test_texts_come_back_as_they_were(name):
    rows = [{"text": text, "n": "end"} for text in TEXTS]
    assert back(name, {"text": "string", "n": "string"}, batch(*rows)) == [{"text": text, "n": "end"} for text in READ]


@every_format
def test_texts_written_with_escapes_say_the_same(name):
    record = r'{"text":"\u0041\u00e9\ud83d\ude00\/\b\f\n\r\t\"\\ \\u0041 \u0000"}'
    assert back(name, {"text": "string"}, batch(record)) == [{"text": 'Aé😀/\b\f\n\r\t"\\ \\u0041 \ufffd'}]


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_half_a_surrogate_pair_is_replaced_where_text_cannot_say_it(name):
    fields = {"text": "string", "a": "int", "\ufffd": "string"}
    found = back(name, fields, batch(r'{"text":"a\ud800b","a":1,"\udc00":"c"}', {"text": "d"}))
    assert [row["text"] for row in found] == ["a\ufffdb", "d"]
    assert str(found[0]["a"]) == "1"
    assert found[0]["\ufffd"] == "c"


@json_format
def test_half_a_surrogate_pair_stays_as_it_is_kept(name):
    assert rb'{"text":"a\ud800b"}' in encoded(name, {"text": "string"}, batch(r'{"text":"a\ud800b"}'))


@every_format
def test_names_of_members_come_back_as_they_were(name):
    names = [text for text in TEXTS if name != "csv" or text != "\ufeffmark"]
    record = {text: str(number) for number, text in enumerate(names)}
    (found,) = back(name, dict.fromkeys(record, "string"), batch(record))
    assert found == {text.replace("\0", "\ufffd"): number for text, number in record.items()}


@every_format
def test_no_format_holds_a_nul(name):
    record, fields = {"a\0": "b\0", "c": ["d\0"]}, {"a\0": "string", "c": "json"}
    (found,) = back(name, fields, batch(record, faults={0: "e\0"}), meta=True)
    assert (found["a\ufffd"], found["_fault"]) == ("b\ufffd", "e\ufffd")
    assert "\0" not in str(found)
    assert "u0000" not in str(found)


@json_format
def test_json_is_on_one_line_for_a_reader_that_splits_at_every_separator(name):
    text = "é\x85\u2028\u2029"
    data = encoded(name, {}, batch(json.dumps({text: text}, ensure_ascii=False), "{}", faults={1: text}), meta=True).decode()
    assert data.splitlines() == data.rstrip("\n").split("\n")
    first, second = objects(name, data.encode())
    assert (first[text], second["_fault"]) == (text, text)


@every_format
def test_no_batch_is_a_whole_answer_without_rows(name):
    assert back(name, dict(zip("abcde", KINDS, strict=True)), meta=True) == []


@every_format
@pytest.mark.parametrize("meta", [True, False])
def test_an_answer_without_fields_is_whole(name, meta):
    found = encoded(name, {}, meta=meta)
    assert found == {"json": b"[]\n", "jsonl": b"", "csv": b"_position,_received_at,_fault\n" if meta else b"\n"}.get(
        name, found
    )
    if name == "parquet":
        assert table(found).num_rows == 0


@every_format
def test_records_without_any_member_are_whole_answers(name):
    read = encoded(name, {}, batch({}, {}))
    if name == "parquet":
        assert pq.read_table(io.BytesIO(read)).num_columns == 0
    elif name != "csv":
        assert objects(name, read) == [{}, {}]


@every_format
def test_empty_batches_add_nothing(name):
    found = back(name, {"a": "string"}, batch(), batch({"a": "x"}), batch(), batch({"a": "y"}), batch())
    assert found == [{"a": "x"}, {"a": "y"}]


@every_format
def test_a_sliced_batch_gives_only_its_slice(name):
    rows = [{"a": str(number), "b": "x"} for number in range(50)]
    whole = batch(*rows, faults={7: "not this", 12: "this"})
    found = back(name, {"a": "string", "b": "string"}, whole.slice(10, 30), meta=True)
    assert [row["a"] for row in found] == [str(number) for number in range(10, 40)]
    assert [row.get("_fault") for row in found] == [None, None, "this", *[None] * 27]
    assert found[0]["_position"] == "12-10"


@every_format
@pytest.mark.parametrize("kind", [pa.string_view(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_texts_of_other_string_types_give_the_same(name, kind):
    plain = batch(*({"text": text} for text in TEXTS), faults={3: "why", 5: "why", 6: "else"})
    other = plain
    for column in ("record", "fault"):
        texts = plain.column(column)
        texts = texts.dictionary_encode() if pa.types.is_dictionary(kind) else texts.cast(kind)
        other = other.set_column(other.schema.get_field_index(column), column, texts)
    fields = {"text": "string"}
    assert encoded(name, fields, other.slice(2), meta=True) == encoded(name, fields, plain.slice(2), meta=True)


@every_format
def test_columns_are_found_by_name_whatever_their_order(name):
    plain = batch({"a": 1}, faults={0: "why"})
    turned = plain.select(plain.schema.names[::-1])
    assert encoded(name, {"a": "int"}, turned, meta=True) == encoded(name, {"a": "int"}, plain, meta=True)


@every_format
def test_meta_members_stand_in_front(name):
    (found,) = back(name, {"a": "string"}, batch({"a": "x"}, faults={0: 'a "fault", /a'}), meta=True)
    at = AT if name == "parquet" else AT_TEXT
    assert list(found.items()) == [("_position", "12-0"), ("_received_at", at), ("_fault", 'a "fault", /a'), ("a", "x")]


@every_format
def test_a_meta_member_makes_way_for_a_member_of_its_name(name):
    fields = {"_position": "string", "__position": "string", "_fault": "string", "a": "string"}
    rows = [{"_position": "p", "__position": "q", "_fault": "f", "a": "x"}, {"a": "y"}]
    first, second = back(name, fields, batch(*rows, faults={0: "why", 1: "so"}), meta=True)
    assert [first["___position"], first["__fault"], second["___position"], second["__fault"]] == ["12-0", "why", "12-1", "so"]
    assert list(first)[1] == "_received_at"
    assert [first["_position"], first["__position"], first["_fault"]] == ["p", "q", "f"]


@every_format
def test_records_of_many_shapes_are_rows_of_one_answer(name):
    rows = [{"a": "1"}, {}, {"b": "2", "a": "3"}, {"c": None}, {"c": "4"}]
    found = back(name, dict.fromkeys("abc", "string"), batch(*rows))
    if name in ("csv", "parquet"):
        rows = [dict.fromkeys("abc") | row for row in rows]
    assert found == rows


@every_format
def test_batches_are_read_as_chunks_are_asked_for(name, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 2)
    pulled = []

    def source() -> Iterator[pa.RecordBatch]:
        for number in range(10):
            pulled.append(number)
            yield batch({"a": 1}, {"a": 2})

    chunks = RECORD_FORMATS[name].write(RecordRows(source(), {"a": "int"}, with_meta=True))
    next(chunks)
    assert len(pulled) <= 1
    next(chunks)
    next(chunks)
    assert len(pulled) <= 3


@every_format
def test_a_fault_in_the_batches_is_raised_and_not_taken_for_the_end(name):
    def source() -> Iterator[pa.RecordBatch]:
        yield batch({"a": 1})
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        list(RECORD_FORMATS[name].write(RecordRows(source(), {"a": "int"}, with_meta=True)))


@pytest.mark.parametrize("name", ["json", "jsonl", "csv"])
@pytest.mark.parametrize("kind", ["view", "dictionary"])
def test_a_long_record_that_is_held_once_is_not_written_out_in_every_row_at_once(name, kind):
    """2,000 rows that share a record of 1 MB are 2 GB as text and 1 MB as they come."""
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), pa.array([json.dumps({"a": "x" * (1 << 20)})]))
    if kind == "view":
        _, view, text = shared.dictionary.cast(pa.string_view()).buffers()
        shared = pa.Array.from_buffers(pa.string_view(), 2000, [None, pa.py_buffer(view.to_pybytes() * 2000), text])
    plain = batch(*["{}"] * 2000)
    held = plain.set_column(plain.schema.get_field_index("record"), "record", shared)
    chunks = RECORD_FORMATS[name].write(RecordRows(iter([held]), {"a": "string"}, with_meta=True))
    assert max(len(next(chunks)) for _ in range(4)) < 2 * slices.TEXT_BYTES


@every_format
def test_a_single_huge_record_comes_back(name):
    record = {"text": 'a"\n,' * (2 << 20), "b": "end"}
    found = back(name, dict.fromkeys(record, "string"), batch({"text": ""}, record, {"text": ""}))[1]
    assert found == record | ({"text": record["text"][:131_071] + "…"} if name == "csv" else {})


def test_csv_cuts_a_text_that_pythons_csv_would_refuse():
    longest = "é" * csv.field_size_limit()
    data = encoded("csv", {"a": "string"}, batch({"a": longest}, {"a": longest + "x"}))
    assert [row["a"] for row in csv.DictReader(io.StringIO(data.decode()))] == [longest, longest[:-1] + "…"]


def test_a_row_is_measured_whatever_kind_of_string_it_has():
    texts = pa.array(["a", None, "é" * 20, "", "x" * 300])
    coded = pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 2, 3]), pa.array(["a", "é" * 20, "", "x" * 300]))
    kinds = [texts, texts.cast(pa.large_string()), texts.cast(pa.string_view()), coded]
    assert [slices.lengths(column.slice(1, 3)).tolist() for column in kinds] == [[0, 40, 0]] * 4
    assert slices.lengths(pa.array([1, 2])).tolist() == [0, 0]


# --- json and jsonl


@json_format
@pytest.mark.parametrize("meta", [True, False])
def test_the_text_of_a_record_is_left_alone(name, meta):
    record = '{"a":12345678901234567890123456789012345678901,"b":1.10,"c":1E400,"d":"\\u00e9é","a":2,"e":{"x" : [ ]}}'
    assert record[1:].encode() in encoded(name, {}, batch(record), meta=meta)


@json_format
def test_what_is_said_of_a_record_is_spliced_in(name):
    data = encoded(name, {"a": "int"}, batch({"a": 1}, {}, faults={0: "no"}), meta=True)
    head = f'"_received_at":"{AT_TEXT}"'
    expected = [f'{{"_position":"12-0",{head},"_fault":"no","a":1}}', f'{{"_position":"12-1",{head}}}']
    assert data.decode() == ("[" + ",\n".join(expected) + "]\n" if name == "json" else "\n".join(expected) + "\n")


@json_format
@pytest.mark.parametrize("record", [" {} ", "{ }", '\n{\r\n\t"a"\n:\r1\n}\n', '{ "a":1}', ' {"a":1}'])
@pytest.mark.parametrize("meta", [True, False])
def test_space_between_tokens_breaks_nothing(name, record, meta):
    data = encoded(name, {"a": "int"}, batch({"a": 0}, record, "{}"), meta=meta)
    found = objects(name, data)
    assert [{key: row[key] for key in row if key == "a"} for row in found] == [{"a": 0}, json.loads(record), {}]
    assert data.count(b"\n") == 3
    assert b"\r" not in data


@json_format
def test_a_fault_may_be_any_text(name):
    found = back(name, {}, batch(*["{}"] * len(TEXTS), faults=dict(enumerate(TEXTS))), meta=True)
    assert [row["_fault"] for row in found] == list(READ)


def test_json_stands_in_the_frame_that_is_asked_for():
    frame = Frame(b'{"id":"x","records":[', b'],"next":null}')
    for rows in ([], [{"a": 1}, {"a": 2}]):
        found = json.loads(encoded("json", {"a": "int"}, *(batch(row) for row in rows), frame=frame))
        assert found == {"id": "x", "records": rows, "next": None}


def test_pandas_reads_the_jsonl():
    frame = pd.read_json(io.BytesIO(encoded("jsonl", {}, batch({"a": 1, "b": "x"}, {"a": 2}), meta=True)), lines=True)
    assert frame["a"].tolist() == [1, 2]
    assert frame["_position"].tolist() == ["12-0", "12-1"]


# --- csv


def test_csv_is_laid_out_as_rfc_4180_has_it():
    fields = dict(zip("abcde", KINDS, strict=True)) | {'f,"': "null"}
    data = encoded("csv", fields, batch(dict(zip("abcde", KINDS.values(), strict=True)), {"d": "a\nb"}, {"d": ""}))
    assert data == b'a,b,c,d,e,"f,"""\ntrue,-7,2.5,x,"{""a"":[1,""\\u00e4"",null]}",\n,,,"a\nb",,\n,,,"",,\n'


def test_csv_keeps_the_digits_of_a_number():
    numbers = ["12345678901234567890123456789", "1.10", "1E400", "-0", "1e5"]
    data = encoded("csv", {"a": "float", "b": "json"}, batch(*(f'{{"a":{text},"b":{text}}}' for text in numbers)))
    assert data.decode().split("\n")[1:-1] == [f"{text},{text}" for text in numbers]


def test_csv_tells_a_text_from_a_number_in_a_column_of_both():
    found = back("csv", {"a": "json"}, batch({"a": 1}, {"a": "1"}, {"a": None}, {"a": ""}, {"a": "null"}))
    assert [row["a"] for row in found] == ["1", '"1"', None, '""', '"null"']


def test_csv_takes_values_that_their_field_does_not_allow():
    values = [1, -1.5, "x,", "", True, None, [1, "a"], {"b": '"'}]
    for type_ in ("null", *KINDS):
        found = back("csv", {"a": type_}, batch(*({"a": value} for value in values)))
        assert found[-1]["a"] == '{"b":"\\""}'
        assert found[5]["a"] is None


def test_the_csv_module_reads_the_csv():
    data = encoded("csv", {"text": "string", "n": "int"}, batch(*({"text": text, "n": 1} for text in TEXTS)), meta=True)
    found = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert [row["text"] for row in found] == list(READ)
    assert {row["_received_at"] for row in found} == {AT_TEXT}


def test_pandas_reads_the_csv_and_what_looks_like_a_formula_is_data():
    texts = [text for text in TEXTS if text and "\0" not in text]
    data = encoded("csv", {"text": "string", "n": "float"}, batch(*({"text": text, "n": 1.5} for text in texts)), meta=True)
    frame = pd.read_csv(io.BytesIO(data), keep_default_na=False, dtype={"text": str}, parse_dates=["_received_at"])
    assert frame["text"].tolist() == texts
    assert frame["n"].tolist() == [1.5] * len(texts)
    assert frame["_received_at"].tolist() == [AT] * len(texts)


# --- parquet


def test_parquet_has_a_column_of_the_type_of_each_field():
    fields = {"n": "null", **{name: name for name in KINDS}}
    found = table(encoded("parquet", fields, meta=True)).schema
    assert dict(zip(found.names, found.types, strict=True)) == {
        "_position": pa.string(),
        "_received_at": TIMESTAMP,
        "_fault": pa.string(),
        "n": pa.string(),
        "bool": pa.bool_(),
        "int": pa.int64(),
        "float": pa.float64(),
        "string": pa.string(),
        "json": pa.string(),
    }


def test_parquet_holds_the_values():
    fields = {name: name for name in KINDS}
    found = back("parquet", fields, batch(KINDS, {}, dict.fromkeys(KINDS)))
    nothing = dict.fromkeys(KINDS)
    assert found == [KINDS | {"json": r'{"a":[1,"\u00e4",null]}'}, nothing, nothing]


def test_parquet_holds_the_whole_range_of_integers_and_of_numbers():
    ints = [-(1 << 63), -1, 0, (1 << 63) - 1]
    assert [row["a"] for row in back("parquet", {"a": "int"}, batch(*({"a": one} for one in ints)))] == ints
    floats = [1.7976931348623157e308, 5e-324, -0.0, 0.1, 1e22, 3]
    found = [row["a"] for row in back("parquet", {"a": "float"}, batch(*({"a": one} for one in floats)))]
    assert list(map(repr, found)) == [repr(float(one)) for one in floats]


def test_parquet_keeps_every_digit_of_what_is_no_number_of_its_own_as_json():
    numbers = [str(1 << 63), str(-(1 << 63) - 1), "1e400", "1" * 5000]
    found = back("parquet", {"a": "json"}, batch(*(f'{{"a":{text}}}' for text in numbers)))
    assert [row["a"] for row in found] == numbers


@pytest.mark.parametrize("type_", ["bool", "int", "float"])
def test_parquet_has_null_for_a_value_that_its_field_does_not_allow(type_):
    values = ["1e400", "-1e400", '"1"', '"nan"', '"true"', "[1]", "{}", "null"]
    values += {"bool": ["1"], "int": [str(1 << 63), "1.5", "1e5", "1" * 5000], "float": ["false"]}[type_]
    good = {"bool": "true", "int": "1", "float": "1.0"}[type_]
    found = back("parquet", {"a": type_}, batch(*(f'{{"a":{text}}}' for text in [*values, good])))
    assert [row["a"] for row in found] == [None] * len(values) + [json.loads(good)]


def test_pandas_reads_the_parquet():
    data = encoded("parquet", {"a": "int", "b": "string"}, batch({"a": 1, "b": "x"}, {"b": ""}), meta=True)
    frame = pd.read_parquet(io.BytesIO(data))
    assert frame["b"].tolist() == ["x", ""]
    assert frame["a"].isna().tolist() == [False, True]
    assert frame["_received_at"].tolist() == [AT, AT]


def test_a_row_group_is_cut_by_rows_and_by_size(monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 20)
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 1 << 20)
    small, large = batch(*[{"a": "x"}] * 10), batch(*[{"a": "y" * (1 << 20)}] * 2)
    data = encoded("parquet", {"a": "string"}, small, small, small, large, large)
    groups = pq.ParquetFile(io.BytesIO(data)).metadata
    assert [groups.row_group(number).num_rows for number in range(groups.num_row_groups)] == [20, 12, 2]


# --- more members than columns

MOST = {f"m{number}": "int" for number in range(1000)}


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_members_beyond_the_fields_share_the_last_column(name):
    rows = [{"x": [1, 'a"'], "m3": 3, "y": "b"}, {"m4": 4}, {"y": None}]
    found = back(name, MOST, batch(*rows), meta=True)
    assert list(found[0]) == ["_position", "_received_at", "_fault", *MOST, "_more"]
    assert [row["_more"] and json.loads(row["_more"]) for row in found] == [{"x": [1, 'a"'], "y": "b"}, None, {"y": None}]
    assert str(found[0]["m3"]) == "3"


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_the_last_column_makes_way_for_a_member_of_its_name(name):
    fields = dict(list(MOST.items())[:999]) | {"_more": "string"}
    (found,) = back(name, fields, batch({"_more": "mine", "x": 1}))
    assert (found["_more"], found["__more"]) == ("mine", '{"x":1}')


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_there_is_no_last_column_where_the_fields_are_all_there_is(name):
    assert list(back(name, dict(list(MOST.items())[:999]), batch({"m1": 1}))[0])[-1] == "m998"


@every_format
def test_a_thousand_members_come_back(name):
    record = {member: number for number, member in enumerate(MOST)}
    (found,) = back(name, MOST, batch(record))
    assert {member: int(value) for member, value in found.items() if member in MOST} == record


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_wide_rows_come_in_smaller_pieces(name, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 1)
    chunks = RECORD_FORMATS[name].write(RecordRows(iter([batch(*["{}"] * 4000)]), MOST, with_meta=True))
    assert len(list(chunks)) == 1 + 4  # a header or a footer, and about a thousand rows each
