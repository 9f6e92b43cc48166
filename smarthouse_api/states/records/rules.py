"""What of a state may be published, value by value: the closed lists of Home Assistant's words and of our judgements."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from itertools import chain
from typing import Any, Final

import msgspec

from smarthouse_api.states.records.entities import UNKNOWN, identify, plainly
from smarthouse_api.states.records.rows import folded_unit
from smarthouse_api.states.vocabulary import facts

REDACTED: Final = "redacted"
"""What is published instead of a state that may not be."""

PRESENCE: Final = frozenset({"person", "device_tracker"})
"""The domains whose states tell where somebody is."""

_ALWAYS: Final = frozenset({"unknown", "unavailable", ""})
AWAY: Final = "not_home"
"""What is published of somebody who is anywhere but at home, whatever the place is called."""

PRESENCE_WORDS: Final = frozenset({"home", AWAY})
_NUMBERED: Final = re.compile(r"(?<=[^\W\d_])\d+(?=_)")

_members = msgspec.json.Decoder(dict[str, Any]).decode
_write = msgspec.json.Encoder().encode


@cache
def _listed(name: str) -> frozenset[str]:
    return frozenset(facts.judged("publication")[name])


def kind_of(type_: str, entity_id: str) -> str:
    """Tell the domain whose rules hold for a row. The id is asked too: an earlier version may have stored another type."""
    told, _ = identify(entity_id)
    private = PRESENCE | _listed("unpublished_domains")
    if told not in private and (type_ in private or told == UNKNOWN):
        return type_
    return told


def is_published(kind: str, entity_id: str) -> bool:
    """Tell whether rows of an entity may be published at all. kind: from `kind_of`."""
    return kind not in _listed("unpublished_domains") and not _tells_the_sun(kind, entity_id)


def is_published_if_reviewed(kind: str) -> bool:
    """Tell whether rows of a domain that is not published come back where their state is a reviewed word."""
    return kind in _listed("domains_of_reviewed_words")


def _tells_the_sun(kind: str, entity_id: str) -> bool:
    """Tell whether an entity gives away when the sun rises or sets at a home, and so where the home is."""
    sun = facts.judged("publication")["sun"]
    words = _NUMBERED.sub("", f"_{plainly(identify(entity_id)[1].partition('.')[2])}_")
    if kind in sun["domains_of_first"] and words[1:].partition("_")[0] in sun["first"]:
        return True
    return any(f"_{each}_" in words for each in sun["anywhere"])


@cache
def sun_pattern() -> str:
    """Write what `_tells_the_sun` looks for as a regular expression for ids in lower case. It finds a few more."""
    sun = facts.judged("publication")["sun"]
    first, anywhere = ("|".join(sun[name]) for name in ("first", "anywhere"))
    return f"([.]({first})|[._]({anywhere}))[0-9]*(_|$)"


def published_type(kind: str, *, strict: bool = False) -> str:
    """Return a domain of Home Assistant's own, or unless strict one that is made of listed words; else `UNKNOWN`."""
    if kind in facts.domains() or (not strict and all(word in id_words() for word in kind.split("_"))):
        return kind
    return UNKNOWN


@cache
def id_words() -> frozenset[str]:
    """The words that stay in a published id."""
    lists = [words for words in facts.judged("ids").values() if isinstance(words, list)]
    return frozenset(chain.from_iterable(lists)) | facts.device_classes("sensor")


def published_unit(unit: str | None) -> str | None:
    """Return a unit that Home Assistant or an integration has, as it was sent; an owner's own text is None."""
    return unit if unit is not None and may_ask_for_unit(unit) else None


@cache
def _units_to_ask_for() -> frozenset[str]:
    return frozenset(map(folded_unit, facts.units()))


def may_ask_for_unit(unit: str) -> bool:
    """Tell whether a filter may find rows by a unit. By one that is not published, it would tell what is not published."""
    return folded_unit(unit) in _units_to_ask_for()


def may_ask_for_type(type_: str, *, strict: bool) -> bool:
    """Tell whether a filter may find rows by a domain, likewise."""
    return published_type(type_, strict=strict) == type_


@cache
def _classes_to_ask_for() -> frozenset[str]:
    return frozenset(chain.from_iterable(map(facts.device_classes, facts.domains())))


def may_ask_for_class(device_class: str) -> bool:
    """Tell whether a filter may find rows by a device class, likewise."""
    return device_class in _classes_to_ask_for()


