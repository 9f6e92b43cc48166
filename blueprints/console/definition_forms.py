"""The form of a collection's definition: what it shows of a collection, and the definition that its fields make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from blueprints.console.json_texts import pretty, read_object
from smarthouse_api.collections.model import DEDUP_SECONDS, MODES, OFF, Collection, Extraction
from smarthouse_api.errors import Invalid
from smarthouse_api.measures import NO_DURATION, NO_SIZE, duration_text, read_duration, read_size, size_text

Form = Mapping[str, str]
Number = TypeVar("Number", int, float)

_TEXTS: Final = ("name", "alias", "entry_topic", "timestamp_field", "dedup_key")
_FIELDS: Final = {
    "dedup_seconds": "dedup_window",
    "extraction.key": "extraction",
    "extraction.dedup_key": "extraction_dedup_key",
    "extraction.dedup_seconds": "extraction_window",
    "retention.seconds": "keep",
    "retention.bytes": "keep_bytes",
}
"""The field of the form for each member that has another name."""

_KNOWN: Final = frozenset({"id", "schema", "mode", *_TEXTS, *_FIELDS.values()})


@dataclass
class Typed:
    """Holds what was typed. faults: by field, and those of no field under an empty name. members: of a definition."""

    values: dict[str, str]
    faults: dict[str, str] = field(default_factory=dict)
    members: dict[str, Any] = field(default_factory=dict)

    def note(self, fault: Invalid) -> None:
        """Put a fault that the rules found to the field that it is about."""
        member, _, told = fault.detail.partition(": ")
        name = _FIELDS.get(member, member)
        if told and name in _KNOWN:
            self.faults.setdefault(name, told)
        else:
            self.faults.setdefault("", fault.detail)


def shown(one: Collection | None) -> dict[str, str]:
    """Tell what the form shows of a collection; of none, what a new one begins with."""
    if one is None:
        return {
            "mode": OFF,
            "timestamp_field": "timestamp",
            "dedup_window": duration_text(DEDUP_SECONDS),
            "extraction_window": duration_text(DEDUP_SECONDS),
            "requires_token": "true",
        }
    batches, kept = one.extraction, one.retention
    told = {
        **{name: getattr(one, name) or "" for name in _TEXTS},
        "id": one.id,
        "mode": one.mode,
        "schema": "" if one.schema is None else pretty(one.schema),
        "dedup_window": duration_text(one.dedup_seconds),
        "extraction": batches.key if batches else "",
        "extraction_dedup_key": (batches and batches.dedup_key) or "",
        "extraction_window": duration_text((batches or Extraction()).dedup_seconds),
        "keep": "" if kept.seconds is None else duration_text(kept.seconds),
        "keep_bytes": "" if kept.bytes is None else size_text(kept.bytes),
    }
    return told | {name: "true" for name in ("requires_token", "public") if getattr(one, name)}


def read_typed(form: Form, before: Collection | None) -> Typed:
    """Read the fields of the form. before: the collection that it changes."""
    typed = Typed({name: text if name in ("schema", "sample") else text.strip() for name, text in form.items()})
    values, old = typed.values, shown(before)
    typed.members = {name: values.get(name) or None for name in _TEXTS}
    typed.members["name"] = values.get("name") or (before.id if before else values.get("id", ""))
    if before is None:
        typed.members["id"] = values.get("id", "")
    typed.members |= {name: name in values for name in ("requires_token", "public")}
    typed.members["mode"] = values.get("mode") if values.get("mode") in MODES else OFF
    typed.members["schema"] = _schema(typed)

    def number(name: str, read: Callable[[str], Number | None], kept: Number | None, fault: str) -> Number | None:
        """Read a number with a unit. What stands there unchanged keeps its value: it may have none that can be written."""
        text = values.get(name, "")
        if not text or text == old.get(name):
            return kept if text else None
        if (found := read(text)) is None:
            typed.faults[name] = fault
        return found

    kept, batches = (before.retention, before.extraction) if before else (None, None)
    window = number("dedup_window", read_duration, before.dedup_seconds if before else DEDUP_SECONDS, NO_DURATION)
    typed.members["dedup_seconds"] = window or DEDUP_SECONDS
    typed.members["retention"] = {
        "seconds": number("keep", read_duration, kept.seconds if kept else None, NO_DURATION),
        "bytes": number("keep_bytes", read_size, kept.bytes if kept else None, NO_SIZE),
    }
    seconds = number("extraction_window", read_duration, (batches or Extraction()).dedup_seconds, NO_DURATION)
    typed.members["extraction"] = _extraction(typed, seconds or DEDUP_SECONDS)
    return typed


def _schema(typed: Typed) -> dict[str, Any] | None:
    if not (text := typed.values.get("schema", "")).strip():
        return None
    try:
        return read_object(text)
    except Invalid as fault:
        typed.faults["schema"] = fault.detail
        return None


def _extraction(typed: Typed, seconds: float) -> dict[str, Any] | None:
    key, dedup_key = (typed.values.get(name) or None for name in ("extraction", "extraction_dedup_key"))
    if key is not None:
        return {"key": key, "dedup_key": dedup_key, "dedup_seconds": seconds}
    if dedup_key is not None:
        typed.faults["extraction"] = "it is missing; a key of batches needs the member that holds their events"
    return None
