"""Texts as numbers, in the order of the texts: of series, and of words."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.states.aggregates.intervals import SERIES, TEXT
from smarthouse_api.states.records.placement import Numbers
from smarthouse_api.states.records.sorting import distinct

TEXTS: Final = (*SERIES, "word")
_KIND: Final = ("unit", "device_class", "type")


class Texts:
    """Numbers the texts of tables, one after the other. They have the columns `TEXTS`, as texts of any type."""

    def __init__(self, *tables: pa.Table) -> None:
        self.count = sum(map(len, tables))
        columns = {name: _sorted([table[name] for table in tables]) for name in TEXTS}
        (self.homes, home), (self.entities, entity) = columns["home"], columns["entity_id"]
        self.words, self.word = columns["word"]
        self.width = len(self.entities) + 1
        self.key = home * self.width + entity
        kinds = np.zeros(self.count, np.int64)
        widths = [len(columns[name][0]) + 1 for name in _KIND]
        for name, width in zip(_KIND, widths, strict=True):  # a null comes after all texts
            codes = columns[name][1]
            kinds = kinds * width + np.where(codes < 0, width - 1, codes)
        found, self.kind = distinct(kinds)
        order = np.argsort(found)
        ranks = np.empty(len(found), np.int64)
        ranks[order] = np.arange(len(found))
        self.kind, found = ranks[self.kind], found[order]
        self._kinds = {}
        for name, width in reversed(list(zip(_KIND, widths, strict=True))):
            found, codes = np.divmod(found, width)
            self._kinds[name] = columns[name][0], np.where(codes == width - 1, -1, codes)
        self.kinds = len(self._kinds["type"][1])

    def home_of(self, rows: Numbers) -> Numbers:
        home: Numbers = self.key[rows] // self.width
        return home

    def table(self, key: Numbers, kind: Numbers, word: Numbers | None = None, **columns: Any) -> pa.Table:
        """Make a table of texts and other columns."""
        told = {} if word is None else {"word": _coded(self.words, word)}
        return pa.table({**self._columns(key, kind), **told, **columns})

    def _columns(self, key: Numbers, kind: Numbers) -> dict[str, pa.Array]:
        home, entity = np.divmod(key, self.width)
        told = {name: _coded(texts, codes[kind]) for name, (texts, codes) in self._kinds.items()}
        return {
            "home": _coded(self.homes, home),
            "entity_id": _coded(self.entities, entity),
            **{name: told[name] for name in SERIES[2:]},
        }


def _coded(texts: pa.Array, codes: Numbers) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=codes < 0), texts)


def _sorted(columns: list[pa.ChunkedArray]) -> tuple[pa.Array, Numbers]:
    """Return the different texts in order, and each row's place among them; -1 for a null."""
    found = (chunk for column in columns for chunk in column.chunks)
    chunks = [chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode() for chunk in found]
    if not chunks:
        return pa.array([], pa.string()), np.zeros(0, np.int64)
    together = pa.chunked_array(chunks, TEXT).unify_dictionaries().combine_chunks()
    together = together if isinstance(together, pa.DictionaryArray) else together.chunk(0)
    order = pc.sort_indices(together.dictionary)
    ranks = np.empty(len(order) + 1, np.int64)
    ranks[order.to_numpy()] = np.arange(len(order))
    ranks[-1] = -1
    return together.dictionary.take(order), ranks[together.indices.fill_null(len(order)).to_numpy()]


def nullable(values: npt.NDArray[np.float64]) -> pa.Array:
    """Make a column of numbers, null for NaN."""
    return pa.array(values, mask=np.isnan(values))


def changed(*columns: Numbers) -> npt.NDArray[np.bool_]:
    """Tell where any of the columns has another value than in the row before."""
    begins = np.ones(len(columns[0]), np.bool_)
    begins[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return begins
