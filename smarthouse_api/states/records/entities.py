"""Home Assistant's entity ids: the domain of an id, and the repair of an id that the integration's sanitiser changed."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Final

from smarthouse_api.states.vocabulary.facts import domains

UNKNOWN: Final = "unknown"
"""The type of an id that is none of Home Assistant's."""

_LOOKS = re.compile(r"[a-z0-9_]{1,64}")
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
    if dot and head in domains():
        return head, entity_id
    plain = plainly(entity_id)
    head, dot, _ = plain.partition(".")
    if head in domains():
        return head, entity_id
    # A dot that the sanitiser cannot have left ends a domain that is none of Home Assistant's own: `weather_station.temp`.
    if (prefix := _prefix().match(plain)) and _SANITISED.fullmatch(plain):
        domain = prefix[1]
        if plain == entity_id:
            return domain, f"{domain}.{entity_id[len(domain) + 1 :].replace('.', '_')}"
        return domain, entity_id
    return (head if dot and _LOOKS.fullmatch(head) else UNKNOWN), entity_id


@cache
def _prefix() -> re.Pattern[str]:
    return re.compile(f"({'|'.join(sorted(domains(), key=len, reverse=True))})_(?=.)")


def plainly(text: str) -> str:
    """Return a text in lower case, without spaces, invisible and full-width characters."""
    visible = _INVISIBLE.sub("", text)[:256]  # normalising a very long run of accents takes very long
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", visible).casefold())
