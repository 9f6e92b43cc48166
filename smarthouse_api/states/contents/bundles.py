"""Bundles: the counts of a month's leaves, kept as one object, so that a process that starts need not count a large lake anew.

A bundle is made from the lake, and may be lost: what is damaged or of another format is counted again. It names homes by their
internal keys. So a purge leaves none that has counts of a leaf which is no longer in the lake.

    contents/<month>    SHA-256, then a Parquet file whose metadata lists the leaves: their rows follow each other
"""

from __future__ import annotations

import hashlib
import logging
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from itertools import accumulate
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from backends.ports import NoSuchObject, ObjectStore
from smarthouse_api.states.contents.counts import COUNTS
from smarthouse_api.states.contents.leaves import Leaf

PREFIX: Final = "contents/"
"""How the names of bundles begin. No backup holds them."""

_META: Final = b"smarthouse"
_SUM_BYTES: Final = 32
_GROUP: Final = 1 << 16
"""Counts that are read at once, at least: so many take some 5 MB in memory."""

log = logging.getLogger(__name__)


class CountedLeaf(msgspec.Struct, frozen=True):
    """Tells what was counted of a leaf: its digest, that of its own files, what it overlaps, and how many counts follow.

    files: a late leaf's own; none if it was counted by an earlier version.
    """

    digest: str
    own: str
    counts: int
    overlaps: list[tuple[date, int]] = []
    files: list[str] = []


def describe(leaf: Leaf, counts: int = 0) -> CountedLeaf:
    """Describe a leaf that was counted. counts: how many there are, if that is known."""
    return CountedLeaf(leaf.digest, leaf.own, counts, sorted(leaf.overlaps), list(leaf.paths) if leaf.is_late else [])


class _Listed(msgspec.Struct, frozen=True):
    """basis: of what was counted. Counts of another basis are of no use."""

    basis: str
    leaves: list[CountedLeaf]


_listed = msgspec.json.Decoder(_Listed).decode
_TEXTS: Final = [field.name for field in COUNTS if pa.types.is_string(field.type)]


class Bundle:
    """The counts of a month as they are kept. leaves: by their digests. file: holds their counts, if there are any."""

    def __init__(self, leaves: Iterable[CountedLeaf] = (), file: pq.ParquetFile | None = None) -> None:
        self.leaves, self._file = {leaf.digest: leaf for leaf in leaves}, file
        self._begins = dict(
            zip(self.leaves, accumulate((leaf.counts for leaf in self.leaves.values()), initial=0), strict=False)
        )
        groups = () if file is None else range(file.num_row_groups)
        self._groups = list(accumulate((file.metadata.row_group(n).num_rows for n in groups), initial=0)) if file else [0]
        self._read: tuple[int, pa.Table] | None = None

    def counts(self, digest: str, first: int = 0, count: int | None = None) -> Iterator[pa.Table]:
        """Read counts of a leaf, some at a time. first: the place of the first one. count: how many; None for the rest."""
        begin = self._begins[digest] + first
        end = self._begins[digest] + self.leaves[digest].counts if count is None else begin + count
        while begin < end:
            number = bisect_right(self._groups, begin) - 1
            if self._read is None or self._read[0] != number:
                assert self._file is not None
                self._read = number, self._file.read_row_group(number)
            some = self._read[1].slice(begin - self._groups[number], end - begin)
            yield some
            begin += len(some)


class Bundles:
    """Keeps counts in the object store. basis: names all that decides which rows are counted, besides the rows."""

    def __init__(self, objects: ObjectStore, basis: str) -> None:
        self._objects, self._basis = objects, basis

    def written(self) -> dict[str, datetime]:
        """List the months that have a bundle, and when each was written."""
        return {info.key.removeprefix(PREFIX): info.modified_at for info in self._objects.list(PREFIX)}

    def load(self, month: str) -> Bundle:
        """Load the counts of a month; none if there is no bundle, or no good one."""
        try:
            stored = memoryview(self._objects.get(PREFIX + month))
        except NoSuchObject:
            return Bundle()
        if stored[:_SUM_BYTES] != hashlib.sha256(stored[_SUM_BYTES:]).digest():
            log.warning("counts of %s are damaged, and are made again", month)
            return Bundle()
        file = pq.ParquetFile(pa.py_buffer(stored[_SUM_BYTES:]), read_dictionary=_TEXTS)
        found = _listed((file.metadata.metadata or {})[_META])
        return Bundle(found.leaves, file) if found.basis == self._basis else Bundle()

    def save(self, month: str, leaves: Iterable[tuple[CountedLeaf, Iterable[pa.Table]]]) -> list[CountedLeaf]:
        """Replace the counts of a month, and return the leaves, with the number of their counts.

        leaves: each with its counts, in any number of pieces.
        """
        saved, held, rows, sink = list[CountedLeaf](), list[pa.Table](), 0, pa.BufferOutputStream()
        with pq.ParquetWriter(sink, COUNTS, compression="zstd") as writer:
            for leaf, pieces in leaves:
                count = 0
                for some in pieces:
                    held.append(some.cast(COUNTS))
                    count, rows = count + len(some), rows + len(some)
                    if rows >= _GROUP:
                        writer.write_table(pa.concat_tables(held))
                        held, rows = [], 0
                saved.append(msgspec.structs.replace(leaf, counts=count))
            if rows:
                writer.write_table(pa.concat_tables(held))
            writer.add_key_value_metadata({_META: msgspec.json.encode(_Listed(self._basis, saved))})
        if saved:
            written = sink.getvalue()
            self._objects.put(PREFIX + month, [hashlib.sha256(written).digest(), written.to_pybytes()])
        else:
            self.remove([month])
        return saved

    def remove(self, months: Iterable[str]) -> None:
        """Remove the counts of months."""
        self._objects.delete([PREFIX + month for month in months])
