"""Each format is read back with readers that know nothing of its writer."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import xmltodict

from smarthouse_api.arrow import parquet, slices
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.states.export.shapes import STATE_CHANGES
from smarthouse_api.states.records.schema import ROWS
from tests.states.export.readers import READERS, Rows, read_parquet
from tests.states.export.rows import BIG, FORBIDDEN, NUMBERS, STATES, TIMES, batch, nasty, row


def encoded(name: str, *batches: pa.RecordBatch) -> bytes:
    return b"".join(FORMATS[name].write(STATE_CHANGES.source(iter(batches))))


every_format = pytest.mark.parametrize("name", FORMATS)
text_format = pytest.mark.parametrize("name", [name for name in FORMATS if name != "parquet"])


def same(name: str, found: Rows, expected: Rows) -> None:
    if name in ("json", "jsonl"):
        expected = [one | {"attributes": json.loads(one["attributes"])} for one in expected]
    assert [list(one) for one in found] == [ROWS.names] * len(expected)
    for got, wanted in zip(found, expected, strict=True):
        assert got == wanted
        if wanted["value"] is not None:
            assert math.copysign(1, got["value"]) == math.copysign(1, wanted["value"])


def back(name: str, *batches: pa.RecordBatch) -> Rows:
    return READERS[name](encoded(name, *batches))


def test_the_table_names_the_formats_of_the_contract():
    assert list(FORMATS) == ["csv", "json", "jsonl", "xml", "parquet"]
    assert all(name == form.name for name, form in FORMATS.items())


@every_format
def test_nasty_values_come_back_as_they_were(name):
    same(name, back(name, batch(*nasty())), nasty())


@every_format
def test_many_batches_are_one_document(name):
    rows = nasty()
    same(name, back(name, *(batch(one) for one in rows)), rows)


@every_format
def test_no_batch_is_a_whole_document_without_rows(name):
    assert back(name) == []


@every_format
def test_empty_batches_add_nothing(name):
    empty = batch()
    same(name, back(name, empty, batch(row()), empty, batch(row(state="b")), empty), [row(), row(state="b")])


@every_format
def test_a_sliced_batch_gives_only_its_slice(name):
    rows = nasty()
    same(name, back(name, batch(*rows).slice(3, 30)), rows[3:33])


@every_format
@pytest.mark.parametrize("kind", [pa.string_view(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_columns_of_other_string_types_give_the_same(name, kind):
    plain = batch(*nasty())
    columns = [_as(column, kind) if pa.types.is_string(column.type) else column for column in plain.columns]
    other = pa.RecordBatch.from_arrays(columns, names=ROWS.names)
    same(name, back(name, other.slice(2)), nasty()[2:])


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column.dictionary_encode() if pa.types.is_dictionary(kind) else column.cast(kind)


@every_format
def test_a_dictionary_with_an_unused_and_a_null_value_gives_its_rows(name):
    units = pa.DictionaryArray.from_arrays(pa.array([2, None, 0, 2]), pa.array([None, "unused", "W"]))
    plain = batch(*[row()] * 4)
    coded = pa.RecordBatch.from_arrays([units if n == "unit" else plain.column(n) for n in ROWS.names], names=ROWS.names)
    assert [one["unit"] for one in back(name, coded)] == ["W", None, None, "W"]


@every_format
def test_columns_in_another_order_are_refused(name):
    with pytest.raises(ValueError, match="columns"):
        encoded(name, batch(row()).select(ROWS.names[::-1]))


@text_format
def test_a_number_that_json_cannot_say_becomes_null(name):
    rows = [row(value=number) for number in (math.nan, math.inf, -math.inf, 1.5)]
    assert [one["value"] for one in back(name, batch(*rows))] == [None, None, None, 1.5]


@text_format
def test_numbers_are_the_shortest_that_read_back_the_same(name):
    assert b"21.57" in encoded(name, batch(row(value=21.57)))
    assert [one["value"] for one in back(name, batch(*(row(value=number) for number in NUMBERS)))] == list(NUMBERS)


@every_format
def test_no_format_holds_a_nul(name):
    nul = "a\0b"
    found = back(name, batch(row(home=nul, entity_id=nul, type=nul, state=nul, unit=nul, device_class=nul)))[0]
    assert {found[column] for column in ("home", "entity_id", "type", "state", "unit", "device_class")} == {"a\ufffdb"}


@every_format
def test_no_attribute_holds_a_nul(name):
    written = batch(row(attributes=r'{"a":"x\u0000\u0000","b":"\\u0000","c":"\\\u0000"}'))
    found = back(name, written)[0]["attributes"]
    wanted = {"a": "x\ufffd\ufffd", "b": "\\u0000", "c": "\\\ufffd"}
    assert (found if isinstance(found, dict) else json.loads(found)) == wanted


@pytest.mark.parametrize("name", ["json", "jsonl"])
@pytest.mark.parametrize("separator", ["\x85", "\u2028", "\u2029"])
def test_json_is_on_one_line_for_a_reader_that_splits_at_every_separator(name, separator):
    text = f"é{separator}€"
    data = encoded(name, batch(row(state=text, attributes=f'{{"a":"{text}"}}'), row(state="é€\u2027"))).decode()
    assert data.splitlines() == data.rstrip("\n").split("\n")
    found = READERS[name](data.encode())
    assert (found[0]["state"], found[0]["attributes"], found[1]["state"]) == (text, {"a": text}, "é€\u2027")


@every_format
def test_a_text_that_pythons_csv_would_refuse_is_cut_in_every_format(name):
    long = '{"a":"' + "é" * csv.field_size_limit() + '"}'
    found = back(name, batch(row(state=BIG + "x", attributes=long)))[0]
    assert found["state"] == BIG[:-1] + "…"
    assert len(found["state"]) == csv.field_size_limit()
    assert found["attributes"] in ({}, "{}")


@pytest.mark.parametrize("name", ["csv", "json", "jsonl", "parquet"])
def test_control_characters_come_back_as_they_were(name):
    assert back(name, batch(row(state=FORBIDDEN)))[0]["state"] == FORBIDDEN


def test_xml_replaces_exactly_the_characters_that_it_forbids():
    assert back("xml", batch(row(state=FORBIDDEN)))[0]["state"] == "a\ufffdb" + "\ufffd" * 7 + "z"


def test_xml_leaves_a_null_out_and_keeps_an_empty_text():
    found = xmltodict.parse(encoded("xml", batch(row(unit=None, device_class=""))))["data"]["row"]
    assert "unit" not in found
    assert found["device_class"] is None


def test_pandas_reads_the_xml():
    data = encoded("xml", batch(row(unit=None), row(state="]]>")))
    frame = pd.read_xml(io.BytesIO(data), parser="etree")
    assert frame["state"].tolist() == ["21.5", "]]>"]
    assert frame["unit"].isna().tolist() == [True, False]
    assert frame["value"].tolist() == [21.5, 21.5]


def test_the_csv_module_reads_the_csv():
    data = encoded("csv", batch(*nasty()[: len(STATES)])).decode()
    found = list(csv.DictReader(io.StringIO(data, newline="")))
    assert [one["state"] for one in found] == list(STATES)


def test_pandas_reads_the_csv_and_what_looks_like_a_formula_is_data():
    states = [state for state in STATES if state]
    data = encoded("csv", batch(*(row(state=state) for state in states)))
    frame = pd.read_csv(io.BytesIO(data), keep_default_na=False, dtype={"state": str}, parse_dates=["received"])
    assert frame["state"].tolist() == states
    assert frame["received"].tolist() == [pd.Timestamp(TIMES[3].date())] * len(states)


def test_csv_quotes_an_empty_text_and_leaves_a_null_bare():
    line = encoded("csv", batch(row(state="", value=None, unit=None))).split(b"\n")[1]
    assert line.startswith(b'h-1,sensor.x,sensor,"",,,temperature,')


def test_csv_has_a_header_and_ends_its_lines_with_lf():
    data = encoded("csv", batch(row()))
    assert data.startswith(b"home,entity_id,type,state,value,unit,device_class,")
    assert data.endswith(b"\n")
    assert b"\r" not in data


def test_attributes_over_several_lines_stay_on_one_line_of_jsonl():
    data = encoded("jsonl", batch(row(attributes='{\n  "a": "x\\ny"\r\n}')))
    assert data.count(b"\n") == 1
    assert json.loads(data)["attributes"] == {"a": "x\ny"}


def test_pandas_reads_the_jsonl():
    frame = pd.read_json(io.BytesIO(encoded("jsonl", batch(row(), row(state="b")))), lines=True)
    assert frame["state"].tolist() == ["21.5", "b"]


@every_format
def test_batches_are_read_one_at_a_time(name, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 2)
    pulled = []

    def source() -> Iterator[pa.RecordBatch]:
        for number in range(10):
            pulled.append(number)
            yield batch(row(), row())

    chunks = FORMATS[name].write(STATE_CHANGES.source(source()))
    next(chunks)
    assert len(pulled) <= 1
    next(chunks)
    next(chunks)
    assert len(pulled) <= 3


@text_format
def test_a_chunk_stays_small_however_large_the_states(name):
    chunks = list(FORMATS[name].write(STATE_CHANGES.source(iter([batch(*[row(state=BIG)] * 500)]))))
    assert max(map(len, chunks)) < 6 * slices.TEXT_BYTES
    assert len(chunks) > 10


@text_format
def test_a_long_text_that_is_held_once_is_not_written_out_in_every_row_at_once(name):
    """10,000 rows that share a state of 128 KB are 1.3 GB as text and 128 KB as they come."""
    state = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array(["x" * (1 << 17)]))
    plain = batch(*[row()] * 10_000)
    coded = pa.RecordBatch.from_arrays([state if n == "state" else plain.column(n) for n in ROWS.names], names=ROWS.names)
    chunks = FORMATS[name].write(STATE_CHANGES.source(iter([coded])))
    assert max(len(next(chunks)) for _ in range(4)) < 2 * slices.TEXT_BYTES


def test_a_row_group_is_cut_by_size_as_well_as_by_rows(monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 4 << 20)
    rows = [row(state=BIG)] * 300
    data = encoded("parquet", batch(*rows))
    assert pa.parquet.ParquetFile(io.BytesIO(data)).num_row_groups >= 4
    assert read_parquet(data) == rows


def test_parquet_packs_times_as_differences():
    first = pa.parquet.ParquetFile(io.BytesIO(encoded("parquet", batch(*nasty())))).metadata.row_group(0)
    columns = [first.column(place) for place in range(first.num_columns)]
    packed = {column.path_in_schema for column in columns if "DELTA_BINARY_PACKED" in column.encodings}
    assert packed == {field.name for field in ROWS if pa.types.is_timestamp(field.type)}


@every_format
def test_a_fault_in_the_batches_is_raised_and_not_taken_for_the_end(name):
    def source() -> Iterator[pa.RecordBatch]:
        yield batch(row())
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        list(FORMATS[name].write(STATE_CHANGES.source(source())))


def test_a_dictionary_as_long_as_its_column_is_still_looked_up_in() -> None:
    plain = batch(row(), row(), row())
    shuffled = pa.DictionaryArray.from_arrays(pa.array([2, 0, 0]), pa.array(["a", "b", "c"]))
    columns = {name: shuffled if name == "state" else plain.column(name) for name in ROWS.names}
    written = b"".join(FORMATS["jsonl"].write(STATE_CHANGES.source([pa.RecordBatch.from_pydict(columns)])))
    assert [json.loads(line)["state"] for line in written.splitlines()] == ["c", "a", "a"]
