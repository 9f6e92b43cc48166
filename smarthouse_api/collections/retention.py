"""Retention of entry topics: drops entries that the lake holds when they are too many or too old."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from backends.ports import Conflict, StateStore
from config.groups import CollectionSettings
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.collections.catalogue import CollectionCatalogue
from smarthouse_api.collections.model import Collection, read_entry
from smarthouse_api.collections.queue import TopicProgress, TopicQueue

_AT_ONCE = 1000
_BYTES_AT_ONCE = 16 << 20
_EVERYTHING = -1


@dataclass(frozen=True)
class RetentionLimits:
    """Limits what a topic keeps. largest: in bytes. since_us: older entries are dropped; in microseconds since 1970."""

    largest: int
    since_us: int

    def are_passed(self, taken: TopicProgress) -> bool:
        """Return whether the topic keeps entries that must be dropped."""
        return taken.dropped < taken.sequence and (taken.kept_bytes > self.largest or taken.kept_us < self.since_us)


class TopicRetention:
    """Keeps topics within their limits: remembers those that hold too much, and trims them."""

    def __init__(self, state: StateStore, catalogue: CollectionCatalogue, settings: CollectionSettings) -> None:
        self._state, self._catalogue, self._settings = state, catalogue, settings
        self._due = dict[str, str]()  # ids by keys

    def note(self, collection: Collection, taken: TopicProgress) -> None:
        """Remember to trim the topic of a collection if it keeps too much."""
        if self._limits(collection).are_passed(taken):
            self._due[collection.key] = collection.id

    def is_due(self) -> bool:
        """Return whether a topic is to be trimmed."""
        return bool(self._due)

    def trim(self, is_over: Callable[[], bool]) -> None:
        """Trim topics that are due until it `is_over`, with one commit at least. An unfinished topic comes last next time."""
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
    """Drop entries that are over the limits, the oldest first, if the lake holds them. Return whether that was all.

    interrupted: asked after each commit; if it says yes, the other entries are left for another time. Raises `Conflict` if
    another worker takes a turn.
    """
    turn = queue.take_turn()
    whole = queue.taken(turn)
    size, drops, gathered = whole.kept_bytes, list[int](), 0
    for entry in queue.entries(whole.dropped, whole.sequence):
        at = _arrival(entry.value)
        is_kept = size <= keep.largest and at >= keep.since_us
        if is_kept or len(drops) >= _AT_ONCE or gathered >= _BYTES_AT_ONCE:
            turn = queue.advance(turn, TopicProgress(whole.sequence, entry.sequence - 1, size, at), drops)
            drops.clear()
            gathered = 0
            if is_kept or interrupted():
                return is_kept
        drops.append(entry.sequence)
        gathered += len(entry.value)
        size = max(size - len(entry.value), 0)
    queue.advance(turn, TopicProgress(whole.sequence, whole.sequence), drops)
    return True


def _arrival(value: bytes) -> int:
    """When an entry came, in microseconds since 1970; 0 for a value that is no entry."""
    try:
        return microseconds(read_entry(value).received_at)
    except (msgspec.DecodeError, TypeError):
        return 0
