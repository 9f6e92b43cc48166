"""Activity: when each stream got its newest packet, and how much it had some minutes ago.

The chores note it at each of their looks. So a list of all streams can be put in order, and tell how much came in the last
minutes, without a look at each stream. What is noted is as old as the last look, at most half a minute as a rule.

1. A note has two samples of what was ever appended. The newer takes the place of the older one once it is `_SPAN_SECONDS` old.
2. The note of a stream that gets nothing is not written again. Its samples hold at the beginning of the last whole look, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from backends.ports import Change, Conflict, Document, PartDamaged, Put, StateStore, StoreFull
from smarthouse_api.coordination.mending import Mender, removing
from smarthouse_api.streams.catalogue import ACTIVITY, SPACE, document_of, is_of
from smarthouse_api.streams.heads import Head
from smarthouse_api.streams.model import Stream

_LOOKED: Final = "looked"
_SPAN_SECONDS: Final = 150.0


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """Tells how many packets and bytes a stream had ever got, at a time in seconds since 1970."""

    at: float
    packets: int = 0
    bytes: int = 0

    def is_like(self, other: Sample) -> bool:
        """Tell whether nothing came between the two."""
        return (self.packets, self.bytes) == (other.packets, other.bytes)


class Activity(msgspec.Struct, frozen=True, array_like=True):
    """Stores the note of a stream. last_us: when its newest packet came, in microseconds since 1970; None if none did."""

    last_us: int | None
    older: Sample
    newer: Sample


@dataclass(frozen=True, slots=True)
class Look:
    """Tells what a stream's head was, at a time in seconds since 1970."""

    stream: Stream
    head: Head
    at: float


@dataclass(frozen=True, slots=True)
class Recent:
    """Tells how many packets and bytes a stream got in the last `seconds`."""

    seconds: float
    packets: int
    bytes: int


_activity = msgspec.json.Decoder(Activity).decode


@dataclass(frozen=True, slots=True)
class Activities:
    """Holds the notes of all streams as they were read together. looked_at: when the last whole look at them began."""

    noted: dict[str, Activity]
    looked_at: float

    def last_us(self, stream: Stream) -> int:
        """Return when the newest packet came, as far as it is noted; for a stream without a note, when the stream was made."""
        note = self.noted.get(stream.key)
        return int(stream.created_at.timestamp() * 1e6) if note is None else note.last_us or -1

    def recent(self, stream: Stream, head: Head, now: float) -> Recent:
        """Return what came in the last minutes. head: the stream's, as it is now."""
        note = self.noted.get(stream.key)
        older = Sample(stream.created_at.timestamp()) if note is None else note.older
        since, packets, size = older.at, head.packets - older.packets, head.bytes - older.bytes
        if packets and note is not None and older.is_like(note.newer):
            since = max(since, self.looked_at)  # until then, nothing came
        return Recent(max(now - since, 0.0), max(packets, 0), max(size, 0))  # a restored backup may hold less


class ActivityNotes:
    """Keeps the notes of all streams."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def note(self, looks: Sequence[Look]) -> None:
        """Note what streams had got. A stream that is deleted meanwhile leaves no note behind."""
        if not looks:
            return
        try:
            self._note(looks)
        except (Conflict, PartDamaged):
            for one in looks:
                with suppress(Conflict, PartDamaged):  # it is deleted meanwhile, or its note is damaged, which is mended
                    self._note([one])

    def _note(self, looks: Sequence[Look]) -> None:
        own = [document_of(one.stream.home_id, one.stream.module_id, one.stream.name) for one in looks]
        names = [f"{ACTIVITY}{one.stream.key}" for one in looks]
        looked, *found = self._state.get_many(SPACE, [_LOOKED, *names, *own])
        expect, puts = dict[str, int](), list[Put]()
        for look, name, noted, document, kept in zip(looks, names, found[: len(looks)], own, found[len(looks) :], strict=True):
            now = Sample(look.at, look.head.packets, look.head.bytes)
            before = _first(look.stream, now) if noted is None else _activity(noted.value)
            note = _next(before, look.head.last_us, now, _time_in(looked))
            if kept and is_of(kept, look.stream) and (noted is None or note != before):
                expect[document] = kept.version
                puts.append(Put(name, msgspec.json.encode(note)))
        if puts:
            with suppress(StoreFull):  # they are worth less than packets
                self._state.commit(SPACE, Change(expect=expect, puts=tuple(puts)))

    def menders(self) -> list[Mender]:
        """Have damaged notes removed: the next look makes them again."""
        return [Mender(SPACE, prefix, removing(self._state)) for prefix in (ACTIVITY, _LOOKED)]

    def end_look(self, began_at: float) -> None:
        """Note that all streams were looked at, from a time in seconds since 1970."""
        with suppress(StoreFull):
            self._state.put(SPACE, _LOOKED, repr(began_at).encode())

    def all(self) -> Activities:
        """Read all notes."""
        looked = _time_in(self._state.get(SPACE, _LOOKED))
        found = self._state.scan_all(SPACE, ACTIVITY)
        return Activities({name.removeprefix(ACTIVITY): _activity(document.value) for name, document in found}, looked)

    def of(self, *streams: Stream) -> Activities:
        """Read the notes of some streams."""
        looked, *found = self._state.get_many(SPACE, [_LOOKED, *(f"{ACTIVITY}{stream.key}" for stream in streams)])
        noted = {
            stream.key: _activity(document.value)
            for stream, document in zip(streams, found, strict=True)
            if document is not None
        }
        return Activities(noted, _time_in(looked))


def _time_in(looked: Document | None) -> float:
    return 0.0 if looked is None else float(looked.value)


def _first(stream: Stream, now: Sample) -> Activity:
    """The note before the first one. A stream that is new began with nothing; of one that is old, nothing is known."""
    made_at = stream.created_at.timestamp()
    older = Sample(made_at) if now.at - made_at < 2 * _SPAN_SECONDS else now
    return Activity(None, older, older)


def _next(before: Activity, last_us: int | None, now: Sample, looked_at: float) -> Activity:
    if before.older.is_like(before.newer):
        if before.newer.is_like(now):
            return msgspec.structs.replace(before, last_us=last_us)
        # It got nothing until the last look, if that was later.
        idle = msgspec.structs.replace(before.newer, at=max(before.newer.at, looked_at))
        return Activity(last_us, idle, now)
    if now.at - before.newer.at < _SPAN_SECONDS:
        return msgspec.structs.replace(before, last_us=last_us)
    return Activity(last_us, before.newer, now)
