"""What was sent, what the service said of it, and what an export must hold therefore."""

from __future__ import annotations

import itertools
import re
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from tests.conftest import payload, state

STATES = 3
"""In each upload: one that is half there shows."""

_TOLD_AT_MOST = 20


class Outcome(StrEnum):
    """of an upload, or of a home's wish to be forgotten."""

    UNDER_WAY = "under way"
    DONE = "answered 200"
    REFUSED = "answered 503"
    CUT = "not answered"


@dataclass
class Home:
    """forgetting: what became of its wish to be forgotten; None while it has none."""

    uuid: str
    forgetting: Outcome | None = None


@dataclass
class Upload:
    """id: its states are `<id>.0`, `<id>.1`, …; said: every outcome so far, for the report."""

    id: str
    home: Home
    unit: str
    outcome: Outcome = Outcome.UNDER_WAY
    said: list[str] = field(default_factory=list)

    @property
    def states(self) -> list[str]:
        return [f"{self.id}.{number}" for number in range(STATES)]

    @property
    def body(self) -> bytes:
        return payload(*(state(f"sensor.s{n}", value, unit_of_measurement=self.unit) for n, value in enumerate(self.states)))


@dataclass(frozen=True)
class Promised:
    """What an export that begins now must hold, and what it must not: ids of uploads."""

    unit: str | None
    present: frozenset[str]
    absent: frozenset[str]


class Ledger:
    """Shared by all actors of one cast. complaints: whatever the service did that it must not, in words."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._ids = itertools.count(1)
        self.uploads: dict[str, Upload] = {}
        self.complaints: list[str] = []
        self.begin_round()

    def begin_round(self) -> None:
        """Count anew. refused: uploads, pushes and appends that were not acknowledged at once; answers, slowest: by request."""
        self.refused = 0
        self.answers: Counter[str] = Counter()
        self.slowest: dict[str, float] = {}

    def complain(self, fault: str) -> None:
        with self._turn:
            self.complaints.append(fault)

    def note(self, what: str, told: str, seconds: float) -> None:
        """One answer, for the report."""
        with self._turn:
            self.answers[f"{what} {told}"] += 1
            self.slowest[what] = max(self.slowest.get(what, 0.0), seconds)

    def begin(self, home: Home, unit: str) -> Upload:
        with self._turn:
            upload = Upload(f"k{next(self._ids)}", home, unit)
            self.uploads[upload.id] = upload
            return upload

    def end(self, upload: Upload, outcome: Outcome, said: str) -> None:
        with self._turn:
            upload.said.append(said)
            # What was once acknowledged stays so, whatever a repeat is told.
            if upload.outcome is not Outcome.DONE:
                upload.outcome = outcome
        if outcome is not Outcome.DONE:
            self.refuse()

    def refuse(self) -> None:
        """Count one that was not acknowledged."""
        with self._turn:
            self.refused += 1

    def forgetting(self, home: Home, outcome: Outcome) -> None:
        with self._turn:
            home.forgetting = outcome

    def promised(self, unit: str | None = None) -> Promised:
        with self._turn:
            wanted = [upload for upload in self.uploads.values() if unit in (None, upload.unit)]
            return Promised(
                unit,
                frozenset(one.id for one in wanted if one.outcome is Outcome.DONE and one.home.forgetting is None),
                frozenset(one.id for one in wanted if one.home.forgetting is Outcome.DONE),
            )

    def differences(self, promised: Promised, found: Counter[str]) -> list[str]:
        """Where an export that began after `promised` was made differs from it; `found`: how often it holds each state."""
        by_id: dict[str, Counter[str]] = {}
        for value, count in found.items():
            by_id.setdefault(value.partition(".")[0], Counter())[value] = count
        with self._turn:
            going = {one.id for one in self.uploads.values() if one.home.forgetting is not None}
            told = [f"never sent, yet exported: {id_}" for id_ in by_id if id_ not in self.uploads]
            told += [f"acknowledged, not exported: {self._of(id_)}" for id_ in promised.present - going - set(by_id)]
            told += [f"forgotten, yet exported: {self._of(id_)}" for id_ in promised.absent & set(by_id)]
            for id_ in set(by_id) & set(self.uploads):
                if max(by_id[id_].values()) > 1:
                    told.append(f"exported more than once: {self._of(id_)} as {dict(by_id[id_])}")
                elif len(by_id[id_]) < STATES and id_ not in going:
                    told.append(f"exported by half: {self._of(id_)} as {dict(by_id[id_])}")
        return told

    def to_repeat(self) -> list[Upload]:
        """Uploads of which nobody knows whether they are kept."""
        with self._turn:
            return [one for one in self.uploads.values() if one.outcome is not Outcome.DONE and one.home.forgetting is None]

    def to_forget(self) -> list[Home]:
        """Homes that asked to be forgotten, and were not told that they are."""
        with self._turn:
            homes = {id(one.home): one.home for one in self.uploads.values()}
            return [home for home in homes.values() if home.forgetting not in (None, Outcome.DONE)]

    def uuids(self) -> set[str]:
        with self._turn:
            return {one.home.uuid for one in self.uploads.values()}

    def summary(self) -> str:
        with self._turn:
            counts = ", ".join(f"{count} x {told}" for told, count in sorted(self.answers.items()))
            slowest = ", ".join(f"{what} {seconds:.2f} s" for what, seconds in sorted(self.slowest.items()))
        return f"answers: {counts}\nslowest: {slowest}"

    def _of(self, id_: str) -> str:
        upload = self.uploads[id_]
        forgetting = f", its home's forgetting {upload.home.forgetting}" if upload.home.forgetting else ""
        return f"{id_} ({upload.unit}; said: {', '.join(upload.said) or 'nothing'}{forgetting})"


def first_of(told: Iterable[str]) -> str:
    """The first few, a line for each, and how many more there are."""
    lines = sorted(set(told), key=lambda line: (re.sub(r"\d+", "", line), line))
    more = [f"… and {len(lines) - _TOLD_AT_MOST} more"] if len(lines) > _TOLD_AT_MOST else []
    return "\n".join(lines[:_TOLD_AT_MOST] + more)
