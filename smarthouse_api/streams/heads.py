"""Heads: where each stream stands. A head tells the next index and the owner of the open session.

In the stream's space, `head` says where the stream stands. `lease` is the owner's sign of life; it expires by the store's own
clock, and tells people when it was renewed. Every commit expects the versions of both that its plan was made on. So of any
number of writers, in any number of processes, one goes first, whatever their clocks say.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import msgspec

from backends.ports import ABSENT, Change, Committed, Document, Put, StateStore
from smarthouse_api.access.keys import Owner
from smarthouse_api.arrow.times import microseconds, time_of
from smarthouse_api.coordination.retries import until_settled
from smarthouse_api.errors import InUse, NotFound
from smarthouse_api.streams.model import Session, Status, Stream

BORN: Final = "stream"
"""The document of a stream's own space that exists from its creation to its deletion, and never changes."""

HEAD: Final = "head"
"""The document that says where the stream stands."""

LEASE: Final = "lease"
"""The document that is the sign of life of the stream's owner, while there is one."""

Answer = TypeVar("Answer")


def space_of(stream_key: str) -> str:
    """Return the state space of one stream."""
    return f"stream-{stream_key}"


class OpenSession(msgspec.Struct, frozen=True):
    """Stores the open session of a stream, in the stream's head. start: the next index when the session was opened."""

    id: str
    start: int
    owner: Owner
    timeout_seconds: float


class Head(msgspec.Struct, frozen=True, array_like=True):
    """Stores where a stream stands: its next index, its totals and its open session.

    next: the index after the highest ever given. packets, bytes: ever appended. last_us: when the last packet came, in
    microseconds since 1970.
    """

    next: int = 0
    packets: int = 0
    bytes: int = 0
    last_us: int | None = None
    open: OpenSession | None = None


class KeptSession(msgspec.Struct, frozen=True):
    """Stores a closed session, as the document `session/<id>`."""

    start: int
    stop: int
    author: Owner

    def session(self, id_: str) -> Session:
        """Return the session with this id."""
        return Session(id_, self.start, self.stop, self.author)


kept_session, read_head = msgspec.json.Decoder(KeptSession).decode, msgspec.json.Decoder(Head).decode


@dataclass(frozen=True, slots=True)
class HeadSnapshot:
    """Holds a stream's head as it was read, with the versions that a commit expects.

    lease_version: `ABSENT` if there is no lease. renewed_us: when the owner gave the last sign of life, in microseconds since
    1970; None if it is not known.
    """

    head: Head
    head_version: int
    lease_version: int
    renewed_us: int | None = None

    @property
    def is_owned(self) -> bool:
        """Whether a session is open and its owner gave a sign of life in time."""
        return self.head.open is not None and self.lease_version != ABSENT

    @property
    def closes_at(self) -> datetime | None:
        """When the open session times out unless its owner writes, by the clock of who renewed it; None if it is not known."""
        if self.head.open is None or not self.is_owned or self.renewed_us is None:
            return None
        return time_of(self.renewed_us) + timedelta(seconds=self.head.open.timeout_seconds)

    def status(self) -> Status:
        """Return the stream's state as clients see it."""
        head = self.head
        time = None if head.last_us is None else time_of(head.last_us)
        if head.open is None or not self.is_owned:
            return Status(head.next - 1, time)
        return Status(head.next - 1, time, head.open.start, head.open.owner)

    def open_session(self) -> Session | None:
        """Return the session that is open, or timed out and not closed yet; None if it timed out without a packet."""
        session = self.head.open
        if session is None or not (self.is_owned or self.head.next > session.start):
            return None
        stop = self.head.next - 1 if self.head.next > session.start else None
        return Session(session.id, session.start, stop, session.owner, is_open=self.is_owned)


