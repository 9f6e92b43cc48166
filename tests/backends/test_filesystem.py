"""What is the file system's own: its options, its folders, and what dead writers leave in them."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from deltalake import DeltaTable

from backends.filesystem import FilesystemObjects
from backends.ports import StoreUnavailable
from tests.programs import Program

WRITES_A_TABLE = """
import sys, numpy, pyarrow
from deltalake import write_deltalake
rows = pyarrow.table({"x": numpy.arange(3_000_000) / 7})
while True:
    write_deltalake(sys.argv[1], rows, mode="append")
"""


@pytest.fixture
def objects(tmp_path):
    return FilesystemObjects(f"file://{tmp_path}")


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("query", ["sync=1", "fsync=1&mode=600"])
def test_an_unknown_option_is_answered_with_the_known_ones(query):
    with pytest.raises(ValueError, match="there are fsync"):
        FilesystemObjects(f"file://objects?{query}")


@pytest.mark.parametrize("url", ["file://", "file://objects?fsync=no", "file://objects?fsync="])
def test_a_url_must_name_a_path_and_sensible_options(url):
    with pytest.raises(ValueError):
        FilesystemObjects(url)


@pytest.mark.parametrize("name", ["objects", "a b/%41#ü", "deep/down"])
def test_the_path_is_taken_letter_by_letter(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    FilesystemObjects(f"file://{name}").put("key", [b"value"])
    assert FilesystemObjects(f"file://{tmp_path}/{name}").get("key") == b"value"
    assert (tmp_path / name).is_dir()


@pytest.mark.parametrize(("option", "waits"), [("", False), ("?fsync=1", True), ("?fsync=0", False)])
def test_the_disk_is_waited_for_as_the_option_says(tmp_path, monkeypatch, option, waits):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(Path(os.readlink(f"/proc/self/fd/{handle}"))))
    objects = FilesystemObjects(f"file://{tmp_path}{option}")
    objects.put("a/b/key", [b"value"])
    folders = {tmp_path, tmp_path / "objects", tmp_path / "objects/a", tmp_path / "objects/a/b"}
    assert (folders <= set(synced)) == waits == any(path.parent == tmp_path / "written" for path in synced)


def test_a_delete_prunes_the_folders_that_it_empties(tmp_path, objects):
    for key in ("a/b/c/1", "a/b/c/2", "a/d"):
        objects.put(key, [b""])
    objects.delete(["a/b/c/1", "a/b/c/2"])
    assert sorted(path.name for path in (tmp_path / "objects/a").iterdir()) == ["d"]
    objects.delete(["a/d"])
    assert not [*(tmp_path / "objects").iterdir()]


def test_a_put_is_not_hurt_by_deletes_that_prune_its_folder(objects):
    def put_and_delete(number):
        for _ in range(100):
            objects.put(f"a/b/c/{number}", [b"%d" % number])
            assert objects.get(f"a/b/c/{number}") == b"%d" % number
            objects.delete([f"a/b/c/{number}"])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put_and_delete, range(4)))


def test_a_writer_whose_new_file_was_swept_before_it_was_locked_begins_another(objects, monkeypatch):
    lock, swept = fcntl.flock, []

    def sweep_then_lock(handle, how):
        monkeypatch.setattr(fcntl, "flock", lock)
        swept.append(objects.sweep())
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", sweep_then_lock)
    objects.put("key", [b"value"])
    assert (swept, objects.get("key")) == ([1], b"value")


def test_nothing_is_put_beside_a_folder_that_was_moved_or_replaced(tmp_path):
    root, away = tmp_path / "root", tmp_path / "away"
    objects = FilesystemObjects(f"file://{root}")
    objects.put("a/b", [b"1"])
    root.rename(away)
    with pytest.raises(StoreUnavailable, match="the folder of the objects, root, was removed"):
        objects.put("a/c", [b"2"])
    assert not root.exists()
    root.mkdir()
    with pytest.raises(StoreUnavailable, match="or another put in its place"):
        objects.put("a/c", [b"2"])
    root.rmdir()
    away.rename(root)
    objects.put("a/c", [b"2"])
    assert (objects.get("a/b"), objects.get("a/c")) == (b"1", b"2")


def test_nothing_outside_the_objects_is_listed(tmp_path, objects):
    objects.put("key", [b""])
    (tmp_path / "written/left-behind").write_bytes(b"")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/table").write_bytes(b"")
    assert [info.key for info in objects.list()] == ["key"]


def test_a_stream_that_nobody_reads_keeps_no_file_open(objects):
    objects.put("key", [b"value"])
    before = len(os.listdir("/proc/self/fd"))
    stream = objects.stream("key")
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del stream
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_a_dying_deltalake_leaves_is_swept_or_vacuumed_away(tmp_path, objects):
    location = objects.table_location("lake/states")
    folder = Path(unquote(urlsplit(location.uri).path))
    with Program([sys.executable, "-c", WRITES_A_TABLE, location.uri]) as writer:
        deadline = time.monotonic() + 30
        while not ([*folder.glob("_delta_log/*.json")] and [*folder.glob("*#*")]) and time.monotonic() < deadline:
            time.sleep(0.001)
        writer.send_signal(signal.SIGKILL)
    assert not [info.key for info in objects.list_table("lake/states") if "#" in info.key]
    assert objects.sweep_table("lake/states") >= 1
    table = DeltaTable(location.uri)
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
    known = {Path(unquote(urlsplit(uri).path)).name for uri in table.file_uris()}
    logged = {path.name for path in folder.glob("_delta_log/*.json")}
    assert {path.name for path in files_below(folder)} == known | logged
    assert table.to_pyarrow_table().num_rows % 3_000_000 == 0
