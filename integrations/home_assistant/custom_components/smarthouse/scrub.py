"""Leaves of a state what may leave the house: closed lists, like those by which the service publishes.

This module imports nothing of Home Assistant, so that it can be tested by itself.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

REDACTED: Final = "redacted"
PRESENCE: Final = frozenset({"person", "device_tracker"})
_OF_BODIES: Final = frozenset({"blood_glucose_concentration", "weight"})
_ALWAYS: Final = frozenset({"unknown", "unavailable"})
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?")
_NUMBERED: Final = re.compile(r"(?<=[a-z])[0-9]+(?=_)")
_MOST_NUMBERS: Final = 2
_MOST_MEMBERS: Final = 100
_MOST_REMEMBERED: Final = 20_000


def load_vocabulary() -> dict[str, Any]:
    """Read the lists. It reads a file: call it in an executor."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name("vocabulary.json").read_text(encoding="utf-8"))
    return found


class Scrubber:
    """Makes entity ids, states and attributes fit to be sent.

    names_key: decides the tokens that stand for words of entity ids. It stays in this Home Assistant.
    """

    def __init__(self, vocabulary: Mapping[str, Any], names_key: bytes) -> None:
        self.domains = frozenset(vocabulary["domains"])
        self.never_sent = frozenset(vocabulary["never_sent"])
        self._key = names_key
        self._sun: dict[str, list[str]] = vocabulary["sun"]
        self._id_words = frozenset(vocabulary["id_words"])
        self._units = frozenset(map(_folded, vocabulary["units"]))
        self._lone_units = self._units - frozenset(vocabulary["units_never_alone"])
        self._classes = {domain: frozenset(classes) for domain, classes in vocabulary["device_classes"].items()}
        self._numeric = frozenset(vocabulary["numeric_domains"])
        self._numeric_classes = frozenset(vocabulary["numeric_device_classes"])
        self._words: dict[str, dict[str, list[str]]] = vocabulary["states"]
        self._steps: dict[str, float] = vocabulary["steps_of_weather"]
        self._read = self._readers(vocabulary)
        self.public_id = lru_cache(_MOST_REMEMBERED)(self._public_id)
        self._allowed = lru_cache(_MOST_REMEMBERED)(self._allowed_words)
        self._measures = lru_cache(_MOST_REMEMBERED)(self._is_measurement)

    def may_send(self, entity_id: str) -> bool:
        """Tell whether anything of an entity may be sent: its domain is known, and it does not tell the sun's times."""
        domain, _, name = entity_id.partition(".")
        return domain in self.domains and not self._tells_the_sun(domain, name)

    def state(self, entity_id: str, state: str, attributes: Mapping[str, Any]) -> str:
        """Return a number that measures something, or a word of Home Assistant's own; else `redacted`."""
        domain = entity_id.partition(".")[0]
        if domain in PRESENCE:
            return state if state in _ALWAYS or state in ("home", "not_home") else "not_home"
        unit, device_class = _text(attributes.get("unit_of_measurement")), _text(attributes.get("device_class"))
        if self._measures(domain, device_class, unit) and _NUMBER.fullmatch(state):
            return state
        return state if state in self._allowed(domain, device_class) else REDACTED

    def attributes(self, entity_id: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes that are on the list, with values that are on one."""
        domain = entity_id.partition(".")[0]
        if domain in PRESENCE:
            return {}
        kept: dict[str, Any] = {}
        for name, value in attributes.items():
            if (read := self._read.get(name)) is not None and (told := read(value)) is not None:
                kept[name] = self._rounded(name, told) if domain == "weather" else told
        if "device_class" in kept and kept["device_class"] not in self._classes.get(domain, ()):
            del kept["device_class"]
        return kept

    def unit(self, unit: Any) -> str | None:
        """Return a unit that Home Assistant knows; None for any other text."""
        return unit if isinstance(unit, str) and _folded(unit) in self._units else None

    def measures(self, entity_id: str, device_class: str | None, unit: str | None) -> bool:
        """Tell whether an entity's numbers measure something, and are not a code or a coordinate."""
        return self._measures(entity_id.partition(".")[0], device_class, unit)

    def _public_id(self, entity_id: str) -> str:
        """Return an id in which words of rooms, appliances and quantities stay, and a token stands for any other."""
        domain, _, name = entity_id.partition(".")
        parts = name.split("_")
        keeps_numbers = sum(map(_is_short_number, parts)) <= _MOST_NUMBERS
        return f"{domain}.{'_'.join(self._public_word(part, keeps_numbers) for part in parts)}"

    def _public_word(self, word: str, keeps_numbers: bool) -> str:
        if not word or word in self._id_words or (keeps_numbers and _is_short_number(word)):
            return word
        return f"x{hmac.new(self._key, word.encode(), hashlib.sha256).hexdigest()[:10]}"

    def _tells_the_sun(self, domain: str, name: str) -> bool:
        words = _NUMBERED.sub("", f"_{name}_")
        if domain in self._sun["domains_of_first"] and words[1:].partition("_")[0] in self._sun["first"]:
            return True
        return any(f"_{each}_" in words for each in self._sun["anywhere"])

    def _is_measurement(self, domain: str, device_class: str | None, unit: str | None) -> bool:
        if domain not in self._numeric:
            return False
        if device_class is not None:
            return device_class in self._numeric_classes and device_class not in _OF_BODIES
        return unit is not None and _folded(unit) in self._lone_units

    def _allowed_words(self, domain: str, device_class: str | None) -> frozenset[str]:
        lists = self._words.get(domain, {})
        is_known = device_class is None or device_class in self._classes.get(domain, ())
        of_all = lists.get("_", ()) if is_known else lists.get("?", lists.get("_", ()))
        return frozenset(lists.get(device_class or "_", of_all)) | _ALWAYS

    def _readers(self, vocabulary: Mapping[str, Any]) -> dict[str, Callable[[Any], Any]]:
        lists, words = vocabulary["attributes"], frozenset(vocabulary["attribute_words"])
        classes = frozenset().union(*self._classes.values())
        return {
            **dict.fromkeys(lists["numbers"], _number),
            **dict.fromkeys(lists["lists_of_numbers"], _numbers),
            **dict.fromkeys(lists["units"], self.unit),
            **dict.fromkeys(lists["words"], _one_of(words)),
            **dict.fromkeys(lists["lists_of_words"], _some_of(words)),
            "device_class": _one_of(classes),
            "state_class": _one_of(frozenset(vocabulary["state_classes"])),
        }

    def _rounded(self, name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float) or name == "supported_features":
            return value
        step = self._steps.get(name, 1)
        return round(value / step) * step


def _folded(unit: str) -> str:
    return unicodedata.normalize("NFKC", unit)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _is_short_number(word: str) -> bool:
    return len(word) <= 2 and word.isascii() and word.isdigit()


def _number(value: Any) -> Any:
    """Return a number; an enumeration of Home Assistant's as the plain number that it is."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**63 else None
    return value if isinstance(value, float) and math.isfinite(value) else None


def _numbers(values: Any) -> Any:
    if not isinstance(values, list | tuple) or len(values) > 8:
        return None
    told = [_number(value) for value in values]
    return told if None not in told else None


def _one_of(words: frozenset[str]) -> Callable[[Any], str | None]:
    return lambda value: str(value) if isinstance(value, str) and value in words else None


def _some_of(words: frozenset[str]) -> Callable[[Any], list[str] | None]:
    read = _one_of(words)

    def some(values: Any) -> list[str] | None:
        if not isinstance(values, list | tuple):
            return None
        return [told for value in values[:_MOST_MEMBERS] if (told := read(value)) is not None] or None

    return some
