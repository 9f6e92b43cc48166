"""Which attributes of a record the lake keeps: those that a rule may publish. What is published is decided at export."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

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
"""The attributes that the lake keeps, as Home Assistant names them; None: it was null, absent, or of another kind.

Units, classes and capabilities, and the measurements of weather, climate, light and plugs. Each takes its own kind of value:
short text, a number or a truth, a short list of one of them; so nothing hides in a nested object, and no name in
`temperature`.

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
    """Read a state's attributes that are kept, as an `Attributes`. Raises ValueError unless `raw` is a JSON object."""
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
