"""The zip is opened by readers that know nothing of its writer; its threads are counted."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from smarthouse_api.states.export.archive import Member, Written, archive

NOW = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC)
NOISE = os.urandom(3 << 20)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def zipped(*members: Member, **options) -> bytes:
    return b"".join(archive(members, modified_at=NOW, **options))


def opened(data: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(data))


@pytest.mark.parametrize("packed", [True, False])
def test_members_come_back_as_they_were(packed):
    with opened(zipped(Member("a.csv", [b"one,", b"", b"two\n"], packed), Member("b", [NOISE], packed))) as found:
        assert found.testzip() is None
        assert found.namelist() == ["a.csv", "b"]
        assert found.read("a.csv") == b"one,two\n"
        assert found.read("b") == NOISE


def test_a_member_without_bytes_is_an_empty_file():
    assert opened(zipped(Member("empty", []))).read("empty") == b""


def test_a_zip_without_members_is_a_zip():
    assert opened(zipped()).namelist() == []


def test_a_member_has_its_time_and_may_be_read_by_all():
    info = opened(zipped(Member("a", [b"x"]))).getinfo("a")
    assert info.date_time == (2026, 3, 1, 12, 34, 56)
    assert info.external_attr >> 16 == 0o100644


def test_text_is_deflated_and_what_is_packed_is_stored():
    text = b"2026-03-01,sensor.x\n" * 100_000
    found = opened(zipped(Member("text", [text]), Member("packed", [text], packed=True)))
    assert found.getinfo("text").compress_size < len(text) / 20
    assert found.getinfo("packed").compress_size >= len(text)


def test_unzip_opens_it(tmp_path):
    unzip = shutil.which("unzip")
    if unzip is None:
        if os.environ.get("CI") == "true":
            pytest.fail("unzip is missing: apt-get install unzip")
        pytest.skip("unzip is missing: apt-get install unzip")
    file = tmp_path / "a.zip"
    file.write_bytes(zipped(Member("a.csv", [b"x\n"] * 1000), Member("b.parquet", [NOISE], packed=True)))
    done = subprocess.run([unzip, str(file), "-d", str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a.csv").read_bytes() == b"x\n" * 1000
    assert (tmp_path / "b.parquet").read_bytes() == NOISE


def test_the_trailer_comes_last_and_knows_what_was_written():
    seen: list[Written] = []

    def trailer(written: list[Written]) -> Iterator[Member]:
        seen.extend(written)
        yield Member("metadata.json", [repr(written).encode()])

    members = [Member("a", [b"one,", b"two"]), Member("b", [NOISE], packed=True)]
    found = opened(zipped(*members, trailer=trailer))
    assert found.namelist() == ["a", "b", "metadata.json"]
    assert seen == [
        Written("a", 7, hashlib.sha256(b"one,two").hexdigest()),
        Written("b", len(NOISE), hashlib.sha256(NOISE).hexdigest()),
    ]
    assert found.read("metadata.json") == repr(seen).encode()


def test_the_first_bytes_come_before_the_first_chunk_is_made():
    asked = threading.Event()

    def slow() -> Iterator[bytes]:
        asked.set()
        yield b"x"

    chunks = archive([Member("a.csv", slow())], modified_at=NOW)
    assert next(chunks).startswith(b"PK\x03\x04")
    assert not asked.is_set()
    chunks.close()


def test_members_are_made_one_after_the_other():
    made = []

    def member(name: str) -> Member:
        made.append(name)
        return Member(name, [b"x"])

    chunks = archive(map(member, "abc"), modified_at=NOW)
    next(chunks)
    assert made == ["a"]
    chunks.close()


def failing() -> Iterator[bytes]:
    yield NOISE
    raise OSError("the disk is gone")


def test_a_fault_in_a_member_is_raised_and_the_zip_has_no_end():
    seen = []
    with pytest.raises(OSError, match="disk"):
        seen.extend(archive([Member("a", [b"x"]), Member("b", failing())], modified_at=NOW))
    assert b"".join(seen).startswith(b"PK")
    with pytest.raises(zipfile.BadZipFile):
        opened(b"".join(seen))


def test_a_fault_in_the_trailer_is_raised_and_the_zip_has_no_end():
    def trailer(written: list[Written]) -> Iterator[Member]:
        raise KeyError("license")
        yield

    with pytest.raises(KeyError, match="license"):
        zipped(Member("a", [b"x"]), trailer=trailer)


def test_a_client_that_goes_away_stops_the_thread_and_closes_what_it_read():
    closed = threading.Event()

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield NOISE
        finally:
            closed.set()

    source = endless()  # held, so that it is closed by the archive and not by being forgotten
    chunks = archive([Member("a", source)], modified_at=NOW)
    for _ in range(5):
        next(chunks)
    chunks.close()
    assert closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]
