"""Bundles: the counts of a month's leaves, kept as one object, so that a process that starts need not count a large lake anew.

A bundle is made from the lake, and may be lost: what is damaged or of another format is counted again. It names homes by their
internal keys. So a purge leaves none that has counts of a leaf which is no longer in the lake.

    contents/<month>    SHA-256, then a Parquet file whose metadata lists the leaves: their rows follow each other
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from backends.ports import NoSuchObject, ObjectStore
from smarthouse_api.states.contents.counts import COUNTS, together
from smarthouse_api.states.contents.leaves import Leaf

PREFIX: Final = "contents/"
"""How the names of bundles begin. No backup holds them."""

_META: Final = b"smarthouse"
_SUM_BYTES: Final = 32

log = logging.getLogger(__name__)


class CountedLeaf(msgspec.Struct, frozen=True):
    """Tells what was counted of a leaf: its digest, that of its own files, what it overlaps, and how many counts follow."""

    digest: str
    own: str
    counts: int
    overlaps: list[tuple[date, int]] = []


def describe(leaf: Leaf, counts: pa.Table) -> CountedLeaf:
    """Describe a leaf that was counted."""
    return CountedLeaf(leaf.digest, leaf.own, counts.num_rows, sorted(leaf.overlaps))


class _Listed(msgspec.Struct, frozen=True):
    """basis: of what was counted. Counts of another basis are of no use."""

    basis: str
    leaves: list[CountedLeaf]


_listed = msgspec.json.Decoder(_Listed).decode

Bundle = Mapping[str, tuple[CountedLeaf, pa.Table]]
"""Leaves and their counts, by the digests of the leaves."""


class Bundles:
    """Keeps counts in the object store. basis: names all that decides which rows are counted, besides the rows."""

    def __init__(self, objects: ObjectStore, basis: str) -> None:
        self._objects, self._basis = objects, basis

    def written(self) -> dict[str, datetime]:
        """List the months that have a bundle, and when each was written."""
        return {info.key.removeprefix(PREFIX): info.modified_at for info in self._objects.list(PREFIX)}

    def load(self, month: str) -> Bundle:
        """Read the counts of a month; none if there is no bundle, or no good one."""
        try:
            stored = self._objects.get(PREFIX + month)
        except NoSuchObject:
            return {}
        if stored[:_SUM_BYTES] != hashlib.sha256(stored[_SUM_BYTES:]).digest():
            log.warning("counts of %s are damaged, and are made again", month)
            return {}
        table = pq.read_table(pa.BufferReader(stored[_SUM_BYTES:]))
        found = _listed((table.schema.metadata or {})[_META])
        if found.basis != self._basis:
            return {}
        counts, begin, bundle = table.cast(COUNTS), 0, {}
        for leaf in found.leaves:
            bundle[leaf.digest] = leaf, counts.slice(begin, leaf.counts)
            begin += leaf.counts
        return bundle

    def save(self, month: str, bundle: Iterable[tuple[CountedLeaf, pa.Table]]) -> None:
        """Replace the counts of a month."""
        some = list(bundle)
        if not some:
            self.remove([month])
            return
        listed = msgspec.json.encode(_Listed(self._basis, [leaf for leaf, _ in some]))
        table = together(counts for _, counts in some).cast(COUNTS).replace_schema_metadata({_META: listed})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        written = sink.getvalue().to_pybytes()
        self._objects.put(PREFIX + month, [hashlib.sha256(written).digest(), written])

    def remove(self, months: Iterable[str]) -> None:
        """Remove the counts of months."""
        self._objects.delete([PREFIX + month for month in months])
