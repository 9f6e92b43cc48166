"""Privacy rules: which attributes of a record are kept, and which names and states an export replaces."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from functools import cache, lru_cache, partial
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.states.records.entities import identify
from smarthouse_api.states.records.schema import ROWS

PRIVATE_TYPES: Final = frozenset({"person", "device_tracker", "zone", "camera", "calendar"})
"""The domains whose object ids and states tell of people and places."""

KNOWN_STATES: Final = frozenset(
    {"home", "not_home", "on", "off", "idle", "recording", "streaming", "unknown", "unavailable", ""}
)
"""The states of those domains that Home Assistant itself words; any other may be the name of a place or an appointment."""

REDACTED: Final = "redacted"

_MOST_REMEMBERED: Final = 100_000

Mask = npt.NDArray[np.bool_]

_TEXT = """
    unit_of_measurement device_class state_class mode hvac_action preset_mode fan_mode swing_mode swing_horizontal_mode
    operation_mode action direction repeat color_mode event_type last_reset temperature_unit pressure_unit wind_speed_unit
    visibility_unit precipitation_unit
"""
_TEXTS = """
    options hvac_modes preset_modes fan_modes swing_modes swing_horizontal_modes operation_list available_modes
    supported_color_modes event_types
"""
_NUMBER = """
    supported_features assumed_state restored min max step temperature current_temperature target_temp_high target_temp_low
    target_temp_step min_temp max_temp apparent_temperature dew_point humidity current_humidity target_humidity min_humidity
    max_humidity pressure wind_speed wind_bearing wind_gust_speed visibility cloud_coverage uv_index ozone precipitation
    illuminance brightness color_temp color_temp_kelvin min_mireds max_mireds min_color_temp_kelvin max_color_temp_kelvin
    current_position current_tilt_position percentage percentage_step oscillating volume_level is_volume_muted shuffle
    battery_level battery voltage current power energy current_power_w today_energy_kwh total_energy_kwh
"""
_NUMBERS = "rgb_color rgbw_color rgbww_color hs_color xy_color"

# Home Assistant's own bound for a state, and more members than any of its lists has.
_Text = Annotated[str, msgspec.Meta(max_length=255)]
_Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | float | bool
_KINDS: Final[dict[str, Any]] = {
    **dict.fromkeys(_TEXT.split(), _Text | None),
    **dict.fromkeys(_TEXTS.split(), Annotated[list[_Text], msgspec.Meta(max_length=100)] | None),
    **dict.fromkeys(_NUMBER.split(), _Number | None),
    **dict.fromkeys(_NUMBERS.split(), Annotated[list[_Number | None], msgspec.Meta(max_length=8)] | None),
}

Attributes: Final = msgspec.defstruct(
    "Attributes", [(name, kind, None) for name, kind in _KINDS.items()], gc=False, omit_defaults=True, module=__name__
)
"""The attributes that are published, as Home Assistant names them; None: it was null, absent, or of another kind.

Units, classes and capabilities, and the measurements of weather, climate, light and plugs. Each takes its own kind of value:
short text, a number or a truth, a short list of one of them; so nothing hides in a nested object, and no name in
`temperature`. `options` stays although its owner words it: a state cannot be understood without it.

