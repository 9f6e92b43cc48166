"""Rows that are put aside on disk come back range by range, and leave no file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from smarthouse_api.arrow.spill import Spill
from smarthouse_api.arrow.views import without_views


def rows(*numbers: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"number": pa.array(numbers), "text": pa.array([str(number) for number in numbers])})


def test_rows_come_back_by_range_and_in_the_order_in_which_they_were_added() -> None:
    with Spill(3) as spill:
        spill.add(rows(1, 2, 3, 4), np.array([2, 0, 2, 0]))
        spill.add(rows(5, 6), np.array([0, 2]))
        found = [[one["number"] for batch in batches for one in batch.to_pylist()] for batches in spill.read()]
    assert found == [[2, 4, 5], [], [1, 3, 6]]


def test_without_rows_there_is_no_range() -> None:
    with Spill(3) as spill:
        assert list(spill.read()) == []


def test_the_files_have_no_name_and_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = len(os.listdir("/proc/self/fd"))
    with Spill(4) as spill:
        spill.add(rows(1), np.array([0]))
        assert list(tmp_path.iterdir()) == []
        assert len(os.listdir("/proc/self/fd")) == before + 4
    assert len(os.listdir("/proc/self/fd")) == before


def test_views_of_text_become_plain_text() -> None:
    views = pa.RecordBatch.from_pydict({"text": pa.array(["a", None], pa.string_view())})
    assert without_views(views).column("text").type == pa.string()
    assert without_views(views).to_pylist() == views.to_pylist()
