"""Rows as lines of text: right, and without work that a text does not need."""

from __future__ import annotations

import sys

import pyarrow as pa
import pytest

from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.arrow.schema_rows import SchemaRows

SCHEMA = pa.schema([("name", pa.string()), ("count", pa.int64()), ("is_free", pa.string())])
ROWS = pa.RecordBatch.from_pydict({"name": ['say "a"', "b", None], "count": [1, None, 3], "is_free": ["", "x,y", "z"]}, SCHEMA)


class Searches:
    """Counts the modules that Python looks for, and finds none."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        self.names.append(name)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_no_module_is_looked_for_while_rows_are_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def written() -> bytes:
        return b"".join(FORMATS[name].write(SchemaRows([ROWS], SCHEMA, objects=frozenset())))

    first = written()  # what is imported once is imported here
    searches = Searches()
    monkeypatch.setattr(sys, "meta_path", [searches, *sys.meta_path])
    for absent in ("dateutil", "pandas", "pytz"):
        monkeypatch.delitem(sys.modules, absent, raising=False)
    assert written() == first
    assert searches.names == []
