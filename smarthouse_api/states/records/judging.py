"""What a `Redactor` decides, as tables: an engine joins rows with them, and so publishes what the redactor would.

| table | a row for each | what is decided |
|---|---|---|
| `THINGS` | home, entity, type, unit and device class that rows have | names, type, unit, class; which words and times |
| `WORDS` | word of a list | that it may be told by the things which have the list, and how |
| `ATTRIBUTES` | text of attributes, except `{}` | what is told of it, and of the same text of a weather entity |

A thing that is never published is not in the table. A key is `=` and the text, or empty for null.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.states.records import rules
from smarthouse_api.states.records.privacy import Redactor
from smarthouse_api.states.records.sorting import encoded
from smarthouse_api.states.records.uuids import without_uuids

THING: Final = ("home", "entity_id", "type", "unit", "device_class")
"""The columns of rows that tell one thing from another."""

THINGS: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("home", "entity_id", "type", "unit_key", "class_key")),
        ("home_name", pa.string()),
        ("home_place", pa.int64()),
        *((name, pa.string()) for name in ("entity_name", "entity_told", "type_told", "unit_told", "class_told")),
        *((name, pa.bool_()) for name in ("is_published", "is_measured", "is_presence", "is_weather")),
        ("grain", pa.int64()),
        ("words", pa.int32()),
    ]
)
"""home_name, entity_name: by which rows are put in order. home_place: a number from 0 to 2^32, in the order of the names.
is_published: else only the states that are reviewed words. words: the list of its words. grain: in microseconds.
"""

WORDS: Final = pa.schema([("words", pa.int32()), ("word", pa.string()), ("told", pa.string())])
ATTRIBUTES: Final = pa.schema([(name, pa.string()) for name in ("attributes", "told", "told_of_weather")])

THINGS_TOLD: Final = ("entity_told", "type_told", "unit_told", "class_told")
WORDS_TOLD: Final = ("told",)
ATTRIBUTES_TOLD: Final = ("told", "told_of_weather")
"""The columns that rows have as they are published."""

_ALL_WORDS: Final = -1
_PLACES: Final = 1 << 32
_MOST_REMEMBERED: Final = 100_000


class Judging:
    """Makes the tables of one export, batch by batch."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._lists = dict[frozenset[str], int]()
        self._is_measurement = lru_cache(_MOST_REMEMBERED)(rules.is_measurement)
        self._list_of = lru_cache(_MOST_REMEMBERED)(self._numbered)
        self.has_weather = False

    def things(self, found: pa.RecordBatch) -> pa.RecordBatch:
        """Judge things: rows of `THINGS`. found: the columns of `THING`, each thing once."""
        if (rows := encoded([found])) is None:
            return _nothing(THINGS)
        rows = rows.append_column("number", pa.array(range(rows.num_rows), pa.int64()))
        named = self._named(rows, rules.NO_WORD)
        published = set(named.column("number").to_pylist())
        if self._redactor.reviewed and not self._redactor.is_raw:
            named = self._named(rows, min(self._redactor.reviewed))
        if not named.num_rows:
            return _nothing(THINGS)
        told = self._redactor(_with_the_rest(named))
        columns: dict[str, Any] = {name: _plain(named.column(name)) for name in ("home", "entity_id", "type")}
        columns |= {"unit_key": _key(named.column("unit")), "class_key": _key(named.column("device_class"))}
        columns |= {name: _plain(named.column(name)) for name in ("home_name", "entity_name")}
        columns["home_place"] = [self._redactor.place(key, _PLACES) for key in columns["home"].to_pylist()]
        columns |= {f"{name}_told": _plain(told.column(of)) for name, of in _TOLD.items()}
        columns["is_published"] = [number in published for number in named.column("number").to_pylist()]
        columns |= dict(zip(_JUDGED, zip(*self._judged(named), strict=True), strict=True))
        return pa.RecordBatch.from_arrays([_array(columns[field.name], field.type) for field in THINGS], schema=THINGS)

    def attributes(self, texts: Iterable[str]) -> pa.RecordBatch:
        """Judge different texts of attributes: rows of `ATTRIBUTES`. Call it once all things are judged."""
        texts = [text for text in texts if text != "{}"]
        if self._redactor.is_raw:
            raw = without_uuids(pa.array(texts, pa.string()))
            return pa.RecordBatch.from_arrays([pa.array(texts, pa.string()), raw, raw], schema=ATTRIBUTES)
        told = [self._redactor.allowed(text, is_weather=False) for text in texts]
        of_weather = told
        if self.has_weather:
            of_weather = [self._redactor.allowed(text, is_weather=True) for text in texts]
        return pa.RecordBatch.from_pydict(dict(zip(ATTRIBUTES.names, (texts, told, of_weather), strict=True)), ATTRIBUTES)

    def words(self) -> pa.RecordBatch:
        """Return the words of the lists that the things have: rows of `WORDS`. Call it once all things are judged."""
        pairs = [(number, word) for words, number in self._lists.items() for word in sorted(words)]
        words = [word for _, word in pairs]
        return pa.RecordBatch.from_pydict({"words": [number for number, _ in pairs], "word": words, "told": words}, WORDS)

    def states(self, states: pa.Array) -> pa.RecordBatch:
        """Make words of all states that are no numbers, as a raw export tells them: rows of `WORDS`. states: different ones."""
        states = _plain(states)
        lists = pa.repeat(pa.scalar(_ALL_WORDS, pa.int32()), len(states))
        return pa.RecordBatch.from_arrays([lists, states, without_uuids(states)], schema=WORDS)

    def _named(self, rows: pa.RecordBatch, state: str) -> pa.RecordBatch:
        return self._redactor.named(rows.append_column("state", _repeated(state, rows.num_rows)))

    def _judged(self, named: pa.RecordBatch) -> Iterable[tuple[bool, bool, bool, int, int]]:
        if self._redactor.is_raw:
            return [(True, False, False, 1, _ALL_WORDS)] * named.num_rows
        columns = (named.column(name).to_pylist() for name in ("kind", "device_class", "unit"))
        return [self._judgement(*one) for one in zip(*columns, strict=True)]

    def _judgement(self, kind: str, device_class: str | None, unit: str | None) -> tuple[bool, bool, bool, int, int]:
        is_weather = kind == "weather"
        self.has_weather = self.has_weather or is_weather
        is_measured, is_presence = self._is_measurement(kind, device_class, unit), kind in rules.PRESENCE
        return is_measured, is_presence, is_weather, self._redactor.grain(kind), self._list_of(kind, device_class)

    def _numbered(self, kind: str, device_class: str | None) -> int:
        words = rules.words_of(kind, device_class, self._redactor.reviewed)
        return self._lists.setdefault(words, len(self._lists))


