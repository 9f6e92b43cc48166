"""Home Assistant's entity ids: the domain of an id, and the repair of an id that the integration's sanitiser changed."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

UNKNOWN: Final = "unknown"
"""The type of an id that is none of Home Assistant's."""

_DOMAINS = """
    ai_task air_quality alarm_control_panel alert assist_satellite automation binary_sensor button calendar camera climate
    configurator conversation counter cover date datetime device_tracker event fan geo_location group history_graph
    humidifier image image_processing infrared input_boolean input_button input_datetime input_number input_select
    input_text lawn_mower light lock mailbox media_player notify number persistent_notification person plant proximity
    radio_frequency remote scene schedule script select sensor siren stt sun switch tag text time timer todo tts update
    utility_meter vacuum valve wake_word water_heater weather weblink zone
"""

DOMAINS: Final = frozenset(_DOMAINS.split())
"""Home Assistant's domains, past ones included, that have entities."""

_LOOKS = re.compile(r"[a-z0-9_]{1,64}")
_PREFIX = re.compile(f"({'|'.join(sorted(DOMAINS, key=len, reverse=True))})_(?=.)")
# The sanitiser leaves a dot only where an underscore stood between two digits.
_SANITISED = re.compile(r"[a-z0-9_]+(?:(?<=[0-9])\.(?=[0-9])[a-z0-9_]+)*")
_INVISIBLE = re.compile(
    r"[\s\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]+"
)


def identify(entity_id: str) -> tuple[str, str]:
    """Return an entity's type, in lower case, and its id with the sanitiser undone: `sensor_x` is `("sensor", "sensor.x")`.

    If the domain is not known, the type is the text before the first dot where that could be one, else `UNKNOWN`. Case, spaces,
    invisible and full-width characters make no difference to the type, so that none of them hides a person; the id keeps them.
    """
    head, dot, _ = entity_id.partition(".")
    if dot and head in DOMAINS:
        return head, entity_id
    plain = _plain(entity_id)
    head, dot, _ = plain.partition(".")
    if head in DOMAINS:
        return head, entity_id
    # A dot that the sanitiser cannot have left ends a domain that is none of Home Assistant's own: `weather_station.temp`.
    if (prefix := _PREFIX.match(plain)) and _SANITISED.fullmatch(plain):
        domain = prefix[1]
        if plain == entity_id:
            return domain, f"{domain}.{entity_id[len(domain) + 1 :].replace('.', '_')}"
        return domain, entity_id
    return (head if dot and _LOOKS.fullmatch(head) else UNKNOWN), entity_id


def _plain(text: str) -> str:
    visible = _INVISIBLE.sub("", text)[:256]  # normalising a very long run of accents takes very long
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", visible).casefold())
