"""Looking for bytes of erased homes: none is left by an erasure, and what is planted is found in each place."""

from __future__ import annotations

import base64
import io
import os
import sqlite3
import tempfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner

from backends import redis_files
from backends.minio import MinioObjects
from backends.ports import Change
from config.settings import Settings
from smarthouse_api.access.keys import Owner
from smarthouse_api.cli import main
from smarthouse_api.coordination.damage import Problem
from smarthouse_api.erasure import searching
from smarthouse_api.erasure.traces import OWN, Traces
from smarthouse_api.erasure.unpacking import Unpacking
from smarthouse_api.house import House
from smarthouse_api.states.query import Filters
from smarthouse_api.states.uploads import Upload
from smarthouse_api.streams.model import NewPacket, StreamRetention
from tests.conftest import HOME, OTHER_HOME, Environment, on_pairs, payload, state
from tests.erasure.asking import THIRD_HOME, upload
from tests.servers import RedisServer

environment = on_pairs("embedded_pair", "production_pair")

MARK = "of-this-home-alone"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server whose files hold no more than these tests have written: all of them are looked through."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module", autouse=True)
def no_shared_memory() -> Iterator[None]:
    """Leave out the metrics of servers that run on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smarthouse_api.erasure.searching._SHARED_MEMORY", "/nowhere")
        yield


def key_of(house: House, home: str = HOME) -> str:
    found = house.states.homes.find(home)
    assert found is not None
    return found.key


def forgotten(house: House) -> str:
    """Have a home upload, consent, fetch its archive, be linked and exported, and object, beside another; its internal key."""
    for number, home in enumerate((HOME, OTHER_HOME)):
        house.states.consents.give(home, "1.0", "rows")
        body = payload(state("sensor.mark", f"{MARK} {home}", note=home))
        house.states.uploads.receive(Upload(home, body, None, "night"))
        house.states.chores.flush()
        upload(house, home)
        stream, _ = house.streams.catalogue.create(number, "sds", "camera", StreamRetention())
        house.streams.appending.append(stream, [NewPacket(home.encode())], Owner("user", "a" * 12, "Anna"))
        house.states.homes.link(home, number)
        archive = house.archives.open(home)
        assert b"".join(archive.body())
        archive.close()
    export = house.states.exports.open(["csv"], Filters())
    assert export is not None
    b"".join(export)
    export.close()
    key = key_of(house)
    house.sessions.begin("home", house.states.homes.tag(HOME), key)
    house.streams.chores.run(lambda: False)
    problem = Problem("objects", f"raw/{key}/2026-03-01/x", key, f"the upload of {HOME} is missing")
    house.verifying.findings.note(1.0, 100, 1, [problem])
    house.history.keep()
    house.samples.load()
    house.samples.remove()
    house.forgetting.forget(HOME, objects=True)
    return key


def places(house: House, uuid: str | None = None, *folders: Path) -> set[str]:
    return {f"{one.store}  {one.place}" for one in house.searching.run(uuid, [str(one) for one in folders])}


def test_nothing_is_found_after_an_erasure_and_what_waits_for_its_purge_is_left_out(
    make_house: Callable[..., House],
) -> None:
    house = make_house(export_privacy="raw")
    forgotten(house)
    assert places(house, HOME) == set()
    assert len(places(house, OTHER_HOME)) > 1
    hidden = make_house(purge_delay_seconds=3600)
    upload(hidden, THIRD_HOME)
    hidden.forgetting.forget(THIRD_HOME)
    assert places(hidden) == set()
    assert (hidden.searching.waiting, hidden.searching.is_purging) == (1, True)  # that of the first home waits for its sweep


def planted_in_parquet(key: str) -> bytes:
    column = pa.array([OTHER_HOME, f"x{key}x", f"x{key}x"]).dictionary_encode()
    table = pa.table({"plain": [1, 2, 3], "nested": pa.StructArray.from_arrays([column], ["home"])})
    pq.write_table(table, written := io.BytesIO(), compression="zstd", write_statistics=False)
    assert key.encode() not in written.getvalue()
    return written.getvalue()


def zipped(content: bytes) -> bytes:
    with zipfile.ZipFile(written := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("first", b"nothing")
        archive.writestr("second.parquet", content)
    return written.getvalue()


def deflated(content: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(os.urandom(100) + content * 50) + packing.flush()


def test_what_is_planted_is_found_in_each_place(house: House, temporary: Path, tmp_path: Path) -> None:
    key = forgotten(house)
    plain = key.encode()
    folder = tmp_path / "elsewhere"
    objects = {
        "plain": b"x" * ((1 << 20) - 10) + plain,  # across two chunks
        "zlib": zlib.compress(plain),
        "twice": zlib.compress(zstandard.compress(plain)),
        "deflated": deflated(plain),
        "zip": zipped(planted_in_parquet(key)),
        "summed": bytes(32) + planted_in_parquet(key),
        "base64": b"{" + base64.b64encode(b"ab" + plain) + b"}",
        "utf16": key.encode("utf-16"),
        f"named/{key}/x": b"",
    }
    for name, content in objects.items():
        house.objects.put(f"planted/{name}", [content])
    house.objects.put_table("states", "day=2026-03-01/bucket=0/stray.parquet", [planted_in_parquet(key)])
    house.objects.put_table("states", "_delta_log/stray.json", [plain])
    house.state.put("planted", "document", b"[" + plain + b"]")
    house.state.put("planted", f"of {key}", b"")
    entry = house.state.commit("planted", Change(appends=(("log", plain),))).sequences[0]
    for path in (
        temporary / "tmpabc/left",
        temporary / f"smarthouse-metrics-{os.getuid()}-8000-1/counter_1.db",
        folder / "a/b",
    ):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"\0" + plain)
    (temporary / "another's").write_bytes(plain)
    (folder / "xl.meta").write_bytes(os.urandom(100) + zlib.compress(plain) + os.urandom(100))
    wanted = {
        *(f"objects  planted/{name}" for name in objects),
        "lake  tables/states/day=2026-03-01/bucket=0/stray.parquet",
        "lake  tables/states/_delta_log/stray.json",
        "state  documents/planted/document",
        f"state  documents/planted/of {key}",
        f"state  documents/planted/log {entry}",
        f"temporary  {temporary}/tmpabc/left",
        f"metrics  {temporary}/smarthouse-metrics-{os.getuid()}-8000-1/counter_1.db",
        f"folder  {folder}/a/b",
        f"folder  {folder}/xl.meta",
    }
    assert places(house, None, folder) - of_the_files(house) == wanted


def of_the_files(house: House) -> set[str]:
    """What the files of the state store hold of what is planted in its documents."""
    return {place for place in places(house) if place.startswith(("state  state.db", "state  Redis at"))}


def test_what_is_planted_in_sqlites_files_and_beside_the_objects_is_found(
    embedded_pair: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, data = House(Settings.from_env(embedded_pair)), Path(embedded_pair["SMARTHOUSE_DATA_DIR"])
    key = forgotten(house)
    root = data / "objects"
    (root / "written").mkdir(exist_ok=True)
    (root / "written" / "x").write_bytes(key.encode())
    (root / "tables/states/day=2026-03-01").mkdir(parents=True, exist_ok=True)
    (root / "tables/states/day=2026-03-01/x.parquet#1").write_bytes(key.encode())
    (root / f"objects/raw/{key}").mkdir(parents=True)
    (data / "state.db-copy").write_bytes(key.encode())
    assert sqlite_planted(house, data / "state.db", key) == {"state  state.db", "state  state.db-wal"}
    # The state's own files are read once, and no lock of SQLite is lost, though a folder with them is looked through too.
    assert not [place for place in places(house, None, data) if place.startswith(f"folder  {data}/state.db")]
    assert places(house) - {"state  state.db", "state  state.db-wal"} == {
        "objects  written/x",
        "objects  tables/states/day=2026-03-01/x.parquet#1",
        f"objects  objects/raw/{key}/",
        "state  state.db-copy",
    }
    house.close()
    for name, value in embedded_pair.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(main, ["verify", "--erased", "--uuid-file", "-"], input=HOME)
    assert done.exit_code == 1
    assert "state  state.db  bytes of an erased home: its internal key\n" in done.stdout
    assert HOME not in done.output
    for path in (root / "written/x", root / "tables/states/day=2026-03-01/x.parquet#1", data / "state.db-copy"):
        path.unlink()
    (root / f"objects/raw/{key}").rmdir()
    again = House(Settings.from_env(embedded_pair))
    again.state.scrub()
    again.close()
    done = CliRunner().invoke(main, ["verify", "--erased", "--uuid-file", "-"], input=f"Home-UUID: {HOME}\n")
    assert (done.exit_code, done.stdout) == (0, ""), done.output
    assert "No byte of an erased home was found." in done.stderr
    again.states.consents.give(HOME, "1.0", "rows")
    again.close()
    assert "is known" in CliRunner().invoke(main, ["verify", "--erased", "--uuid-file", "-"], input=HOME).stderr
    assert CliRunner().invoke(main, ["verify", "--folder", str(tmp_path)]).exit_code == 2


def sqlite_planted(house: House, path: Path, key: str) -> set[str]:
    """What is found while another has planted the key in free pages of SQLite's file, and in its log."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for checkpoint in ("TRUNCATE", "PASSIVE"):
            other.execute("PRAGMA secure_delete = OFF")
            other.execute("CREATE TABLE planted (x)")
            other.execute("INSERT INTO planted VALUES (?)", (f"{checkpoint} {key}",))
            other.execute("DROP TABLE planted")
            if checkpoint == "TRUNCATE":
                assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        return {place for place in places(house) if place.removeprefix("state  state.db") in ("", "-wal")}


