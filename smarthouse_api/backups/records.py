"""Records in one object: how a backup keeps a state store's dump, and the list of its files.

The object is zstd with a checksum. Its content is a sequence of batches: four bytes of length, and a list in msgpack.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

import msgspec
import zstandard

from backends.dumps import Dumped, DumpedDocument, DumpedEntry, DumpedLog, DumpedSpace
from backends.ports import NoSuchObject, ObjectStore
from smarthouse_api.errors import Invalid

_BATCH: Final = 500
_CHUNK_BYTES: Final = 1 << 20

_KINDS: Final[dict[str, type[Dumped]]] = {
    "space": DumpedSpace,
    "document": DumpedDocument,
    "log": DumpedLog,
    "entry": DumpedEntry,
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


class Part(msgspec.Struct, frozen=True):
    """Names an object with records, and says what it must hold: its SHA-256, and how many records."""

    object: str
    sha256: str
    size_bytes: int
    records: int


def write(place: ObjectStore, name: str, records: Iterable[object]) -> Part:
    """Write records as the object `name`."""
    digest, counts = hashlib.sha256(), [0]

    def chunks() -> Iterator[bytes]:
        for chunk in _compressed(records, counts):
            digest.update(chunk)
            yield chunk

    size_bytes = place.put(name, chunks())
    return Part(name, digest.hexdigest(), size_bytes, counts[0])


def check(place: ObjectStore, part: Part) -> None:
    """Compare an object with what it must hold. Raises `Invalid`."""
    digest = hashlib.sha256()
    try:
        for chunk in place.stream(part.object):
            digest.update(chunk)
    except NoSuchObject:
        raise Invalid(f"The backup is damaged: {part.object} is missing") from None
    if digest.hexdigest() != part.sha256:
        raise Invalid(f"The backup is damaged: {part.object} is not what backup/backup.json says; one of the two has changed")


def read(place: ObjectStore, part: Part) -> Iterator[Any]:
    """Read the records of an object that was checked."""
    decompressor, held = zstandard.ZstdDecompressor().decompressobj(), bytearray()
    for chunk in place.stream(part.object):
        held += decompressor.decompress(chunk)
        while len(held) >= 4 and len(held) >= (end := 4 + int.from_bytes(held[:4])):
            yield from msgspec.msgpack.decode(bytes(held[4:end]))
            del held[:end]


def packed(dump: Iterable[Dumped]) -> Iterator[tuple[object, ...]]:
    """Turn a dump into records."""
    for one in dump:
        yield _NAMES[type(one)], *(getattr(one, name) for name in type(one).__slots__)


def unpacked(records: Iterable[Any]) -> Iterator[Dumped]:
    """Turn records into the dump that they were."""
    for kind, *members in records:
        yield _KINDS[kind](*members)


def _compressed(records: Iterable[object], counts: list[int]) -> Iterator[bytes]:
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
    waiting = iter(records)
    held = bytearray()
    while batch := [*islice(waiting, _BATCH)]:
        counts[0] += len(batch)
        told = msgspec.msgpack.encode(batch)
        held += compressor.compress(len(told).to_bytes(4) + told)
        if len(held) >= _CHUNK_BYTES:
            yield bytes(held)
            held.clear()
    yield bytes(held) + compressor.flush()
