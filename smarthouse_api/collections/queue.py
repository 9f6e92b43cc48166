"""The topic of a collection as the queue that feeds the lake, and what the collection's space says of the lake.

taken                   the document of the queue: how far the lake holds the topic; see `Taken`
fields                  the members that the records in the lake have, at least; see `Fields`
unreadable/<sequence>   an entry of which no row can be made
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from backends.ports import Change, Put, StateStore
from smarthouse_api.collections.catalogue import BORN, look_for
from smarthouse_api.collections.model import TOPIC, Collection
from smarthouse_api.collections.rows import Fields
from smarthouse_api.coordination.queue import Queue, Turn

_TAKEN: Final = "taken"
_FIELDS: Final = "fields"
_PAGE: Final = 64
_AGES_SECONDS: Final = 50 * 365 * 86400.0


class Taken(msgspec.Struct, frozen=True, omit_defaults=True):
    """sequence: the lake holds every entry up to it. dropped: the topic none up to it. kept_bytes: of the entries between, in
    the topic; kept_us: when the first of them came, in microseconds since 1970.
    """

    sequence: int = 0
    dropped: int = 0
    kept_bytes: int = 0
    kept_us: int = 0


_decode = msgspec.json.Decoder(Taken).decode
_encode = msgspec.json.Encoder().encode


class TopicQueue(Queue):
    """Hands the topic of a collection to one worker at a time: its curator, or whoever drops what need not be kept.

    A turn requires that the collection stands: what is deleted gets no document again.
    """

    def __init__(self, state: StateStore, collection: Collection) -> None:
        super().__init__(
            state,
            collection.space,
            TOPIC,
            _TAKEN,
            ttl_seconds=_AGES_SECONDS,
            value=_encode(Taken()),
            page=_PAGE,
            guards={BORN: collection.born},
        )
        self.collection = collection

    def look_for_collection(self) -> None:
        """Makes sure that the collection still exists. Raises `NotFound` if it was deleted since it was found."""
        look_for(self._state, self.collection)

    def taken(self, turn: Turn | None = None) -> Taken:
        """How far the lake holds the topic: now, or as the turn says."""
        if turn is not None:
            return _decode(turn.value)
        found = self._state.get(self._space, _TAKEN)
        return Taken() if found is None else _decode(found.value)

    def advance(self, turn: Turn, taken: Taken, drops: Iterable[int] = ()) -> Turn:
        """Say how far the lake is, and drop entries of the topic."""
        value = _encode(taken)
        change = Change(puts=(self._said(value),), drops=self._these(drops))
        return Turn(self.commit(turn, change).version, turn.last, value)

    def set_aside(self, turn: Turn, values: Mapping[int, bytes]) -> None:
        """Keep entries of which no row can be made, by sequence."""
        for sequence, value in values.items():
            self.commit(turn, Change(puts=(Put(f"unreadable/{sequence:019d}", value, _AGES_SECONDS),)))

    def fields(self) -> Fields:
        """The members that the collection's records in the lake have, at least."""
        found = self._state.get(self._space, _FIELDS)
        return Fields() if found is None else Fields.decoded(found.value)

    def put_fields(self, turn: Turn, fields: Fields) -> None:
        self.commit(turn, Change(puts=(Put(_FIELDS, fields.encoded(), _AGES_SECONDS),)))
