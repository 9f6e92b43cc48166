"""What a definition may say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from smarthouse_api.collections.model import MESSAGE_ID, MODES, Definition
from smarthouse_api.collections.schemas import compile
from smarthouse_api.errors import Invalid

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", re.ASCII)
_HOW: Final = "1 to 100 letters, digits, dots, underscores, colons and hyphens, the first a letter or a digit"
_LONGEST_TEXT: Final = 200
_LONGEST_SECONDS: Final = 100 * 365 * 86400.0
# At import: threads that are the first to read a kind may crash the process together.
msgspec.json.Decoder(Definition)


def is_name(text: str) -> bool:
    """Whether a collection may have this id, alias or topic."""
    return _NAME.fullmatch(text) is not None


def define(members: dict[str, Any]) -> Definition:
    """A definition with these members, by their names there; the name is the id's unless given. Raises `Invalid`."""
    try:
        definition = msgspec.convert({"name": str(members.get("id")), **members}, Definition)
    except msgspec.ValidationError as fault:
        raise Invalid(f"The definition is malformed: {fault}") from None
    check(definition)
    return definition


def check(definition: Definition) -> None:
    """Raises `Invalid`, which names what is wrong, unless a collection may be defined so."""
    for fault in _faults(definition):
        raise Invalid(fault)
    if definition.schema is not None:
        compile(definition.schema)


def _faults(one: Definition) -> Iterator[str]:
    for what, name in (("id", one.id), ("alias", one.alias), ("entry_topic", one.entry_topic)):
        if name is not None and not is_name(name):
            yield f"{what}: must be {_HOW}"
    if one.alias == one.id:
        yield "alias: must be another name than the id"
    for what, text in (("name", one.name), ("timestamp_field", one.timestamp_field), ("dedup_key", one.dedup_key)):
        if text is not None and not (0 < len(text) <= _LONGEST_TEXT and text.isprintable() and text.strip()):
            yield f"{what}: must be 1 to {_LONGEST_TEXT} printable characters, not all of them blank"
    if one.dedup_key is not None and one.dedup_key != MESSAGE_ID and not all(one.dedup_key.split(".")):
        yield f"dedup_key: must be {MESSAGE_ID}, or the names that lead to a member of a record, joined by dots"
    if one.mode not in MODES:
        yield f"mode: must be one of {', '.join(MODES)}"
    for what, seconds in (("dedup_seconds", one.dedup_seconds), ("retention.seconds", one.retention.seconds)):
        if seconds is not None and not 0 < seconds <= _LONGEST_SECONDS:
            yield f"{what}: must be more than nothing, and at most 100 years"
    if one.retention.bytes is not None and not 0 <= one.retention.bytes < 1 << 53:
        yield f"retention.bytes: must be from 0 to {(1 << 53) - 1}"
