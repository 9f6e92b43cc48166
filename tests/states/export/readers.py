"""Each format read back into rows, by readers that know nothing of its writer."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import xmltodict

from smarthouse_api.states.export.shapes import STATE_CHANGES
from smarthouse_api.states.records.schema import ROWS

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
TIME_COLUMNS = ("last_changed", "last_updated", "time")
Rows = list[dict[str, Any]]


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    assert TIME.fullmatch(text), text
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def _typed(texts: dict[str, Any]) -> dict[str, Any]:
    """A row of texts as a row of values."""
    value = texts["value"]
    times = {name: _time(texts[name]) for name in TIME_COLUMNS}
    offset = texts["utc_offset"]
    received = date.fromisoformat(texts["received"])
    numbers = {"value": None if value is None else float(value), "utc_offset": None if offset is None else int(offset)}
    return texts | times | numbers | {"received": received}


def read_csv(data: bytes) -> Rows:
    # Arrow's reader tells a quoted empty text from a bare one.
    table = pa.csv.read_csv(
        io.BytesIO(data),
        read_options=pa.csv.ReadOptions(block_size=1 << 26),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(ROWS.names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    assert table.column_names == ROWS.names
    return [_typed(texts) for texts in table.to_pylist()]


def _json_row(found: dict[str, Any]) -> dict[str, Any]:
    assert list(found) == ROWS.names
    assert found["value"] is None or isinstance(found["value"], float)
    assert found["utc_offset"] is None or isinstance(found["utc_offset"], int)
    assert isinstance(found["attributes"], dict)
    return _typed(found)


def _strict(data: bytes) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(data.decode(), parse_constant=refuse)


def read_json(data: bytes) -> Rows:
    assert data.startswith(b"[\n")
    assert data.endswith(b"\n]\n")
    return [_json_row(found) for found in _strict(data)]


def read_jsonl(data: bytes) -> Rows:
    assert not data or data.endswith(b"\n")
    return [_json_row(_strict(line)) for line in data.split(b"\n")[:-1]]


def read_xml(data: bytes) -> Rows:
    found = xmltodict.parse(data, force_list=("row",), strip_whitespace=False, force_cdata=False)["data"]
    by_xmltodict = found.get("row", []) if isinstance(found, dict) else []
    rows = [{field.tag: field.text or "" for field in element} for element in ElementTree.fromstring(data)]
    assert [{name: text or "" for name, text in one.items() if name != "#text"} for one in by_xmltodict] == rows
    return [_typed(dict.fromkeys(ROWS.names) | one) for one in rows]


def read_parquet(data: bytes) -> Rows:
    table = pa.parquet.read_table(io.BytesIO(data))
    assert table.schema.equals(STATE_CHANGES.schema)
    return table.to_pylist()


READERS: dict[str, Callable[[bytes], Rows]] = {
    "csv": read_csv,
    "json": read_json,
    "jsonl": read_jsonl,
    "xml": read_xml,
    "parquet": read_parquet,
}
