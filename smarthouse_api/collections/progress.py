"""How far the lake has taken in the topics of collections.

In a collection's space, the document `taken` says so. Whoever curates takes a turn: it writes that document anew, under the
version that it found, and all that it does to the topic stands under the version that it then has. So nothing comes of one who
was suspended meanwhile; and nothing of one whose state store fails over to a server without the last commits, as far as they
matter: of what is at hand in a turn, the last entry was there before it began, and is there after; so if any of it is lost, and
its sequence given anew, the turn is lost too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from backends.ports import ABSENT, Change, Conflict, Entry, Put, StateStore
from smarthouse_api.collections.catalogue import BORN
from smarthouse_api.collections.fields import FIELDS, Fields
from smarthouse_api.collections.model import TOPIC, Collection

_TAKEN: Final = "taken"
_PAGE: Final = 64
_PASSED: Final = 1000
# Not for ever, because a full store takes only what passes, and what is written here makes room.
_AGES_SECONDS: Final = 50 * 365 * 86400.0


class Taken(msgspec.Struct, frozen=True, omit_defaults=True):
    """sequence: the lake holds every entry up to it. dropped: the topic none up to it. kept_bytes: of the entries between, in
    the topic; kept_us: when the first of them came, in microseconds since 1970.
    """

    sequence: int = 0
    dropped: int = 0
    kept_bytes: int = 0
    kept_us: int = 0


_taken = msgspec.json.Decoder(Taken).decode


@dataclass(frozen=True, slots=True)
class Turn:
    """At a topic. version: of what stands for it. last: the sequence given last before it began."""

    taken: Taken
    version: int
    last: int


class Progress:
    """Of one installation."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def taken(self, collection: Collection) -> Taken:
        found = self._state.get(collection.space, _TAKEN)
        return Taken() if found is None else _taken(found.value)

    def last(self, collection: Collection) -> int:
        """The sequence that was given last."""
        return self._state.last_sequence(collection.space, TOPIC)

    def take_turn(self, collection: Collection) -> Turn:
        """Begin to work on a topic; ends the turn of whoever did so before. Raises `Conflict` when the collection is gone, or
        another takes a turn at the same time.
        """
        last = self.last(collection)
        found = self._state.get(collection.space, _TAKEN)
        taken = Taken() if found is None else _taken(found.value)
        is_pending = last > taken.sequence
        before = self._at(collection, last) if is_pending else None
        expect = {BORN: collection.born, _TAKEN: ABSENT if found is None else found.version}
        version = self._state.commit(collection.space, Change(expect=expect, puts=(_put(taken),))).version
        # A failover since the first look may have spared the turn.
        if is_pending and (self.last(collection) < last or self._at(collection, last) != before):
            raise Conflict("the state store has lost entries of a topic")
        return Turn(taken, version, last)

    def entries(self, collection: Collection, after: int, until: int) -> Iterator[Entry]:
        """The topic's entries above one sequence and up to another."""
        while after < until and (page := self._state.read(collection.space, TOPIC, after, _PAGE)):
            for entry in page:
                if entry.sequence > until:
                    return
                yield entry
            after = page[-1].sequence

    def advance(self, collection: Collection, turn: Turn, taken: Taken, drops: Iterable[int] = ()) -> Turn:
        """Say how far the lake is, and drop entries of the topic. Raises `Conflict` when the turn is over."""
        change = Change(
            expect={_TAKEN: turn.version}, puts=(_put(taken),), drops=tuple((TOPIC, sequence) for sequence in drops)
        )
        return Turn(taken, self._state.commit(collection.space, change).version, turn.last)

    def move(self, collection: Collection, turn: Turn, entry: Entry) -> None:
        """Append an entry anew, and drop it where it stands. Raises `Conflict` when the turn is over."""
        change = Change(expect={_TAKEN: turn.version}, appends=((TOPIC, entry.value),), drops=((TOPIC, entry.sequence),))
        self._state.commit(collection.space, change)

    def go_on_after(self, collection: Collection, turn: Turn, sequence: int) -> None:
        """Give the next entry a sequence above this one. Raises `Conflict` when the turn is over.

        Others may append meanwhile: what is dropped is what was appended for it, and empty until then.
        """
        while (last := self.last(collection)) < sequence:
            appends = ((TOPIC, b""),) * min(sequence - last, _PASSED)
            passed = self._state.commit(collection.space, Change(expect={_TAKEN: turn.version}, appends=appends)).sequences
            self._state.commit(
                collection.space, Change(expect={_TAKEN: turn.version}, drops=tuple((TOPIC, one) for one in passed))
            )

    def set_aside(self, collection: Collection, turn: Turn, values: Mapping[int, bytes]) -> None:
        """Keep what no row can be made of as the documents `unreadable/<sequence>`. Raises `Conflict` when the turn is over."""
        for sequence, value in values.items():
            put = Put(f"unreadable/{sequence:019d}", value, _AGES_SECONDS)
            self._state.commit(collection.space, Change(expect={_TAKEN: turn.version}, puts=(put,)))

    def fields(self, collection: Collection) -> Fields:
        """The members that the collection's records in the lake have, at least."""
        found = self._state.get(collection.space, FIELDS)
        return Fields() if found is None else Fields.decoded(found.value)

    def put_fields(self, collection: Collection, turn: Turn, fields: Fields) -> None:
        """Raises `Conflict` when the turn is over."""
        put = Put(FIELDS, fields.encoded(), _AGES_SECONDS)
        self._state.commit(collection.space, Change(expect={_TAKEN: turn.version}, puts=(put,)))

    def _at(self, collection: Collection, sequence: int) -> bytes | None:
        """What stands in the topic under a sequence."""
        found = self._state.read(collection.space, TOPIC, sequence - 1, 1)
        return found[0].value if found and found[0].sequence == sequence else None


def _put(taken: Taken) -> Put:
    return Put(_TAKEN, msgspec.json.encode(taken), _AGES_SECONDS)
