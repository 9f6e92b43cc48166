"""What was pushed to one collection in both dialects, or appended to one stream, what the service said of it, and what must be
read of it therefore.
"""

from __future__ import annotations

import base64
import itertools
import json
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.ledger import Outcome

COLLECTION = "pushes"
STREAM = "/homes/7/smartModules/chaos/streams/packets"
RECORDS = 3
"""In each push: one that is half there shows."""

_LARGE_BYTES = 6 << 10
_LARGE_EACH = 5
"""Every so many pushes are large enough to be known to be of one shape, and read another way."""


@dataclass
class Push:
    """number: its records are `p<number>.0`, `p<number>.1`, …; said: every outcome so far, for the report."""

    number: int
    outcome: Outcome = Outcome.UNDER_WAY
    said: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"p{self.number}"

    @property
    def records(self) -> list[str]:
        return [f"{self.id}.{number}" for number in range(RECORDS)]

    def request(self, key: str) -> tuple[str, bytes, dict[str, str]]:
        """Path, body and headers, in one dialect or the other; the same each time, so that a repeat is known for one."""
        text = "x" * (_LARGE_BYTES if self.number % _LARGE_EACH == 0 else 1)
        data = [{"name": name, "text": text} for name in self.records]
        headers = {"Content-Type": "application/json"}
        if self.number % 2:
            body = {"datasource_id": COLLECTION, "data": data}
            path = "/restapi/datasource/insert"
            headers |= {"Authorization": f"Bearer {key}", "Idempotency-Key": self.id}
        else:
            body = {"id": "api.data.in", "ver": "v2", "ts": "1711966306164", "params": {"msgid": self.id}, "data": data}
            path = f"/v2/data/in/{COLLECTION}"
        return path, json.dumps(body).encode(), headers

    def packets(self, key: str) -> tuple[str, bytes, dict[str, str]]:
        """The same as a batch of packets of the stream."""
        lines = [json.dumps({"data": base64.b64encode(name.encode()).decode()}) for name in self.records]
        headers = {"Content-Type": "application/x-ndjson", "Authorization": f"Bearer {key}", "Idempotency-Key": self.id}
        return f"{STREAM}/data", "\n".join(lines).encode(), headers


class Pushes:
    """Shared by all who push to one collection, or append to one stream."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._numbers = itertools.count(1)
        self._all: dict[str, Push] = {}

    def begin(self) -> Push:
        with self._turn:
            one = Push(next(self._numbers))
            self._all[one.id] = one
            return one

    def end(self, one: Push, outcome: Outcome, said: str) -> None:
        with self._turn:
            one.said.append(said)
            # What was once acknowledged stays so, whatever a repeat is told.
            if one.outcome is not Outcome.DONE:
                one.outcome = outcome

    def promised(self) -> frozenset[str]:
        """Ids of the pushes that whatever is read from now on must hold."""
        with self._turn:
            return frozenset(one.id for one in self._all.values() if one.outcome is Outcome.DONE)

    def to_repeat(self) -> list[Push]:
        """Pushes of which nobody knows whether they are kept."""
        with self._turn:
            return [one for one in self._all.values() if one.outcome is not Outcome.DONE]

    def differences(self, promised: frozenset[str], found: Sequence[str]) -> list[str]:
        """Where records that were read, in their order, differ from what was promised before."""
        counts = Counter(found)
        whole: dict[str, list[str]] = {}
        for name in found:
            whole.setdefault(name.partition(".")[0], []).append(name)
        with self._turn:
            told = [f"never pushed, yet read: {id_}" for id_ in whole if id_ not in self._all]
            told += [f"acknowledged, not read: {id_} ({self._said(id_)})" for id_ in promised - set(whole)]
            for id_, names in whole.items():
                if max(counts[name] for name in names) > 1:
                    told.append(f"read more than once: {names} ({self._said(id_)})")
                elif id_ in self._all and names != self._all[id_].records:
                    told.append(f"read by half, or out of order: {names} ({self._said(id_)})")
        return told

    def _said(self, id_: str) -> str:
        return ", ".join(self._all[id_].said) if id_ in self._all else "nothing"
