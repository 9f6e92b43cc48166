"""Parts of topics on their way into the lake: entries read, and their records made rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import pyarrow as pa

from backends.ports import Entry, StoreError
from smarthouse_api.collections.fields import Fields
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.progress import Progress, Turn
from smarthouse_api.collections.rows import Logged, read_entry, to_rows

_MOST_ENTRIES = 10_000

log = logging.getLogger(__name__)


@dataclass
class Work:
    """What a curator is at. read: the sequence up to which it has read the topic. fields: as the state store has them, once
    they were looked up in this turn. is_lost: the turn is over.
    """

    collection: Collection
    turn: Turn
    read: int
    fields: Fields | None = None
    is_lost: bool = False


@dataclass
class Part:
    """Entries of one topic. last: the sequence up to which these are all. sequences: theirs. size: of their values, in bytes.
    first_us: when the first of them came. unreadable: values of which no row can be made, by sequence. tables: their rows.
    """

    work: Work
    last: int
    sequences: list[int] = field(default_factory=list)
    size: int = 0
    first_us: int = 0
    unreadable: dict[int, bytes] = field(default_factory=dict)
    fields: Fields = field(default_factory=Fields)
    tables: list[pa.Table] = field(default_factory=list)

    def read(self, entry: Entry) -> Logged | None:
        """Count an entry in; None for one that is to give no row."""
        self.sequences.append(entry.sequence)
        self.size += len(entry.value)
        if not entry.value:
            return None  # it only stood for a sequence that was passed over
        try:
            logged = read_entry(entry.sequence, entry.value)
            self.first_us = self.first_us or logged.received_us
        except (msgspec.DecodeError, TypeError):
            self.unreadable[entry.sequence] = entry.value
            return None
        return logged


def read_parts(progress: Progress, works: Sequence[Work], batch_bytes: int) -> list[Part]:
    """The next entries of topics, as many as one commit takes in: about so many bytes."""
    parts, size, count = list[Part](), 0, 0
    for work in works:
        if work.is_lost or work.read >= work.turn.last:
            continue
        parts.append(part := _read_part(progress, work, batch_bytes - size, _MOST_ENTRIES - count))
        size, count = size + part.size, count + len(part.sequences)
        if size >= batch_bytes or count >= _MOST_ENTRIES:
            break
    return parts


def _read_part(progress: Progress, work: Work, room: int, most: int) -> Part:
    part, found = Part(work, work.turn.last), list[tuple[Logged, bytes]]()
    for entry in progress.entries(work.collection, work.read, work.turn.last):
        if (logged := part.read(entry)) is not None:
            found.append((logged, entry.value))
        if part.size >= room or len(part.sequences) >= most:
            part.last = entry.sequence
            break
    work.read = part.last
    part.tables.extend(_tables(part, found))
    return part


def _tables(part: Part, found: Sequence[tuple[Logged, bytes]]) -> Iterator[pa.Table]:
    """Rows of all entries together; or, when one of them proves impossible, of each apart and without that one."""
    collection = part.work.collection
    try:
        whole = to_rows(collection, [logged for logged, _ in found], fields := Fields())
        part.fields = fields
        yield whole
    except (StoreError, MemoryError):
        raise
    except Exception as fault:  # whatever it is, one entry must not keep the others from the lake
        log.error("entries cannot be read together (%s); trying them one by one", type(fault).__name__)
        for logged, value in found:
            try:
                rows = to_rows(collection, [logged], fields := Fields())
                part.fields = part.fields.merged(fields)
                yield rows
            except Exception:  # as above
                part.unreadable[logged.sequence] = value