@dataclass
class Draft:
    """Plans one change to a stream: gathers the new head, and what is stored in the same commit.

    seen: the head that the plan is made on. expect: further conditions of the commit. appends: entries of the log. waiting: the
    packets in them, by index.
    """

    seen: HeadSnapshot
    head: Head = field(init=False)
    expect: dict[str, int] = field(default_factory=dict)
    puts: list[Put] = field(default_factory=list)
    appends: list[bytes] = field(default_factory=list)
    waiting: dict[int, bytes] = field(default_factory=dict)
    _renewed: bool = False
    _ended: bool = False

    def __post_init__(self) -> None:
        self.head = self.seen.head
        if self.head.open is not None and not self.seen.is_owned:
            self.end()

    def own(self, owner: Owner) -> None:
        """Check that `owner` may write. If it owns the stream, this is its sign of life. Raises `InUse`."""
        if self.head.open is None:
            return
        if self.head.open.owner.id != owner.id:
            raise InUse(
                "Another key owns the stream while its session is open; see streamOwner in the status",
                reason="STREAM_OWNED",
            )
        self._renewed = True

    def open(self, owner: Owner, timeout_seconds: float) -> Session:
        """Open a session at the next index, or renew the one that this owner has open. Raises `InUse`."""
        self.own(owner)
        if self.head.open is None:
            session = OpenSession(new_session_id(self.head.next), self.head.next, owner, timeout_seconds)
        else:
            session = msgspec.structs.replace(self.head.open, timeout_seconds=timeout_seconds)
        self.head = msgspec.structs.replace(self.head, open=session)
        self._renewed = True
        stop = self.head.next - 1 if self.head.next > session.start else None
        return Session(session.id, session.start, stop, owner, is_open=True)

    def append(self, packets: Sequence[tuple[int, bytes]], entries: Sequence[bytes], received_us: int) -> None:
        """Add packets above all others, as entries of the log."""
        head, size = self.head, sum(len(data) for _, data in packets)
        self.head = msgspec.structs.replace(
            head,
            next=packets[-1][0] + 1,
            packets=head.packets + len(packets),
            bytes=head.bytes + size,
            last_us=received_us,
        )
        self.appends += entries
        self.waiting.update(packets)

    def end(self) -> Session | None:
        """Close the open session; None if it never had a packet, and so leaves nothing."""
        session = self.head.open
        if session is None:
            return None
        self.head = msgspec.structs.replace(self.head, open=None)
        self._renewed, self._ended = False, True
        if self.head.next == session.start:
            return None
        kept = KeptSession(session.start, self.head.next - 1, session.owner)
        self.puts.append(Put(f"session/{session.id}", msgspec.json.encode(kept)))
        return kept.session(session.id)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to store."""
        return self.head == self.seen.head and not self.puts and not self._renewed

    def change(self) -> Change:
        """Return the commit that the draft amounts to."""
        expect = {HEAD: self.seen.head_version, **self.expect}
        puts = [Put(HEAD, msgspec.json.encode(self.head)), *self.puts]
        if self.seen.head.open is not None or self.head.open is not None:
            expect[LEASE] = self.seen.lease_version
        if self._renewed and self.head.open is not None:
            renewed_us = microseconds(datetime.now(UTC))
            puts.append(Put(LEASE, f"{self.head.open.id} {renewed_us}".encode(), self.head.open.timeout_seconds))
        deletes = (LEASE,) if self._ended and not self._renewed else ()
        return Change(expect, tuple(puts), deletes, tuple(("packets", value) for value in self.appends))

    def after(self, committed: Committed) -> HeadSnapshot:
        """Return the stream as it looks once the change was made."""
        lease = committed.version if self._renewed else ABSENT if self._ended else self.seen.lease_version
        return HeadSnapshot(self.head, committed.version, lease)


class Heads:
    """Reads and changes the heads of all streams, one writer at a time."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def look(self, stream: Stream) -> HeadSnapshot:
        """Return the stream as it is now. Raises `NotFound` when it was deleted."""
        space = space_of(stream.key)
        found = self._state.get(space, HEAD)
        is_open = found is not None and read_head(found.value).open is not None
        return snapshot_of(found, self._state.get(space, LEASE) if is_open else None)

    def commit(self, stream: Stream, draft: Draft) -> HeadSnapshot:
        """Make the change. Raises `Conflict` if the stream has changed since the look that the draft was made on."""
        return draft.after(self._state.commit(space_of(stream.key), draft.change()))

    def change(self, stream: Stream, plan: Callable[[Draft], Answer]) -> Answer:
        """Have `plan` change the stream, and repeat that whenever another process was first. Raises what `plan` raises."""

        def attempt() -> Answer:
            draft = Draft(self.look(stream))
            answer = plan(draft)
            if not draft.is_idle:
                self.commit(stream, draft)
            return answer

        return until_settled(attempt, "stream")


def snapshot_of(found: Document | None, lease: Document | None) -> HeadSnapshot:
    """Read a stream's head and its owner's sign of life. Raises `NotFound` if there is no head: the stream was deleted."""
    if found is None:
        raise NotFound("The stream was deleted", reason="STREAM_NOT_FOUND")
    head = read_head(found.value)
    if head.open is None or lease is None:
        return HeadSnapshot(head, found.version, ABSENT)
    renewed_us = lease.value.decode().partition(" ")[2]  # an earlier version wrote the session alone
    return HeadSnapshot(head, found.version, lease.version, int(renewed_us) if renewed_us else None)


def new_session_id(start: int) -> str:
    """Return a random id. Ids sort in the order of where their sessions start."""
    return f"{start:014x}{secrets.token_hex(9)}"
