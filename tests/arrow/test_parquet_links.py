"""Files that are put together of row groups: as if all rows had been written at once."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from smarthouse_api.arrow.parquet import parquet_file
from smarthouse_api.arrow.parquet_links import NotAlike, ParquetLinks
from smarthouse_api.arrow.time_columns import TIMESTAMP

SCHEMA = pa.schema([("text", pa.string()), ("value", pa.float64()), ("at", TIMESTAMP), ("day", pa.date32())])
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rows(first: int, count: int) -> pa.RecordBatch:
    numbers = range(first, first + count)
    columns = [
        [None if number % 5 == 0 else f"text {number % 7}" for number in numbers],
        [None if number % 3 == 0 else number / 4 for number in numbers],
        [NOON + timedelta(minutes=number) for number in numbers],
        [None if number % 2 else date(2026, 3, 1) + timedelta(days=number) for number in numbers],
    ]
    return pa.RecordBatch.from_arrays(
        [pa.array(one, field.type) for one, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def of_another(batch: pa.RecordBatch, group_rows: int, **options: object) -> io.BytesIO:
    """Write rows as another program does: as numbers, in another order, with a column more, an index and a Bloom filter."""
    at, day = batch.column("at").cast(pa.int64()), batch.column("day").cast(pa.int32())
    columns = {"place": pa.array(range(batch.num_rows)), "day": day, "at": at}
    columns |= {name: batch.column(name) for name in ("value", "text")}
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, row_group_size=group_rows, write_page_index=True, **options)
    return file


def test_row_groups_of_files_and_rows_of_ours_are_one_file() -> None:
    links, whole = ParquetLinks(SCHEMA), b""
    whole += b"".join(links.add_rows([rows(0, 30), rows(30, 20)]))
    whole += b"".join(links.add_file(of_another(rows(50, 100), 40, compression="snappy", data_page_size=64)))
    whole += b"".join(links.add_rows([rows(150, 10)]))
    whole += b"".join(links.add_rows([]))
    whole += b"".join(
        links.add_file(of_another(rows(160, 40), 100, compression="zstd", data_page_version="2.0", use_dictionary=False))
    )
    whole += b"".join(links.end())
    found = pq.ParquetFile(io.BytesIO(whole))
    assert found.schema_arrow.equals(SCHEMA)
    assert found.read().equals(pa.Table.from_batches([rows(0, 200)]))
    told = found.metadata
    assert [told.row_group(number).num_rows for number in range(told.num_row_groups)] == [50, 40, 40, 20, 10, 40]
    assert told.num_rows == 200
    group = told.row_group(1)
    statistics = group.column(2).statistics
    assert (statistics.min, statistics.max) == (NOON + timedelta(minutes=50), NOON + timedelta(minutes=89))
    assert group.total_byte_size == sum(group.column(number).total_uncompressed_size for number in range(4))
    late = pq.read_table(io.BytesIO(whole), filters=pc.field("at") >= pa.scalar(NOON + timedelta(minutes=155), TIMESTAMP))
    assert late.num_rows == 45, "readers skip row groups by what the footer tells of them"


def test_rows_of_ours_alone_are_as_without_links() -> None:
    for batches in ([], [rows(0, 50)]):
        links = ParquetLinks(SCHEMA)
        assert b"".join([*links.add_rows(batches), *links.end()]) == b"".join(parquet_file(batches, SCHEMA))
    links = ParquetLinks(SCHEMA)
    assert b"".join(links.end()) == b"".join(parquet_file([], SCHEMA))


@pytest.mark.parametrize(
    "columns",
    [
        {"text": pa.array(["a"]), "value": pa.array([1.0]), "at": pa.array([1])},
        {"text": pa.array(["a"]), "value": pa.array([1.0]), "at": pa.array([1]), "day": pa.array([1], pa.int64())},
        {"text": pa.array([["a"]]), "value": pa.array([1.0]), "at": pa.array([1]), "day": pa.array([1], pa.int32())},
        {
            "text": pa.array(["a"]),
            "value": pa.array([1.0], pa.float32()),
            "at": pa.array([1]),
            "day": pa.array([1], pa.int32()),
        },
    ],
    ids=["a column lacks", "another width", "nested", "another type"],
)
def test_a_file_of_other_columns_is_refused(columns: dict[str, pa.Array]) -> None:
    file, links = io.BytesIO(), ParquetLinks(SCHEMA)
    pq.write_table(pa.table(columns), file)
    with pytest.raises(NotAlike):
        list(links.add_file(file))


def test_a_damaged_file_is_refused() -> None:
    good = of_another(rows(0, 10), 5).getvalue()
    stored = pa.schema([field.with_nullable(False) if field.name == "at" else field for field in SCHEMA])
    with pytest.raises(NotAlike):
        list(ParquetLinks(stored).add_file(io.BytesIO(good)))
    footer = good[-8 - int.from_bytes(good[-8:-4], "little") :]
    for bad in (
        b"",
        b"PAR1PAR1",
        good[:-1],
        footer,
        b"PAR1" + footer,
        b"PAR1" + bytes(9) + b"\xff" * len(footer) + footer[-8:],
    ):
        with pytest.raises(NotAlike):
            list(ParquetLinks(SCHEMA).add_file(io.BytesIO(bad)))
