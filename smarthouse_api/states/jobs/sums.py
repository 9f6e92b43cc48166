"""Checksums of what is made: of a part as a whole, and of a file block by block, so that a range of it can be compared, too.

The sums of a file are an object beside it: the CRC-32 of each block of a MiB, in four bytes each, and at the end that of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from isal import isal_zlib

BLOCK_BYTES: Final = 1 << 20
_SUM_BYTES: Final = 4


class DamagedFile(Exception):
    """Says that bytes are not those that were made."""


class Summing:
    """Adds up bytes while they pass. whole: the CRC-32 of all so far."""

    def __init__(self) -> None:
        self.whole, self._filled, self._block = 0, 0, 0
        self._blocks = list[int]()

    def passing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._add(memoryview(chunk))
            yield chunk

    def blocks(self) -> bytes:
        """Write the sums of all blocks, the last one included."""
        sums = [*self._blocks, self._block] if self._filled else self._blocks
        told = b"".join(one.to_bytes(_SUM_BYTES, "big") for one in sums)
        return told + isal_zlib.crc32(told).to_bytes(_SUM_BYTES, "big")

    def _add(self, left: memoryview) -> None:
        self.whole = isal_zlib.crc32(left, self.whole)
        while left:
            taken = left[: BLOCK_BYTES - self._filled]
            self._block = isal_zlib.crc32(taken, self._block)
            self._filled += len(taken)
            left = left[len(taken) :]
            if self._filled == BLOCK_BYTES:
                self._blocks.append(self._block)
                self._filled = self._block = 0


def read_sums(told: bytes, size: int) -> list[int]:
    """Read the sums of the blocks of a file of so many bytes. Raises `DamagedFile`."""
    sums, own = told[:-_SUM_BYTES], told[-_SUM_BYTES:]
    if len(sums) != -(-size // BLOCK_BYTES) * _SUM_BYTES or isal_zlib.crc32(sums).to_bytes(_SUM_BYTES, "big") != own:
        raise DamagedFile
    return [int.from_bytes(sums[at : at + _SUM_BYTES], "big") for at in range(0, len(sums), _SUM_BYTES)]


def compared(chunks: Iterable[bytes], sums: Sequence[int]) -> Iterator[bytes]:
    """Pass on whole blocks that are as they were made. chunks: from the beginning of a block. sums: from that block on.

    Raises `DamagedFile` instead of passing on another one.
    """
    block, left = bytearray(), iter(sums)
    for chunk in chunks:
        block += chunk
        while len(block) >= BLOCK_BYTES:
            yield _same(bytes(block[:BLOCK_BYTES]), next(left, None))
            del block[:BLOCK_BYTES]
    if block:
        yield _same(bytes(block), next(left, None))


def _same(block: bytes, told: int | None) -> bytes:
    if isal_zlib.crc32(block) != told:
        raise DamagedFile
    return block
