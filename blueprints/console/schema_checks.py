"""Tries a schema before it is saved: is it one, which of the newest records pass it, and does a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from blueprints.console.json_texts import read_object
from smarthouse_api.collections.newest import NewestRecord
from smarthouse_api.collections.schemas import Checker
from smarthouse_api.errors import Invalid

TRIED: Final = 20
"""Records that a schema is tried on."""


@dataclass
class Checked:
    """Tells what a check found.

    fault: of the schema itself, if there is one. tried: records with their faults, or None for one that passes. has_sample:
    there is one. sample_fault: of the sample; None if it passes.
    """

    fault: str | None = None
    tried: list[tuple[NewestRecord, str | None]] = field(default_factory=list)
    has_sample: bool = False
    sample_fault: str | None = None

    @property
    def failing(self) -> int:
        """How many of the newest records fail."""
        return sum(fault is not None for _, fault in self.tried)


def check_schema(text: str, records: Sequence[NewestRecord], sample: str = "") -> Checked:
    """Check the text of a schema, and try it on records and on a sample."""
    try:
        checker = Checker(read_object(text))
    except Invalid as fault:
        return Checked(fault=fault.detail)
    faults = checker.faults_of([one.value() for one in records])
    checked = Checked(tried=[(one, faults.get(index)) for index, one in enumerate(records)], has_sample=bool(sample.strip()))
    if checked.has_sample:
        checked.sample_fault = _fault_of_sample(checker, sample)
    return checked


def _fault_of_sample(checker: Checker, sample: str) -> str | None:
    try:
        record: dict[str, Any] = read_object(sample)
    except Invalid as fault:
        return fault.detail
    return checker.faults_of([record]).get(0)
