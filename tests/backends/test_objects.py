"""What `ObjectStore` promises to one caller, held against every backend. What it promises in a crowd is in `test_races`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from backends.ports import Conflict, NoSuchObject, StoreError

# In this order and another: `-` and `.` come before `/`, digits and letters after it.
KEYS = [
    "a",
    "a-b",
    "a-c/d",
    "a.c",
    "a.d/e",
    "b/-",
    "b/b",
    "b/b-c",
    "b/c/d",
    "b/c0",
    "a0",
    "a=b",
    "a_b",
    "aa",
    "b/..c/d",
    "Z",
    "...",
]
NO_KEYS = [
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    ".",
    "..",
    "a/..",
    "../a",
    "a/./b",
    "a b",
    "a\0",
    "a\n",
    "ä",
    "a+",
    "a+/b",
    "a\\b",
    "a#1",
    "a%2F",
]
LONGEST = "/".join(["x" * 179] * 5) + "y"


def keys_of(found):
    return [info.key for info in found]


@pytest.fixture
def filled(objects):
    for key in reversed(KEYS):
        objects.put(key, [key.encode()])
    return objects


@pytest.mark.parametrize(
    "chunks",
    [[], [b""], [b"a"], [b"a", b"", b"b"], [b"\0" * 8192], [bytes([number]) * 100_000 for number in range(30)]],
    ids=lambda chunks: f"{len(chunks)}-chunks",
)
def test_an_object_is_the_concatenation_of_its_chunks(objects, chunks):
    assert objects.put("key", iter(chunks)) == len(b"".join(chunks))
    assert objects.get("key") == b"".join(chunks)
    assert [info.size_bytes for info in objects.list()] == [len(b"".join(chunks))]


def test_a_put_replaces_what_was_there(objects):
    objects.put("key", [b"a longer one"])
    objects.put("key", [b"new"])
    assert objects.get("key") == b"new"
    assert keys_of(objects.list()) == ["key"]


def test_an_object_that_is_not_there_is_named(objects):
    objects.put("a/b", [b""])
    for key in ("a", "b", "a/c"):
        with pytest.raises(NoSuchObject, match=key):
            objects.get(key)
        with pytest.raises(NoSuchObject, match=key):
            objects.stream(key)


def test_keys_that_begin_alike_are_each_their_own(filled):
    assert [filled.get(key) for key in KEYS] == [key.encode() for key in KEYS]


def test_the_longest_key_is_taken(objects):
    for key in (LONGEST, "x" * 200):
        objects.put(key, [b"value"])
        assert objects.get(key) == b"value"
    assert keys_of(objects.list("x" * 179 + "/")) == [LONGEST]


@pytest.mark.parametrize(
    "ask",
    [
        lambda store, key: store.put(key, [b""]),
        lambda store, key: store.get(key),
        lambda store, key: store.stream(key),
        lambda store, key: store.delete(["a", key]),
        lambda store, key: store.table_location(key),
        lambda store, key: store.sweep_table(key),
        lambda store, key: list(store.list_table(key)),
        lambda store, key: store.stream_table(key, "file"),
        lambda store, key: store.put_table(key, "file", [b""]),
    ],
    ids=["put", "get", "stream", "delete", "table_location", "sweep_table", "list_table", "stream_table", "put_table"],
)
def test_what_is_no_key_is_refused_before_anything_is_done(objects, ask):
    objects.put("a", [b"kept"])
    for key in (*NO_KEYS, LONGEST + "z", "x" * 201):
        with pytest.raises(ValueError):
            ask(objects, key)
        assert keys_of(objects.list()) == ["a"], ascii(key)


def test_what_the_chunks_raise_passes_and_nothing_is_stored(objects):
    def chunks():
        yield b"half"
        raise ConnectionResetError("the client went away")

    objects.put("old", [b"old"])
    for key in ("old", "new/one"):
        with pytest.raises(ConnectionResetError):
            objects.put(key, chunks())
    assert keys_of(objects.list()) == ["old"]
    assert objects.get("old") == b"old"
    assert objects.sweep() == 0


@pytest.mark.parametrize("length", [None, 0, 1, 5, 10, 99])
def test_a_stream_gives_the_part_that_was_asked_for(objects, length):
    data = b"0123456789"
    objects.put("key", [data])
    for start, chunk_bytes in product((0, 1, 9, 10, 11), (1, 3, 10, 1 << 20)):
        chunks = list(objects.stream("key", start, length, chunk_bytes))
        assert b"".join(chunks) == (data[start:] if length is None else data[start : start + length]), (start, chunk_bytes)
        assert all(0 < len(chunk) <= chunk_bytes for chunk in chunks), (start, chunk_bytes)


@pytest.mark.parametrize("part", [{"start": -1}, {"length": -1}, {"chunk_bytes": 0}])
def test_a_part_that_cannot_be_is_refused(objects, part):
    objects.put("key", [b"0123456789"])
    with pytest.raises(ValueError):
        objects.stream("key", **part)


def test_a_stream_stays_with_its_object_though_it_is_replaced(objects):
    objects.put("key", [b"old" * 100_000])
    stream = objects.stream("key", chunk_bytes=1000)
    first = next(stream)
    objects.put("key", [b"new" * 100_000])
    assert first + b"".join(stream) == b"old" * 100_000
    assert objects.get("key") == b"new" * 100_000


def test_a_stream_never_ends_in_silence_though_its_object_is_deleted(objects):
    objects.put("key", [b"old" * 100_000])
    stream = objects.stream("key", chunk_bytes=1000)
    first = next(stream)
    objects.delete(["key"])
    with suppress(StoreError):
        assert first + b"".join(stream) == b"old" * 100_000


def test_a_list_goes_by_the_byte_order_of_whole_keys(filled):
    assert keys_of(filled.list()) == sorted(KEYS, key=str.encode)


@pytest.mark.parametrize(
    "prefix",
    ["a", "b/", "b/b", "b/c/", "b/c", "a-", "a.", "b/.", ".", "Z", "zz", "/", "..", "../", "a//", "*", "x" * 999],
)
def test_a_list_holds_the_keys_with_the_prefix(filled, prefix):
    assert keys_of(filled.list(prefix)) == sorted(key for key in KEYS if key.startswith(prefix))


def test_a_list_of_nothing_is_empty(objects):
    assert list(objects.list()) == list(objects.list("a/b")) == []


def test_a_listed_object_tells_when_it_was_last_written(objects):
    objects.put("key", [b"1"])
    (first,) = objects.list()
    objects.put("key", [b"2"])
    (second,) = objects.list()
    assert first.modified_at <= second.modified_at
    assert abs(datetime.now(UTC) - second.modified_at) < timedelta(seconds=10)


def test_a_put_that_is_not_finished_is_neither_listed_nor_read(objects):
    def chunks():
        yield b"half"
        assert keys_of(objects.list()) == []
        assert objects.sweep() == 0
        with pytest.raises(NoSuchObject):
            objects.get("key")
        yield b" and half"

    objects.put("key", chunks())
    assert objects.get("key") == b"half and half"


def test_deleted_objects_are_gone_and_others_stay(filled):
    filled.delete(iter(["a", "b/b", "b/c/d", "never/there", "a-c/d"]))
    assert keys_of(filled.list()) == sorted(set(KEYS) - {"a", "b/b", "b/c/d", "a-c/d"})
    with pytest.raises(NoSuchObject):
        filled.get("b/b")


def test_what_was_deleted_can_be_put_again(filled):
    filled.delete(KEYS)
    assert list(filled.list()) == []
    filled.put("b/c/d", [b"again"])
    assert filled.get("b/c/d") == b"again"


def test_the_bytes_of_a_deleted_object_are_gone(objects_backend):
    if objects_backend.files is None:
        pytest.skip("it keeps no files")
    objects = objects_backend.open()
    objects.put("key", [b"a secret" * 1000])
    assert b"a secret" in objects_backend.files()
    objects.delete(["key"])
    assert b"a secret" not in objects_backend.files()


def test_every_handle_sees_the_same_objects_and_tables(objects_backend):
    one, other = objects_backend.open(), objects_backend.open()
    one.put("key", [b"value"])
    assert other.get("key") == b"value"
    assert one.table_location("a/table") == other.table_location("a/table")


def test_a_store_in_order_says_so_in_one_line_and_leaves_nothing(objects):
    assert objects.check()
    assert "\n" not in objects.check()
    assert list(objects.list()) == []
    assert objects.sweep() == 0


def test_a_closed_store_opens_again_when_it_is_used(objects):
    objects.close()
    objects.put("key", [b"value"])
    assert objects.get("key") == b"value"


def test_a_table_can_be_written_and_read_where_the_store_puts_it(objects):
    rows = pa.table({"x": [1, 2, 3]})
    location = objects.table_location("lake/states")
    write_deltalake(location.uri, rows, storage_options=location.storage_options)
    assert objects.sweep_table("lake/states") == 0
    assert DeltaTable(location.uri, storage_options=location.storage_options).to_pyarrow_table().equals(rows)
    assert list(objects.list()) == []


def test_a_table_whose_name_begins_like_anothers_is_none_of_its_files(objects):
    for name in ("lake", "lake-2"):
        location = objects.table_location(name)
        write_deltalake(location.uri, pa.table({"x": [1]}), storage_options=location.storage_options)
    one, other = (objects.table_location(name) for name in ("lake", "lake-2"))
    DeltaTable(one.uri, storage_options=one.storage_options).vacuum(
        retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True
    )
    assert DeltaTable(other.uri, storage_options=other.storage_options).to_pyarrow_table().num_rows == 1


def test_a_table_that_is_not_there_has_nothing_to_sweep(objects):
    assert objects.sweep_table("lake/never") == 0


def test_a_table_is_rid_of_its_dead_files_and_of_no_others(objects):
    location = objects.table_location("lake/states")
    for number in (1, 2):
        write_deltalake(location.uri, pa.table({"x": [number]}), mode="overwrite", storage_options=location.storage_options)
    table = DeltaTable(location.uri, storage_options=location.storage_options)
    dead = table.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True)
    assert len(dead) == 1
    objects.sweep_table("lake/states", [*dead, "never-there.parquet"])
    assert table.to_pyarrow_table()["x"].to_pylist() == [2]
    table.load_as_version(0)
    with pytest.raises(FileNotFoundError):
        table.to_pyarrow_table()


def test_the_files_of_a_table_are_listed_read_and_replaced(objects):
    location = objects.table_location("lake/states")
    rows = pa.table({"where": ["a b", "c"], "x": [1, 2]})
    write_deltalake(location.uri, rows, partition_by=["where"], storage_options=location.storage_options)
    table = DeltaTable(location.uri, storage_options=location.storage_options)
    listed = {info.key: info for info in objects.list_table("lake/states")}
    assert keys_of(objects.list_table("lake/states")) == sorted(listed)
    commit = "_delta_log/00000000000000000000.json"
    assert keys_of(objects.list_table("lake/states", "_delta_log/")) == [commit]
    assert keys_of(objects.list_table("lake/states", "_d")) == [commit]
    assert {Path(path).parent.name for path in set(listed) - {commit}} == {"where=a%20b", "where=c"}
    files = {path: b"".join(objects.stream_table("lake/states", path, 1000)) for path in listed}
    assert {path: len(data) for path, data in files.items()} == {path: info.size_bytes for path, info in listed.items()}
    objects.sweep_table("lake/states", [path for path in files if path != commit])
    assert keys_of(objects.list_table("lake/states")) == [commit]
    for path, data in files.items():
        assert objects.put_table("lake/states", path, iter([data[:7], data[7:]])) == len(data)
    assert table.to_pyarrow_table().sort_by("x").equals(rows)
    assert list(objects.list()) == list(objects.list_table("lake/stat")) == list(objects.list_table("lake/never")) == []


def test_a_file_that_a_table_has_not_is_named(objects):
    objects.put_table("table", "a/b", [b"value"])
    for name, path in (("table", "a"), ("table", "a/c"), ("other", "a/b")):
        with pytest.raises(NoSuchObject, match=path):
            objects.stream_table(name, path)


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\0"], ids=ascii)
@pytest.mark.parametrize(
    "ask",
    [lambda store, path: store.stream_table("table", path), lambda store, path: store.put_table("table", path, [b""])],
    ids=["stream_table", "put_table"],
)
def test_what_is_no_path_in_a_table_is_refused_before_anything_is_done(objects, ask, path):
    with pytest.raises(ValueError):
        ask(objects, path)
    assert list(objects.list_table("table")) == []


def test_a_file_of_a_table_that_its_chunks_break_off_is_not_stored(objects):
    def chunks():
        yield b"half"
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError):
        objects.put_table("table", "a", chunks())
    assert list(objects.list_table("table")) == []


def test_a_put_of_what_must_not_be_there_leaves_what_is_there(objects):
    assert objects.put("a/key", [b"first"], if_absent=True) == 5
    with pytest.raises(Conflict):
        objects.put("a/key", [b"second"], if_absent=True)
    assert objects.get("a/key") == b"first"
    objects.delete(["a/key"])
    objects.put("a/key", [b"third"], if_absent=True)
    assert objects.get("a/key") == b"third"
    assert objects.sweep() == 0


def test_of_many_who_put_what_must_not_be_there_one_succeeds(objects):
    def put(number):
        with suppress(Conflict):
            objects.put("key", [b"%d" % number * 10_000], if_absent=True)
            return number
        return None

    with ThreadPoolExecutor(8) as pool:
        (winner,) = [number for number in pool.map(put, range(8)) if number is not None]
    assert objects.get("key") == b"%d" % winner * 10_000
