"""Bundles: the counts of a month in one object, read a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pyarrow as pa
import pytest

from backends.memory import MemoryObjects
from smarthouse_api.states.contents import bundles
from smarthouse_api.states.contents.bundles import Bundles, CountedLeaf
from smarthouse_api.states.contents.counts import COUNTS, compact


def counts(first: int, number: int) -> pa.Table:
    rows = [
        {
            "home": f"{n:08x}",
            "type": "sensor",
            "kind": "sensor",
            "unit": f"u{n}",
            "day": n,
            "changed": n,
            "received": n,
            "rows": n,
        }
        for n in range(first, first + number)
    ]
    return compact(pa.Table.from_pylist(rows, COUNTS))


def homes(some: Iterator[pa.Table]) -> list[int]:
    return [int(home, 16) for one in some for home in one["home"].to_pylist()]


def test_any_counts_of_a_leaf_are_read_whichever_group_they_lie_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "_GROUP", 10)
    kept, tables = Bundles(MemoryObjects("memory://"), "basis"), {"a": counts(0, 7), "b": counts(7, 0), "c": counts(7, 25)}
    leaves = [CountedLeaf(name, name, len(table), [(date(2026, 3, 1), 1001)]) for name, table in tables.items()]
    pieces = ((leaf, (tables[leaf.digest].slice(0, 9), tables[leaf.digest].slice(9))) for leaf in leaves)
    assert kept.save("2026-03", pieces) == leaves
    bundle = kept.load("2026-03")
    assert list(bundle.leaves.values()) == leaves
    assert homes(bundle.counts("c")) == list(range(7, 32))
    assert homes(bundle.counts("a", 2, 3)) == [2, 3, 4]
    assert homes(bundle.counts("b")) == []
    assert homes(bundle.counts("c", 1, 23)) == list(range(8, 31))
    for other in (Bundles(kept._objects, "other").load("2026-03"), kept.load("2026-04")):
        assert not other.leaves


def test_a_bundle_of_an_earlier_version_is_read() -> None:
    """It was one group of plain texts, with the list in the schema."""
    import hashlib

    import msgspec
    import pyarrow.parquet as pq

    objects = MemoryObjects("memory://")
    listed = {"basis": "basis", "leaves": [{"digest": "a", "own": "a", "counts": 3}, {"digest": "b", "own": "c", "counts": 2}]}
    table = pa.concat_tables([counts(0, 3).cast(COUNTS), counts(9, 2).cast(COUNTS)])
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({b"smarthouse": msgspec.json.encode(listed)}), sink, compression="zstd")
    written = sink.getvalue().to_pybytes()
    objects.put("contents/2026-03", [hashlib.sha256(written).digest(), written])
    bundle = Bundles(objects, "basis").load("2026-03")
    assert homes(bundle.counts("b")) == [9, 10]
    assert bundle.leaves["b"].own == "c"