def test_what_is_planted_in_redis_and_beside_the_objects_of_a_bucket_is_found(
    production_pair: Environment, redis_server: RedisServer
) -> None:
    house = House(Settings.from_env(production_pair))
    key, prefix = forgotten(house), production_pair["SMARTHOUSE_STATE_URL"].partition("prefix=")[2]
    assert isinstance(house.objects, MinioObjects)
    house.objects._put(f"{house.objects._url.prefix}stray", [key.encode()], if_absent=False)
    client = redis_server.client()
    repeated = b"the same again and again, " * 20
    client.set(f"{prefix}:stray", key)
    client.set(f"{prefix}:packed", repeated + key.encode() + repeated)
    told = f"state  Redis at 127.0.0.1:{redis_server.port}"
    found = places(house)
    assert {f"{told}, key {prefix}:stray", f"{told}, key {prefix}:packed, decompressed"} < found
    assert f"objects  {house.objects._url.prefix}stray" in found
    assert [one for one in found if one.startswith(f"{told}, appendonlydir/")]
    client.delete(f"{prefix}:stray")
    client.save()
    client.delete(f"{prefix}:packed")
    found = places(house)
    assert f"{told}, dump.rdb, decompressed" in found
    assert [one for one in house.searching.unread if ".usage-cache" in one]
    house.objects.delete_below("planted")
    house.close()


