"""What entry topics let go: entries that the lake holds, when they are too many or too old."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from smarthouse_api.collections.model import Collection, Entry
from smarthouse_api.collections.progress import Progress, Taken
from smarthouse_api.collections.rows import microseconds

_AT_ONCE = 1000
_EVERYTHING = -1
_entry = msgspec.json.Decoder(Entry).decode


@dataclass(frozen=True)
class Limits:
    """What a topic keeps at most. largest: bytes. since_us: microseconds since 1970; nothing that came before."""

    largest: int
    since_us: int

    def are_passed(self, taken: Taken) -> bool:
        """Whether something is to be dropped."""
        return taken.dropped < taken.sequence and (taken.kept_bytes > self.largest or taken.kept_us < self.since_us)


def limits(collection: Collection, *, now_us: int, default_bytes: int, default_seconds: float) -> Limits:
    """What the topic of a collection keeps; one without a topic nothing."""
    if collection.entry_topic is None:
        return Limits(_EVERYTHING, now_us)
    kept = collection.retention
    largest = default_bytes if kept.bytes is None else kept.bytes
    seconds = default_seconds if kept.seconds is None else kept.seconds
    return Limits(largest, now_us - round(seconds * 1e6))


def trim(progress: Progress, collection: Collection, keep: Limits, interrupted: Callable[[], bool]) -> None:
    """Drop what is over the limits, the oldest first, and nothing that the lake does not hold.

    interrupted: asked now and then; the rest is left for another time. Raises `Conflict` when another takes a turn meanwhile.
    """
    turn = progress.take_turn(collection)
    whole, size, drops = turn.taken, turn.taken.kept_bytes, list[int]()
    for entry in progress.entries(collection, whole.dropped, whole.sequence):
        at = _arrival(entry.value)
        is_kept = size <= keep.largest and at >= keep.since_us
        if is_kept or len(drops) == _AT_ONCE:
            now = Taken(whole.sequence, entry.sequence - 1, size, at)
            turn = progress.advance(collection, turn, now, drops)
            drops.clear()
        if is_kept or interrupted():
            return
        drops.append(entry.sequence)
        size = max(size - len(entry.value), 0)
    progress.advance(collection, turn, Taken(whole.sequence, whole.sequence), drops)


def _arrival(value: bytes) -> int:
    """When an entry came; before all times for what is none."""
    try:
        return microseconds(_entry(value).received_at)
    except (msgspec.DecodeError, TypeError):
        return 0
