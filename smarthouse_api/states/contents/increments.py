"""Increments: a leaf of late rows to which a few files came is not counted anew.

1. All late rows of a month are one leaf, however many homes brought their history at once. A small upload of an old day adds a
   file to it.
2. What was counted of the leaf before is kept but for the homes and days of the new rows. Only these are counted again: the
   repeats of a state change have the same home and day. So the counts are the same as if all were counted anew.
3. This holds as long as every file that was counted is still in the leaf, and what it overlaps has not changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.states.contents.bundles import CountedLeaf
from smarthouse_api.states.contents.counts import COUNTS
from smarthouse_api.states.contents.leaves import Leaf, LeafCounter, Touched
from smarthouse_api.states.records.entered import ENTERED

_EPOCH: Final = date(1970, 1, 1)


class Increment(NamedTuple):
    """Tells what came to a leaf since it was counted. base: as it was then. touched: what is to be counted again."""

    base: CountedLeaf
    touched: Touched


def increment_of(leaf: Leaf, files: pa.Table, counted: Iterable[CountedLeaf], counter: LeafCounter) -> Increment | None:
    """Find what came to a late leaf since it was counted last; None if it must be counted anew.

    files: `files_of` the snapshot. counted: leaves that were counted, of the same place or of others.
    """
    paths = set(leaf.paths)
    bases = (one for one in counted if one.files and paths.issuperset(one.files))
    if (base := max(bases, key=lambda one: len(one.files), default=None)) is None:
        return None
    entered = _entered(files, paths.difference(base.files))
    touched = None if entered is None else counter.touched(leaf, entered)
    return None if touched is None else Increment(base, touched)


def untouched(counts: Iterable[pa.Table], touched: Touched) -> Iterable[pa.Table]:
    """Leave out the counts of homes and days to which rows came."""
    homes = pa.array(sorted(touched.homes), pa.string())
    first, last = ((day - _EPOCH).days for day in (touched.first, touched.last))
    for some in counts:
        plain = some.cast(COUNTS)
        of_days = pc.and_(pc.greater_equal(plain["day"], first), pc.less_equal(plain["day"], last))
        yield plain.filter(pc.invert(pc.and_(of_days, pc.is_in(plain["home"], homes))))


def _entered(files: pa.Table, paths: Iterable[str]) -> tuple[int, int] | None:
    """Tell when the rows of some files entered the lake: the least and the greatest number. None if not all tell it."""
    new = files.filter(pc.is_in(files["path"], pa.array(sorted(paths), pa.string())))
    names = [f"{name}.{ENTERED}" for name in ("min", "max", "null_count")]
    if not len(new) or not set(names) <= set(new.column_names):
        return None
    least, greatest, nulls = (new[name] for name in names)
    if least.null_count or greatest.null_count or nulls.null_count or pc.sum(nulls).as_py():
        return None
    return pc.min(least).as_py(), pc.max(greatest).as_py()
