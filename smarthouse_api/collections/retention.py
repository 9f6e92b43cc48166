"""Retention of entry topics: entries that the lake holds are dropped when they are too many or too old."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from backends.ports import Conflict, StateStore
from config.groups import CollectionSettings
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.collections.catalogue import CollectionCatalogue
from smarthouse_api.collections.model import Collection, Entry
from smarthouse_api.collections.queue import Taken, TopicQueue

_AT_ONCE = 1000
_BYTES_AT_ONCE = 16 << 20
_EVERYTHING = -1
_entry = msgspec.json.Decoder(Entry).decode


@dataclass(frozen=True)
class RetentionLimits:
    """What a topic keeps at most. largest: bytes. since_us: microseconds since 1970; nothing that came before."""

    largest: int
    since_us: int

    def are_passed(self, taken: Taken) -> bool:
        """Whether something is to be dropped."""
        return taken.dropped < taken.sequence and (taken.kept_bytes > self.largest or taken.kept_us < self.since_us)


class TopicRetention:
    """Remembers the topics that keep too much, and trims them."""

    def __init__(self, state: StateStore, catalogue: CollectionCatalogue, settings: CollectionSettings) -> None:
        self._state, self._catalogue, self._settings = state, catalogue, settings
        self._due = dict[str, str]()  # ids by keys

    def note(self, collection: Collection, taken: Taken) -> None:
        """Remember to trim the topic of a collection if that has become necessary."""
        if self._limits(collection).are_passed(taken):
            self._due[collection.key] = collection.id

    def is_due(self) -> bool:
        return bool(self._due)

    def trim(self, is_over: Callable[[], bool]) -> None:
        """Trim what is due; what is left when it `is_over` comes after all others. At least one commit is made."""
        for _ in range(len(self._due)):
            key = next(iter(self._due))
            id_ = self._due.pop(key)
            if not self._is_done(id_, key, is_over):
                self._due[key] = id_
            if is_over():
                return

    def _is_done(self, id_: str, key: str, is_over: Callable[[], bool]) -> bool:
        one = self._catalogue.get(id_)  # what it keeps may have changed
        if one is None or one.key != key:
            return True
        keep, queue = self._limits(one), TopicQueue(self._state, one)
        if not keep.are_passed(queue.taken()):
            return True
        try:
            return trim(queue, keep, is_over)
        except Conflict:
            return True  # another is at it, or it is gone

    def _limits(self, collection: Collection) -> RetentionLimits:
        """What the topic of a collection keeps; one without a topic nothing."""
        now_us = time.time_ns() // 1000
        if collection.entry_topic is None:
            return RetentionLimits(_EVERYTHING, now_us)
        kept = collection.retention
        largest = self._settings.topic_bytes if kept.bytes is None else kept.bytes
        seconds = self._settings.topic_seconds if kept.seconds is None else kept.seconds
        return RetentionLimits(largest, now_us - round(seconds * 1e6))


def trim(queue: TopicQueue, keep: RetentionLimits, interrupted: Callable[[], bool]) -> bool:
    """Drop what is over the limits, the oldest first, and nothing that the lake does not hold; whether that was all.

    interrupted: asked after each commit; the rest is left for another time. Raises `Conflict` when another takes a turn
    meanwhile.
    """
    turn = queue.take_turn()
    whole = queue.taken(turn)
    size, drops, gathered = whole.kept_bytes, list[int](), 0
    for entry in queue.entries(whole.dropped, whole.sequence):
        at = _arrival(entry.value)
        is_kept = size <= keep.largest and at >= keep.since_us
        if is_kept or len(drops) >= _AT_ONCE or gathered >= _BYTES_AT_ONCE:
            turn = queue.advance(turn, Taken(whole.sequence, entry.sequence - 1, size, at), drops)
            drops.clear()
            gathered = 0
            if is_kept or interrupted():
                return is_kept
        drops.append(entry.sequence)
        gathered += len(entry.value)
        size = max(size - len(entry.value), 0)
    queue.advance(turn, Taken(whole.sequence, whole.sequence), drops)
    return True


def _arrival(value: bytes) -> int:
    """When an entry came; before all times for what is none."""
    try:
        return microseconds(_entry(value).received_at)
    except (msgspec.DecodeError, TypeError):
        return 0
