"""The zip is opened by readers that know nothing of its writer: by its directory, and as it comes."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smarthouse_api.arrow.zip_stream import ZipMember, zip_stream

NOW = datetime(2026, 3, 1, 12, 34, 57, tzinfo=UTC)
FOUR_GIB = 4 << 30


def member(name: str, *chunks: bytes, packed: bool = False) -> ZipMember:
    return ZipMember(name, NOW, chunks, packed)


def zipped(*members: ZipMember) -> bytes:
    return b"".join(zip_stream(members))


def test_an_ordinary_zip_is_of_version_2_and_has_nothing_of_zip64():
    data = zipped(member("a.csv", b"one,two\n"), member("ü", os.urandom(100_000), packed=True))
    found = zipfile.ZipFile(io.BytesIO(data))
    assert found.testzip() is None
    assert found.namelist() == ["a.csv", "ü"]
    assert [info.extract_version for info in found.infolist()] == [20, 20]
    assert b"PK\6\6" not in data


def test_a_reader_that_reads_the_zip_as_it_comes_takes_it():
    funzip = shutil.which("funzip")
    if funzip is None:
        if os.environ.get("CI") == "true":
            pytest.fail("funzip is missing: apt-get install unzip")
        pytest.skip("funzip is missing: apt-get install unzip")
    done = subprocess.run([funzip], input=zipped(member("a", b"one,two\n" * 9)), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"one,two\n" * 9, b"")


@pytest.mark.parametrize("count", [65_534, 65_535, 65_536])
def test_a_zip_holds_more_members_than_an_ordinary_directory_can_count(count):
    data = zipped(*(member(str(number), b"x") for number in range(count)))
    found = zipfile.ZipFile(io.BytesIO(data))
    assert len(found.namelist()) == count
    assert found.read(str(count - 1)) == b"x"
    assert {info.extract_version for info in found.infolist()} == {20}
    assert (b"PK\6\6" in data) == (count >= 65_535)


def _end_of(members: Iterable[ZipMember], target: Path) -> None:
    """Write only what comes after 4 GiB. What is before is left as a hole, so that the file takes no space."""
    at = 0
    with target.open("wb") as file:
        for chunk in zip_stream(members):
            if at > FOUR_GIB:
                file.seek(at)
                file.write(chunk)
            at += len(chunk)


def test_what_passes_4_gib_is_in_the_directory_with_its_size_and_place(tmp_path):
    zeros = bytes(32 << 20)
    large = ZipMember("large", NOW, (zeros for _ in range(129)), packed=True)
    _end_of([member("first", b"x"), large, member("last", b"one\n")], tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as found:
        assert [info.extract_version for info in found.infolist()] == [20, 45, 45]
        assert found.getinfo("large").file_size == 129 * len(zeros)
        assert found.getinfo("large").compress_size > FOUR_GIB
        assert found.getinfo("last").header_offset > FOUR_GIB
        assert found.read("last") == b"one\n"


def test_pieces_are_of_bounded_size_and_the_first_comes_at_once():
    asked = []

    def chunks() -> Iterable[bytes]:
        asked.append(1)
        yield os.urandom(1 << 20)

    pieces = zip_stream([ZipMember("a", NOW, chunks(), packed=True)])
    assert next(pieces).startswith(b"PK\3\4")
    assert not asked
    assert max(map(len, pieces)) <= 64 << 10


def test_a_fault_in_a_member_leaves_the_zip_without_an_end():
    def failing() -> Iterable[bytes]:
        yield b"x"
        raise OSError("the disk is gone")

    seen = list[bytes]()
    with pytest.raises(OSError, match="disk"):
        seen.extend(zip_stream([member("a", b"x"), ZipMember("b", NOW, failing())]))
    assert b"PK\5\6" not in b"".join(seen)
