"""Makes the lake's rows fit for publication, in two steps: names, by which rows are put in order, and then everything else.

Each different value is judged once, and remembered: no step goes through rows one by one.
"""

from __future__ import annotations

import hmac
from functools import cache, lru_cache, partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.states.records import rules
from smarthouse_api.states.records.entities import identify
from smarthouse_api.states.records.schema import ROWS
from smarthouse_api.states.records.sorting import distinct
from smarthouse_api.states.records.uuids import without_uuids

_MOST_REMEMBERED: Final = 100_000
_MINUTE_US: Final = 60_000_000
PRESENCE_US: Final = 15 * _MINUTE_US
"""To how many microseconds the time of a state is rounded down that tells presence."""

_GRAINS_US: Final = {**dict.fromkeys(rules.PRESENCE, PRESENCE_US), "weather": 60 * _MINUTE_US}
"""To what the times of a domain are rounded down. A state of another domain that tells presence, of a group, is as coarse."""

_MOST_NUMBERS: Final = 2

_TEXTS: Final = ("entity_id", "type", "state", "unit", "device_class")
_TIMES: Final = ("last_changed", "last_updated", "time")

Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]


class Redactor:
    """Makes the rows of one export publishable. Use it for the whole export: it remembers what it decided.

    secret: decides the pseudonyms; another secret gives every home and entity another one. strict: no word of any id stays, and
    times are rounded to a minute. raw: homes get pseudonyms, UUIDs are redacted, and everything else is as it was uploaded.
    words: the operator's reviewed words.
    """

    def __init__(self, secret: bytes, *, strict: bool = False, raw: bool = False, words: frozenset[str] = frozenset()) -> None:
        self._strict, self.is_raw, self.reviewed = strict, raw, words
        # Of functions, not of methods: with these in a cycle, the names would outlive the export until a garbage collection.
        self._home = cache(partial(home_name, secret))
        self._entity = lru_cache(_MOST_REMEMBERED)(partial(entity_name, secret, strict=strict))
        self._kind = lru_cache(_MOST_REMEMBERED)(rules.kind_of)
        self._is_published = lru_cache(_MOST_REMEMBERED)(rules.is_published)
        self._attributes = lru_cache(_MOST_REMEMBERED)(rules.AttributeRules(words))

    def home(self, key: str) -> str:
        """Return a home's pseudonym."""
        return self._home(key)

    def place(self, home: str, ranges: int) -> int:
        """Return the range that a home's pseudonym lies in. All ranges, counted from 0, hold about as many homes."""
        return int(self._home(home)[-16:-8], 16) * ranges >> 32

    def grain(self, kind: str) -> int:
        """Return to how many microseconds the times of a domain are rounded down, at least."""
        return _GRAINS_US.get(kind, _MINUTE_US if self._strict else 1)

    def allowed(self, attributes: str, *, is_weather: bool) -> str:
        """Return what is published of attributes, as JSON text. is_weather: of a weather entity."""
        return self._attributes(attributes, is_weather=is_weather)

    def named(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Leave out the rows that are never published, and add the names that are: rows are put in order by them.

        rows: `home`, an internal key, and `entity_id`, both dictionary-encoded, `type` and `state`. The result has the columns
        `home_name` and `entity_name`, too, and unless raw `kind`: the domain whose rules hold.
        """
        if not self.is_raw:
            kinds, of_row = self._kinds(rows)
            rows = rows.append_column("kind", pa.DictionaryArray.from_arrays(pa.array(of_row), pa.array(kinds, pa.string())))
            if not (published := self._published(rows, kinds, of_row)).all():
                rows = rows.filter(pa.array(published))
        home, entity = rows.column("home"), rows.column("entity_id")
        names = [self._home(key) for key in home.dictionary.to_pylist()]
        homes = pa.DictionaryArray.from_arrays(home.indices, pa.array(names, pa.string()))
        entities = entity if self.is_raw else self._named(names, home, entity)
        return rows.append_column("home_name", homes).append_column("entity_name", entities)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Make the rows of a batch publishable: of the columns of `ROWS`.

        batch: rows that are `named`, with `attributes_uploaded` if raw. Texts are dictionary-encoded in the result, so that
        each different one is judged once.
        """
        columns = {name: batch.column(name) for name in ROWS.names}
        columns["home"], columns["entity_id"] = batch.column("home_name"), batch.column("entity_name")
        columns["received"] = columns["received"].cast(ROWS.field("received").type)
        if self.is_raw:
            columns |= _as_uploaded(batch, columns)
        else:
            kind = batch.column("kind")
            kinds, of_row = kind.dictionary.to_pylist(), _codes(kind)
            columns |= self._states(columns, kinds, of_row) | self._times(columns, kinds, of_row)
            is_weather = np.array([kind == "weather" for kind in kinds], np.bool_)
            columns["attributes"] = self._allowed(_encoded(columns["attributes"]), is_weather[of_row])
        return pa.RecordBatch.from_pydict(columns)

    def _kinds(self, rows: pa.RecordBatch) -> tuple[list[str], Codes]:
        """Return the domains whose rules hold, and each row's place in the list."""
        entity, type_ = _encoded(rows.column("entity_id")), _encoded(rows.column("type"))
        ids, types = entity.dictionary.to_pylist(), type_.dictionary.to_pylist()
        pairs, of_row = distinct(_codes(entity) * (len(types) + 1) + _codes(type_))
        found = [self._kind(types[pair % (len(types) + 1)], ids[pair // (len(types) + 1)]) for pair in pairs.tolist()]
        kinds = sorted(set(found))
        return kinds, np.array([kinds.index(kind) for kind in found], np.int64)[of_row]

    def _published(self, rows: pa.RecordBatch, kinds: list[str], of_row: Codes) -> Mask:
        """Find the rows that are published at all."""
        entity, state = rows.column("entity_id"), _encoded(rows.column("state"))
        ids = entity.dictionary.to_pylist()
        pairs, places = distinct(_codes(entity) * (len(kinds) + 1) + of_row)
        told = [self._is_published(kinds[pair % (len(kinds) + 1)], ids[pair // (len(kinds) + 1)]) for pair in pairs.tolist()]
        published: Mask = np.array(told, np.bool_)[places]
        if self.reviewed and (back := np.array([rules.is_published_if_reviewed(kind) for kind in kinds], np.bool_)).any():
            reviewed = pc.is_in(state.dictionary, pa.array(sorted(self.reviewed), pa.string())).to_numpy(zero_copy_only=False)
            published |= back[of_row] & reviewed[_codes(state)]
        return published

    def _named(self, homes: list[str], home: pa.DictionaryArray, entity: pa.DictionaryArray) -> pa.DictionaryArray:
        """Name the entities: once for each pair of home and entity."""
        ids = entity.dictionary.to_pylist()
        pairs, places = distinct(_codes(home) * (len(ids) + 1) + _codes(entity))
        names = [self._entity(homes[pair // (len(ids) + 1)], ids[pair % (len(ids) + 1)]) for pair in pairs.tolist()]
        return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32)), pa.array(names, pa.string()))

    def _states(self, columns: dict[str, Any], kinds: list[str], of_row: Codes) -> dict[str, Any]:
        """Make types, units, device classes, states and their values publishable: once for each combination."""
        unit, class_ = _encoded(columns["unit"]), _encoded(columns["device_class"])
        units, classes = [*unit.dictionary.to_pylist(), None], [*class_.dictionary.to_pylist(), None]
        # Null has the last place.
        groups, group = distinct((of_row * len(units) + _codes(unit)) * len(classes) + _codes(class_))
        parts = np.unravel_index(groups, (max(len(kinds), 1), len(units), len(classes)))
        told = [(kinds[a], classes[c], units[b]) for a, b, c in zip(*(part.tolist() for part in parts), strict=True)]
        measured = np.array([rules.is_measurement(*each) for each in told], np.bool_)
        is_number = columns["value"].is_valid().to_numpy(zero_copy_only=False)
        kept = is_number & measured[group]
        state = _encoded(columns["state"])
        rest = np.flatnonzero(~kept)
        kept[rest] = self._known_words(state, told, group[rest], _codes(state)[rest])
        return {
            "type": _one_of([rules.published_type(kind, strict=self._strict) for kind in kinds], of_row),
            "unit": _one_of([rules.published_unit(each) for _, _, each in told], group),
            "device_class": _one_of([rules.published_class(kind, each) for kind, each, _ in told], group),
            "state": _unless(kept, state, np.array([kind in rules.PRESENCE for kind in kinds], np.bool_)[of_row]),
            "value": pc.if_else(pa.array(kept), columns["value"], pa.scalar(None, pa.float64())),
        }

    def _known_words(self, state: pa.DictionaryArray, told: list[Any], group: Codes, codes: Codes) -> Mask:
        words = [rules.words_of(kind, device_class, self.reviewed) for kind, device_class, _ in told]
        pairs, places = distinct(codes * (len(told) + 1) + group)
        texts = state.dictionary.take(pa.array(pairs // (len(told) + 1))).to_pylist()
        known = [text in words[place] for text, place in zip(texts, (pairs % (len(told) + 1)).tolist(), strict=True)]
        return np.array(known, np.bool_)[places]

    def _times(self, columns: dict[str, Any], kinds: list[str], of_row: Codes) -> dict[str, Any]:
        """Round times down to what the domain allows, and to a day where a row has no time but its arrival."""
        grains = np.array([self.grain(kind) for kind in kinds], np.int64)[of_row]
        grains = np.where(_says_presence(columns["state"]), np.maximum(grains, PRESENCE_US), grains)
        is_arrival = pc.and_(columns["last_changed"].is_null(), columns["last_updated"].is_null())
        grains = np.where(is_arrival.to_numpy(zero_copy_only=False), DAY_US, grains)
        if not (grains > 1).any():
            return {}
        return {name: _floored(columns[name], grains) for name in _TIMES if name in columns}

    def _allowed(self, attributes: pa.DictionaryArray, is_weather: Mask) -> pa.DictionaryArray:
        texts = attributes.dictionary.to_pylist()
        pairs, places = distinct(_codes(attributes) * 2 + is_weather)
        told = [self._attributes(texts[pair >> 1], is_weather=bool(pair & 1)) for pair in pairs.tolist()]
        return _one_of(told, places)


def _as_uploaded(batch: pa.RecordBatch, columns: dict[str, Any]) -> dict[str, Any]:
    """Return texts as uploaded, except for UUIDs: one may be the home's, which erases it."""
    uploaded, kept = (batch.column(name).cast(pa.string()) for name in ("attributes_uploaded", "attributes"))
    texts = {name: _encoded(columns[name]) for name in _TEXTS} | {"attributes": pc.coalesce(uploaded, kept).dictionary_encode()}
    return {
        name: pa.DictionaryArray.from_arrays(column.indices, without_uuids(column.dictionary)) for name, column in texts.items()
    }


def home_name(secret: bytes, key: str) -> str:
    """Return a home's pseudonym: always the same for one secret, and impossible to turn back without it."""
    return f"home_{_digest(secret, 'home', key)}"


def entity_name(secret: bytes, home: str, entity_id: str, *, strict: bool = False) -> str:
    """Return an entity's published id, such as `sensor.kitchen_x3fa9c2d1_power`: listed words stay, keyed tokens for others.

    home: the home's pseudonym, so that the same word has another token in each home. strict: one token replaces all words.
    Three short numbers or more may be a telephone number, a date or a code: then none of them stays.
    """
    kind, name = identify(entity_id)
    told = rules.published_type(kind, strict=strict)
    if strict:
        return f"{told}.{_digest(secret, 'entity', home, name)}"
    head, dot, words = name.partition(".")
    if not dot or head != kind or told != kind:
        return f"{told}.x{_digest(secret, 'word', home, name)[:10]}"
    parts = words.split("_")
    keeps_numbers = sum(map(_is_short_number, parts)) <= _MOST_NUMBERS
    return f"{told}.{'_'.join(_word(secret, home, word, keeps_numbers) for word in parts)}"


def _is_short_number(word: str) -> bool:
    return len(word) <= 2 and word.isascii() and word.isdigit()


def _word(secret: bytes, home: str, word: str, keeps_numbers: bool) -> str:
    if not word or (keeps_numbers and _is_short_number(word)) or word in rules.id_words():
        return word
    return f"x{_digest(secret, 'word', home, word)[:10]}"


def _digest(secret: bytes, *parts: str) -> str:
    message = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hmac.digest(secret, message, "sha256").hex()[:16]


def _one_of(texts: list[str | None] | list[str], places: Codes) -> pa.DictionaryArray:
    """Return a column of texts, each different one once. places: of each row's text in the list."""
    once = {text: place for place, text in enumerate(dict.fromkeys(text for text in texts if text is not None))}
    codes = np.array([-1 if text is None else once[text] for text in texts], np.int32)[places]
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(list(once), pa.string()))


def _floored(times: pa.Array, grains: Codes) -> pa.Array:
    at = times.cast(pa.int64())
    plain = at.fill_null(0).to_numpy()
    return pa.array(plain - plain % grains, mask=at.is_null().to_numpy(zero_copy_only=False)).cast(times.type)


def _says_presence(column: pa.Array) -> Mask:
    state = _encoded(column)
    of_text = pc.is_in(state.dictionary.cast(pa.string()), pa.array(sorted(rules.PRESENCE_WORDS))).to_numpy(
        zero_copy_only=False
    )
    told: Mask = np.append(of_text, False)[_codes(state)]
    return told


def _unless(kept: Mask, state: pa.DictionaryArray, is_presence: Mask) -> pa.DictionaryArray:
    """Redact the states that are not kept; the place of somebody is only told to be another than home."""
    if (elsewhere := ~kept & is_presence).any():
        state = _replaced(state, elsewhere, rules.AWAY)
    return _replaced(state, ~kept & ~is_presence, rules.REDACTED)


def _replaced(column: pa.DictionaryArray, chosen: Mask, text: str) -> pa.DictionaryArray:
    """Return the column with the text in the chosen rows, and without what no row says any more."""
    codes = np.where(chosen, len(column.dictionary), _codes(column))
    texts = pa.concat_arrays([column.dictionary.cast(pa.string()), pa.array([text], pa.string())])
    is_used = np.zeros(len(texts), np.bool_)
    is_used[codes] = True
    places = (np.cumsum(is_used) - 1).astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(places[codes]), texts.filter(pa.array(is_used)))


def _encoded(column: pa.Array) -> pa.DictionaryArray:
    if pa.types.is_dictionary(column.type):
        return column
    return column.cast(pa.string()).dictionary_encode()


def _codes(column: pa.DictionaryArray) -> Codes:
    """Return each row's place in the dictionary; null has the place after the last."""
    codes: Codes = column.indices.fill_null(len(column.dictionary)).to_numpy().astype(np.int64)
    return codes
