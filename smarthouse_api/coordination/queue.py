"""A queue over a log of the state store: many processes append, one at a time takes out.

How it stays exact even if workers sleep and state stores fail over:

1. A worker takes a turn: it writes the queue's document. All that it then does to the log is committed on the version that
   the document got. So a worker can do nothing more once another has taken a turn.
2. A state store that fails over to a server without the last commits gives the sequences of lost entries anew. The last
   sequence is read before the turn begins: a failover that loses an entry up to `Turn.last` loses the younger document too, and
   ends the turn. What came after the turn began is for the next turn.
3. A failover between that first look and the turn would not end the turn. So a queue with guards looks again once it has the
   turn. Without guards a worker must rely on what it read in its turn alone, not on `Turn.last`.
4. An entry is moved by one commit: it is never lost, and never there twice.
5. Entries that were appended to pass over sequences are empty. Readers of the log drop them or pass over them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from backends.ports import ABSENT, Change, Committed, Conflict, Entry, Put, StateStore

_PASSED: Final = 1000


@dataclass(frozen=True, slots=True)
class Turn:
    """Lets one worker change a queue until another worker takes a turn.

    version: of the queue's document. last: the sequence given last before the turn began. value: the document's content.
    """

    version: int
    last: int
    value: bytes


class Queue:
    """Hands what one log holds to one worker at a time.

    document: the key of the document that a turn writes. value: its first content. ttl_seconds: its lifetime; it expires,
    because a full store takes only what expires. page: entries that one look at the store reads. guards: documents whose
    versions a turn requires; None begins a turn unconditionally.
    """

    def __init__(
        self,
        state: StateStore,
        space: str,
        log: str,
        document: str,
        *,
        ttl_seconds: float,
        value: bytes = b"",
        page: int = 1000,
        guards: Mapping[str, int] | None = None,
    ) -> None:
        self._state, self._space, self._log, self._document = state, space, log, document
        self._ttl_seconds, self._value, self._page, self._guards = ttl_seconds, value, page, guards

    def last(self) -> int:
        """Return the sequence that was given last."""
        return self._state.last_sequence(self._space, self._log)

    def read(self, after: int = 0, limit: int | None = None) -> list[Entry]:
        """Read the entries above a sequence, a page at most."""
        return self._state.read(self._space, self._log, after, self._page if limit is None else limit)

    def entries(self, after: int, until: int) -> Iterator[Entry]:
        """Read the entries above one sequence and up to another."""
        while after < until and (page := self.read(after)):
            for entry in page:
                if entry.sequence > until:
                    return
                yield entry
            after = page[-1].sequence

    def take_turn(self) -> Turn:
        """Begin to work at the queue, which ends the turn of the worker before.

        Raises `Conflict` when a guard has changed, another takes a turn at the same time, or entries were lost meanwhile.
        """
        last = self.last()
        if self._guards is None:
            version = self._state.commit(self._space, Change(puts=(self._said(self._value),))).version
            return Turn(version, last, self._value)
        found = self._state.get(self._space, self._document)
        value = self._value if found is None else found.value
        before = self._at(last)
        expect = {**self._guards, self._document: ABSENT if found is None else found.version}
        version = self._state.commit(self._space, Change(expect=expect, puts=(self._said(value),))).version
        if self.last() < last or self._at(last) != before:
            raise Conflict("the state store has lost entries of a queue")
        return Turn(version, last, value)

    def commit(self, turn: Turn, change: Change) -> Committed:
        """Change the queue's space in a turn. Raises `Conflict` if the turn is over, as every method with a turn does."""
        return self._state.commit(self._space, replace(change, expect={self._document: turn.version}))

    def drop(self, turn: Turn, sequences: Iterable[int]) -> None:
        """Remove entries."""
        if drops := self._these(sequences):
            self.commit(turn, Change(drops=drops))

    def move(self, turn: Turn, entry: Entry) -> None:
        """Append an entry again, and drop it from its old place."""
        self.commit(turn, Change(appends=((self._log, entry.value),), drops=self._these([entry.sequence])))

    def go_on_after(self, turn: Turn, sequence: int) -> None:
        """Give the next entry a sequence above this one.

        Others may append meanwhile: only the empty entries that were appended for this are dropped.
        """
        while (last := self.last()) < sequence:
            appends = ((self._log, b""),) * min(sequence - last, _PASSED)
            self.drop(turn, self.commit(turn, Change(appends=appends)).sequences)

    def _at(self, sequence: int) -> bytes | None:
        """Read the value of the entry with this sequence, if there is one."""
        found = self.read(sequence - 1, 1) if sequence else []
        return found[0].value if found and found[0].sequence == sequence else None

    def _said(self, value: bytes) -> Put:
        return Put(self._document, value, self._ttl_seconds)

    def _these(self, sequences: Iterable[int]) -> tuple[tuple[str, int], ...]:
        return tuple((self._log, sequence) for sequence in sequences)
