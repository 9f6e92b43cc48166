"""Chunks: counts of many rows in little room, so that a process holds those of a large lake.

1. Counts are ordered by pairs of a home and a kind of rows. The outline of a chunk has the sums of each pair.
2. The details tell the days of each pair's rows: some 4 bytes for each count.
3. The ends are the least and the greatest value of each detail: 16 bytes for each count. Few questions need them.
4. A question needs the outline alone, unless it asks for days, or its filters choose some days of the chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smarthouse_api.states.contents.counts import nothing
from smarthouse_api.states.records.placement import Numbers
from smarthouse_api.states.records.sorting import distinct

DAYS: Final = ("day", "changed", "received")
"""The days of a count by which filters choose: the row's own, that of `last_changed` or else its own, and that of arrival."""

_FEW: Final = 1 << 16
_TEXTS: Final = ("home", "type", "kind", "unit", "device_class")

Integers = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]


class Kind(NamedTuple):
    """One kind of rows, as they lie in the lake."""

    type: str
    kind: str
    unit: str | None
    device_class: str | None


class Names:
    """Numbers homes, by internal keys, and kinds of rows, in the order in which they come. Nothing is taken back."""

    def __init__(self) -> None:
        self.homes, self.kinds = dict[str, int](), dict[Kind, int]()

    def number_homes(self, homes: Iterable[str]) -> list[int]:
        """Return the numbers of homes; new ones are given one."""
        return [self.homes.setdefault(home, len(self.homes)) for home in homes]

    def number_kinds(self, kinds: Iterable[Kind]) -> list[int]:
        """Return the numbers of kinds; new ones are given one."""
        return [self.kinds.setdefault(kind, len(self.kinds)) for kind in kinds]


@dataclass(frozen=True)
class Outline:
    """Tells the sums of each pair: numbers of its home and of its kind, rows, and the ends of its values.

    least, greatest: infinity, and its negative, if no row has a number. days: for each of `DAYS`, those that there are, in
    order, and how many rows each has.
    """

    homes: Integers
    kinds: Integers
    rows: Integers
    least: Floats
    greatest: Floats
    days: Mapping[str, tuple[Numbers, Numbers]]

    @property
    def nbytes(self) -> int:
        """Its bytes in memory."""
        arrays = self.homes, self.kinds, self.rows, self.least, self.greatest
        return sum(map(_bytes, (*arrays, *(array for pair in self.days.values() for array in pair))))

    def span(self, name: str) -> tuple[int, int]:
        """Return the first and the last of its days. name: of `DAYS`. There is a row."""
        days = self.days[name][0]
        return int(days[0]), int(days[-1])


@dataclass(frozen=True)
class Detail:
    """Tells the days of each pair's rows, and how many rows each has; those of a pair follow each other.

    begins: where those of each pair begin, and where the last ones end. own_days: the days that there are, in order. day: the
    place of each one's own day among them. changed, received: how many days later the others are.
    """

    begins: Numbers
    own_days: Numbers
    day: Integers
    rows: Integers
    changed: Integers
    received: Integers

    @property
    def nbytes(self) -> int:
        """Its bytes in memory."""
        return sum(map(_bytes, (self.begins, self.own_days, self.day, self.rows, self.changed, self.received)))

    def of(self, pairs: Numbers) -> tuple[Numbers, Numbers]:
        """Find the details of some pairs: the place of each, and its pair."""
        begins = self.begins[pairs]
        lengths = self.begins[pairs + 1] - begins
        ends = np.cumsum(lengths)
        places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(begins - ends + lengths, lengths)
        return places, np.repeat(pairs, lengths)

    def days(self, name: str, places: Numbers) -> Numbers:
        """Return the days of some details, counted since 1970. name: of `DAYS`."""
        own: Numbers = self.own_days[self.day[places]]
        return own if name == "day" else own + getattr(self, name)[places]


@dataclass(frozen=True)
class Ends:
    """Tells the least and the greatest value of each detail, as `Outline` tells them."""

    least: Floats
    greatest: Floats

    @property
    def nbytes(self) -> int:
        """Their bytes in memory."""
        return _bytes(self.least) + _bytes(self.greatest)


@dataclass(frozen=True)
class Chunk:
    """Holds counts in little room."""

    outline: Outline
    detail: Detail
    ends: Ends