def published_class(kind: str, device_class: str | None) -> str | None:
    """Return a device class of the domain; an owner's own text is None."""
    return device_class if device_class in facts.device_classes(kind) else None


def is_measurement(kind: str, device_class: str | None, unit: str | None) -> bool:
    """Tell whether numbers of a domain, device class and unit measure something, and are not a code or a coordinate."""
    if kind not in _listed("numeric_domains"):
        return False
    if device_class is not None:
        return device_class in facts.numeric_device_classes()
    return unit is not None and may_ask_for_unit(unit) and folded_unit(unit) not in _listed("units_never_alone")


def words_of(kind: str, device_class: str | None, reviewed: frozenset[str]) -> frozenset[str]:
    """Return the words that a state may be. reviewed: the operator's own list."""
    if kind in PRESENCE:
        return PRESENCE_WORDS | _ALWAYS
    words = facts.words_of(kind, published_class(kind, device_class))
    if kind == "sensor" and device_class in (None, "enum"):
        words |= _shared_words()
    return words | reviewed | _ALWAYS


NO_WORD: Final = "?"
"""A state that is no word of any domain."""


def published_words(reviewed: Iterable[str]) -> frozenset[str]:
    """Return every word that a state of any domain and device class may be. reviewed: the operator's own list."""
    return _all_words() | frozenset(reviewed)


@cache
def _all_words() -> frozenset[str]:
    kinds = ((domain, one) for domain in facts.domains() for one in (None, *facts.device_classes(domain)))
    return frozenset(chain.from_iterable(words_of(*kind, frozenset()) for kind in kinds))


@cache
def _shared_words() -> frozenset[str]:
    return frozenset(word for word in facts.shared_words("sensor") if not word[0].isdigit())


class AttributeRules:
    """Leaves of a state's attributes what may be published. reviewed: the operator's own words."""

    def __init__(self, reviewed: frozenset[str]) -> None:
        lists = facts.judged("publication")["attributes"]
        words = reviewed | _attribute_words()
        self._steps: dict[str, float] = facts.judged("publication")["steps_of_weather"]
        classes = frozenset(chain.from_iterable(facts.table("device_classes")["domains"].values()))
        one_of: dict[str, frozenset[str]] = dict.fromkeys(lists["words"], words)
        one_of |= {"device_class": classes, "state_class": frozenset(facts.table("device_classes")["state_classes"])}
        self._read: dict[str, Callable[[Any], Any]] = {
            **dict.fromkeys(lists["numbers"], _number),
            **dict.fromkeys(lists["lists_of_numbers"], _numbers),
            **dict.fromkeys(lists["units"], _unit),
            **{name: _Words(allowed).one for name, allowed in one_of.items()},
            **dict.fromkeys(lists["lists_of_words"], _Words(words).some),
        }

    def __call__(self, attributes: str, *, is_weather: bool) -> str:
        """Return the attributes that are published, as JSON text. is_weather: round the numbers."""
        if attributes == "{}":
            return attributes
        kept = {}
        for name, value in _members(attributes).items():
            if name in self._read and (told := self._read[name](value)) is not None:
                kept[name] = self._rounded(name, told) if is_weather else told
        return _write(kept).decode()

    def _rounded(self, name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float) or name == "supported_features":
            return value
        step = self._steps.get(name, 1)
        return round(value / step) * step


class _Words:
    """Reads texts that are on a list."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed

    def one(self, value: Any) -> str | None:
        return value if isinstance(value, str) and value in self._allowed else None

    def some(self, values: Any) -> list[str] | None:
        found = [value for value in values if self.one(value)] if isinstance(values, list) else []
        return found or None


def _unit(value: Any) -> str | None:
    return published_unit(value) if isinstance(value, str) else None


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) else None


def _numbers(values: Any) -> Any:
    return values if isinstance(values, list) and all(value is None or _number(value) is not None for value in values) else None


@cache
def _attribute_words() -> frozenset[str]:
    """The words of all attributes that Home Assistant translates, those of enum sensors, and those that we reviewed."""
    tables: Iterable[dict[str, list[str]]] = facts.table("attributes").values()
    translated = chain.from_iterable(chain.from_iterable(attributes.values()) for attributes in tables)
    return frozenset(translated) | _shared_words() | facts.words_of("climate") | _listed("words_of_attributes")
