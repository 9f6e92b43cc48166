"""Lines in pieces: put together, they are what a format writes."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.arrow.row_lines import lines_of, name_of_lines
from smarthouse_api.arrow.schema_rows import SchemaRows
from smarthouse_api.arrow.time_columns import TIMESTAMP

SCHEMA = pa.schema(
    [
        ("home", pa.string()),
        ("text", pa.string()),
        ("number", pa.float64()),
        ("at", TIMESTAMP),
        ("day", pa.date32()),
        ("tree", pa.string()),
    ]
)
ROWS = pa.RecordBatch.from_pylist(
    [
        {"home": "a", "text": 'say "x", <b> & \x00\r\n\u2028é', "number": 21.5, "at": datetime(2026, 3, 1, tzinfo=UTC)},
        {"home": "b", "text": "", "number": -0.0, "day": date(2026, 3, 1), "tree": '{"a":"\\u0000,"}'},
        {"home": "c", "text": "x" * 140_000, "tree": "{}"},
    ],
    SCHEMA,
)


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.runs is not None])
def test_pieces_put_together_are_what_a_format_writes(name: str) -> None:
    def rows(*batches: pa.RecordBatch) -> SchemaRows:
        return SchemaRows(batches, SCHEMA, objects=frozenset({"tree"}))

    (lines,) = lines_of([name, name, "parquet"], rows())
    assert lines.name == name_of_lines(name)
    cut = (["home", "text"], ["number", "at", "day"], ["tree"])
    pieces = [lines.pieces(ROWS.select(columns)).to_pylist() for columns in cut]
    written = [lines.separator.join(row).encode() for row in zip(*pieces, strict=True)]
    runs = FORMATS[name].runs
    assert runs is not None
    run = b"".join(runs.between + line for line in written) if runs.between else b"".join(line + b"\n" for line in written)
    assert run == b"".join(runs.rows(rows(ROWS)))
    assert len(lines.pieces(ROWS.slice(0, 0).select(["text"]))) == 0
    assert lines.piece("text", "on") == lines.pieces(pa.RecordBatch.from_pydict({"text": ["on"]}))[0].as_py()