Left out though harmless to look at: `friendly_name` and `icon` (people's own words), `changed_by` (a person), `elevation`,
`azimuth` and `next_rising` of the sun (they give the home's coordinates away), `attribution`, `installed_version`
(fingerprints), `forecast` (nested, and no measurement), `media_title` and the like (what is watched).
"""

_decoder = msgspec.json.Decoder(Attributes)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_one = {name: msgspec.json.Decoder(kind).decode for name, kind in _KINDS.items()}


def read_lines(raw: bytes | memoryview) -> list[msgspec.Struct]:
    """Read the attributes of many states at once, a line of JSON for each. Raises ValueError if a value is of another kind."""
    return _decoder.decode_lines(raw)


def read_attributes(raw: bytes) -> msgspec.Struct:
    """Read a state's attributes that are published, as an `Attributes`. Raises ValueError unless `raw` is a JSON object."""
    try:
        return _decoder.decode(raw)
    except ValueError:
        kept = {}
        for name, value in _members(raw).items():
            if name in _read_one:
                try:
                    kept[name] = _read_one[name](value)
                except ValueError:
                    continue
        return Attributes(**kept)


class Redactor:
    """Makes the lake's rows fit for publication: homes and private entities get pseudonyms, private states are redacted.

    Use one redactor for a whole export: it remembers the pseudonyms. secret: decides the pseudonyms; another secret gives every
    home and entity another one. strict: replace the object part of every entity id, not only of `PRIVATE_TYPES`.
    """

    def __init__(self, secret: bytes, *, strict: bool = False) -> None:
        self._strict = strict
        # Of functions, not of methods: with these in a cycle, the names would outlive the export until a garbage collection.
        self._home = cache(partial(home_name, secret))
        self._entity = lru_cache(_MOST_REMEMBERED)(partial(entity_name, secret))
        self._is_private = lru_cache(_MOST_REMEMBERED)(_is_private)

    def place(self, home: str, ranges: int) -> int:
        """Return the range that a home's pseudonym lies in. All ranges, counted from 0, hold about as many homes."""
        return int(self._home(home)[-16:-8], 16) * ranges >> 32

    def named(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Add the names that are published, as the columns `home_name` and `entity_name`: rows are put in order by them.

        rows: `home`, an internal key, and `entity_id`, both dictionary-encoded, and `type`.
        """
        home, entity = rows.column("home"), rows.column("entity_id")
        names = [self._home(key) for key in home.dictionary.to_pylist()]
        private = self._private(rows.column("type"), entity)
        entities = self._named(names, home, entity, np.ones_like(private) if self._strict else private)
        homes = pa.DictionaryArray.from_arrays(home.indices, pa.array(names, pa.string()))
        return rows.append_column("home_name", homes).append_column("entity_name", entities)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Make the rows of a batch publishable: of the columns of `ROWS`.

        batch: rows that are `named`. In the result, `home`, `entity_id` and `state` are dictionary-encoded, so that each
        different value is replaced only once.
        """
        columns = {name: batch.column(name) for name in ROWS.names}
        private = self._private(columns["type"], _encoded(columns["entity_id"]))
        columns["home"], columns["entity_id"] = batch.column("home_name"), batch.column("entity_name")
        columns["received"] = columns["received"].cast(pa.date32())
        columns["state"] = state = _encoded(columns["state"])
        if private.any():
            told = _free_text(state, columns["type"], private)
            columns["state"] = _replaced(state, told, [REDACTED], np.zeros(int(told.sum()), np.int64))
            columns["value"] = pc.if_else(pa.array(told), pa.scalar(None, pa.float64()), columns["value"])
        return pa.RecordBatch.from_pydict(columns)

    def _private(self, types: pa.Array, entity: pa.DictionaryArray) -> Mask:
        # The id is asked too: a row may have been stored before the rules for types were what they are.
        by_id = np.array([self._is_private(entity_id) for entity_id in entity.dictionary.to_pylist()], np.bool_)
        kind = _encoded(types)
        by_type = np.array([name in PRIVATE_TYPES for name in kind.dictionary.to_pylist()], np.bool_)
        return by_id[_codes(entity)] | by_type[_codes(kind)]

    def _named(
        self, homes: list[str], home: pa.DictionaryArray, entity: pa.DictionaryArray, chosen: Mask
    ) -> pa.DictionaryArray:
        """Replace the entity ids of the chosen rows: once for each pair of home and entity."""
        uploaded = entity.dictionary.to_pylist()
        pairs, codes = np.unique((_codes(home) * len(uploaded) + _codes(entity))[chosen], return_inverse=True)
        names = [self._entity(homes[pair // len(uploaded)], uploaded[pair % len(uploaded)]) for pair in pairs.tolist()]
        return _replaced(entity, chosen, names, codes)


def home_name(secret: bytes, key: str) -> str:
    """Return a home's pseudonym: always the same for one secret, and impossible to turn back without it."""
    return f"home_{_digest(secret, 'home', key)}"


def entity_name(secret: bytes, home: str, entity_id: str) -> str:
    """Return an entity's pseudonym, such as `person.9f86d081884c7d65`: the type stays, the object part is replaced.

    home: the home's pseudonym, so that the same id has another pseudonym in each home.
    """
    kind, name = identify(entity_id)
    return f"{kind}.{_digest(secret, 'entity', home, name)}"


def _digest(secret: bytes, *parts: str) -> str:
    message = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hmac.digest(secret, message, "sha256").hex()[:16]


_whole_number: Final[Callable[[str], object]] = re.compile(r"[0-9]{1,9}").fullmatch


def _is_private(entity_id: str) -> bool:
    return identify(entity_id)[0] in PRIVATE_TYPES


def _free_text(state: pa.DictionaryArray, types: pa.Array, private: Mask) -> Mask:
    """Find the private rows whose state is neither Home Assistant's own word nor a zone's number of persons."""
    told = private.copy()
    rows = np.flatnonzero(private)
    states = state.take(pa.array(rows)).to_pylist()
    kinds = _encoded(types).take(pa.array(rows)).to_pylist()
    told[rows] = [
        text not in KNOWN_STATES and not (kind == "zone" and _whole_number(text))
        for text, kind in zip(states, kinds, strict=True)
    ]
    return told


def _replaced(column: pa.DictionaryArray, chosen: Mask, texts: list[str], places: npt.NDArray[np.int64]) -> pa.DictionaryArray:
    """Return the column with `texts[places]` in the chosen rows."""
    codes = _codes(column).copy()
    codes[chosen] = len(column.dictionary) + places
    return pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int32)), pa.concat_arrays([column.dictionary, pa.array(texts, pa.string())])
    )


def _encoded(column: pa.Array) -> pa.DictionaryArray:
    if pa.types.is_dictionary(column.type):
        return column
    return column.cast(pa.string()).dictionary_encode()


def _codes(column: pa.DictionaryArray) -> npt.NDArray[np.int64]:
    codes: npt.NDArray[np.int64] = column.indices.to_numpy().astype(np.int64)
    return codes