def test_files_of_a_redis_on_another_machine_are_told_as_not_looked_at(
    production_pair: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(Settings.from_env(production_pair))
    house.installation.settle()
    monkeypatch.setattr(redis_files, "is_here", lambda _: False)
    assert places(house) == set()
    assert [one for one in house.searching.unread if "run the command there" in one]
    house.close()


@pytest.mark.parametrize(
    "spelt",
    [
        HOME.encode(),
        HOME.upper().encode(),
        HOME.replace("-", "").encode(),
        HOME.replace("-", "_").encode(),
        HOME.replace("-", "\\u002d").encode(),
        HOME.encode("utf-16-be"),
        UUID(HOME).bytes,
        UUID(HOME).bytes_le,
        *(base64.b64encode(b"x" * length + HOME.encode() + b"yz") for length in range(3)),
        *(base64.urlsafe_b64encode(b"x" * length + UUID(HOME).bytes + b"yz") for length in range(3)),
    ],
)
def test_a_uuid_is_found_in_each_spelling(spelt: bytes) -> None:
    traces = Traces(set(), HOME)
    scan = traces.begin()
    for chunk in (b"some bytes " + spelt[:5], spelt[5:] + b" and more"):
        scan.feed(chunk)
    assert scan.found == {OWN}
    assert Traces(set(), OTHER_HOME).among(spelt) == Traces(set()).among(spelt) == set()
    assert HOME not in traces.masked(f"a/{HOME}/b")


def test_what_unpacks_to_a_thousand_times_its_size_is_unpacked_piece_by_piece() -> None:
    packed = zstandard.ZstdCompressor(19).compress(bytes(512 << 20))
    assert len(packed) < 1 << 16
    unpacking = Unpacking(Traces([]), 1 << 20)
    tracemalloc.start()
    unpacking.look("raw", [packed])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert unpacking.cut == ["raw"]
    assert most < 128 << 20


def test_a_temporary_file_may_go_while_it_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listdir", lambda _: ["smarthouse-gone"])
    assert list(searching._temporary_files()) == []