def chunk_of(counts: Iterable[pa.Table], names: Names) -> Chunk:
    """Put counts together. names: number their homes and kinds."""
    found = [_numbers(some, names) for some in (nothing(), *counts)]
    columns = {name: np.concatenate([one.pop(name) for one in found]) for name in found[0].copy()}
    width = max(1, len(names.homes))
    codes, pair = distinct(columns.pop("kind").astype(np.int64) * width + columns.pop("home"))
    pair = pair.astype(np.uint16) if len(codes) <= _FEW else pair  # numpy sorts short numbers many times as fast
    order = np.argsort(pair, kind="stable")
    begins = np.append(0, np.cumsum(np.bincount(pair, minlength=len(codes)))).astype(np.int64)
    columns = {name: columns.pop(name)[order] for name in list(columns)}
    rows, least, greatest = (columns.pop(name) for name in ("rows", "least", "greatest"))
    first = begins[:-1]
    outline = Outline(
        _narrow(codes % width),
        _narrow(codes // width),
        _narrow(np.add.reduceat(rows, first) if len(first) else rows),
        np.minimum.reduceat(least, first) if len(first) else least,
        np.maximum.reduceat(greatest, first) if len(first) else greatest,
        {name: _sums(columns[name], rows) for name in DAYS},
    )
    own_days = outline.days["day"][0]
    day = np.searchsorted(own_days, columns["day"])
    later = (_narrow(columns[name] - columns["day"]) for name in ("changed", "received"))
    return Chunk(outline, Detail(begins, own_days, _narrow(day), _narrow(rows), *later), Ends(least, greatest))


def summed(codes: Numbers, rows: Integers) -> tuple[Numbers, Numbers]:
    """Return the different codes, none of them negative, and the number of rows of each."""
    found, place = distinct(codes)
    return found, np.bincount(place, rows, len(found)).astype(np.int64)


def _sums(days: Integers, rows: Numbers) -> tuple[Numbers, Numbers]:
    least = int(days.min(initial=0))
    found, counts = summed(days.astype(np.int64) - least, rows)
    order = np.argsort(found)
    return found[order] + least, counts[order]


def _numbers(counts: pa.Table, names: Names) -> dict[str, npt.NDArray[Any]]:
    """Return counts as numbers: their homes and kinds by `names`, and infinities where no value is a number."""
    encoded = {name: _encoded(counts[name]) for name in _TEXTS}
    texts, of_home = encoded["home"]
    homes, place = distinct(of_home)
    found: dict[str, npt.NDArray[Any]] = {
        "home": np.array(names.number_homes(texts[number] for number in homes.tolist()), np.int32)[place]
    }
    place = np.zeros(len(counts), np.int64)
    for name in Kind._fields:
        texts, codes = encoded[name]
        _, place = distinct(place * len(texts) + codes)
    firsts = np.empty(int(place.max(initial=-1)) + 1, np.int64)
    firsts[place[::-1]] = np.arange(len(place))[::-1]
    columns = [[encoded[name][0][code] for code in encoded[name][1][firsts].tolist()] for name in Kind._fields]
    kinds = names.number_kinds(Kind(*one) for one in zip(*columns, strict=True))
    found["kind"] = np.array(kinds, np.int32)[place]
    found |= {name: counts[name].to_numpy() for name in (*DAYS, "rows")}
    for name, none in (("least", np.inf), ("greatest", -np.inf)):
        values = counts[name].to_numpy()
        found[name] = np.where(np.isnan(values), none, values)
    return found


def _encoded(column: pa.ChunkedArray) -> tuple[list[Any], Numbers]:
    """Return the different texts of a column, null the last of them, and the place of each one's."""
    whole = column.combine_chunks() if pa.types.is_dictionary(column.type) else column.dictionary_encode().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.unify_dictionaries().combine_chunks()
    codes: Numbers = whole.indices.fill_null(len(whole.dictionary)).to_numpy().astype(np.int64)
    return [*whole.dictionary.to_pylist(), None], codes


def _narrow(numbers: Integers) -> Integers:
    """Return numbers in as few bytes as hold each; in hardly any if all are the same."""
    if not len(numbers):
        return numbers
    least, greatest = int(numbers.min()), int(numbers.max())
    kind = np.result_type(np.min_scalar_type(least), np.min_scalar_type(greatest))
    if least == greatest:
        return np.broadcast_to(np.array([least], kind), len(numbers))
    return numbers.astype(kind)


def _bytes(array: npt.NDArray[Any]) -> int:
    return array.itemsize if array.strides == (0,) else array.nbytes