_TOLD: Final = {"entity": "entity_id", "type": "type", "unit": "unit", "class": "device_class"}
_JUDGED: Final = ("is_measured", "is_presence", "is_weather", "grain", "words")


def _with_the_rest(named: pa.RecordBatch) -> pa.RecordBatch:
    """Add the columns that rows have and things do not."""
    rows = named.num_rows
    for name, type_ in (("value", pa.float64()), ("utc_offset", pa.int32()), ("attributes_uploaded", pa.string())):
        named = named.append_column(name, pa.nulls(rows, type_))
    for name in ("last_changed", "last_updated", "received", "time"):
        named = named.append_column(name, pa.repeat(pa.scalar(0, pa.int64()), rows).cast(TIMESTAMP))
    return named.append_column("attributes", _repeated("{}", rows))


def _repeated(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), pa.array([text], pa.string()))


def _plain(column: pa.Array) -> pa.Array:
    return column.cast(pa.string()) if not pa.types.is_dictionary(column.type) else column.dictionary_decode().cast(pa.string())


def _key(column: pa.Array) -> pa.Array:
    plain = _plain(column)
    return pc.fill_null(pc.binary_join_element_wise(pa.scalar("=", pa.string()), plain, pa.scalar("", pa.string())), "")


def _array(values: Any, type_: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, type_)


def _nothing(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)
