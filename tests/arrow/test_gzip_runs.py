"""Gzip files as runs of a deflated stream: what is inflated is the same, and most of it is not deflated again."""

from __future__ import annotations

import gzip
import io
import random
import zlib

import pytest

from smarthouse_api.arrow.gzip_runs import NotGzip, opened, run_of, told_by

_CHANCE = random.Random(11)
PLAIN = b"".join(b"%08x,sensor.room,%.2f\n" % (_CHANCE.getrandbits(32), _CHANCE.gauss(20, 5)) for _ in range(8_000))
NOISE = _CHANCE.randbytes(30_000)
ONE = gzip.compress(b"one", mtime=0)


def ended(run: bytes) -> bytes:
    return run + b"\x03\x00"


def inflated(stream: bytes) -> bytes:
    inflate = zlib.decompressobj(wbits=-15)
    plain = inflate.decompress(stream)
    assert (inflate.eof, inflate.unused_data) == (True, b"")
    return plain


@pytest.mark.parametrize("level", [0, 1, 6])
@pytest.mark.parametrize("plain", [PLAIN, PLAIN[:20_000] + NOISE, NOISE, b"a" * 3_000_000, b"one\n", b""], ids=range(6))
def test_runs_joined_inflate_to_all_plain_bytes(level: int, plain: bytes) -> None:
    files = [io.BytesIO(gzip.compress(some, level, mtime=0)) for some in (plain, PLAIN[:150_000], plain)]
    assert [told_by(file) for file in files[:1]] == [(zlib.crc32(plain), len(plain))]
    runs = [b"".join(run_of(file)) for file in files]
    assert inflated(ended(b"".join(runs))) == plain + PLAIN[:150_000] + plain


def test_only_the_end_of_a_large_file_is_changed() -> None:
    written = gzip.compress(PLAIN, 6, mtime=0)
    run, stream = b"".join(run_of(io.BytesIO(written))), written[10:-8]
    differing = [place for place, (one, other) in enumerate(zip(run, stream, strict=False)) if one != other]
    assert len(differing) == 1, "the bit that says that a block is the last"
    assert run[len(stream) :] in (b"\x00\x00\xff\xff", b"\x00\x00\x00\xff\xff")


@pytest.mark.parametrize("cut", range(16))
def test_a_last_block_at_any_bit_is_found(cut: int) -> None:
    deflate = zlib.compressobj(6, wbits=-15)
    stream = deflate.compress(PLAIN[cut : 20_000 + 1009 * cut]) + deflate.flush()
    run = opened(stream)
    assert run is not None
    assert inflated(ended(run)) == inflated(stream)
    assert opened(stream[:-1]) is None
    assert opened(stream + b"\x00more") is None


LARGE = gzip.compress(PLAIN, 6, mtime=0)
EMPTY = gzip.compress(b"", mtime=0)


@pytest.mark.parametrize(
    "wrong",
    [b"", PLAIN, ONE + b"more", ONE * 2, ONE[:-9], LARGE * 2, EMPTY + LARGE, LARGE + EMPTY, LARGE + b"\0" * 8, LARGE[:-1]],
    ids=range(10),
)
def test_what_is_no_gzip_file_of_one_member_is_refused(wrong: bytes) -> None:
    with pytest.raises(NotGzip):
        b"".join(run_of(io.BytesIO(wrong)))


@pytest.mark.parametrize("level", [0, 6])
def test_a_flipped_bit_anywhere_is_found(level: int) -> None:
    written = gzip.compress(PLAIN[:60_000], level, mtime=0)
    for place in (3, 10, 11, *range(100, len(written), 4999), *range(len(written) - 8, len(written))):
        damaged = bytearray(written)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(NotGzip):
            b"".join(run_of(io.BytesIO(damaged)))


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_a_file_may_be_read_and_inflated_in_pieces_of_any_size(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.arrow.gzip_runs._CHUNK_BYTES", chunk)
    monkeypatch.setattr("smarthouse_api.arrow.gzip_runs._PLAIN_BYTES", 1000)
    monkeypatch.setattr("smarthouse_api.arrow.gzip_runs._BACK", (300,))
    plain = PLAIN[:40_000] + b"a" * 20_000
    for written in (gzip.compress(plain, 6, mtime=0), ONE, EMPTY):
        assert inflated(ended(b"".join(run_of(io.BytesIO(written))))) == gzip.decompress(written)
