"""Sessions: ranges of a stream's packets that a client marked, or is writing now.

In the stream's space:

    session/<id>                a closed session; an open one is in the stream's head
    hold/<id>/<key's id>        a key asked to keep the session
    holds                       written again at each such request
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

import msgspec

from backends.ports import ABSENT, Change, Document, Put, StateStore
from config.groups import StreamSettings
from smarthouse_api.access.keys import Owner, is_id
from smarthouse_api.coordination.idempotency import Replies, RequestKey, pair_of
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.retries import until_settled
from smarthouse_api.errors import InUse, Invalid, InvalidData, NotFound
from smarthouse_api.streams.heads import BORN, HEAD, Draft, Heads, KeptSession, kept_session, new_session_id, space_of
from smarthouse_api.streams.latest import newest_documents
from smarthouse_api.streams.model import LARGEST_INDEX, Session, Stream

HOLDS: Final = "holds"
_LONGEST_TIMEOUT_SECONDS: Final = 86400.0
_HEXADECIMAL: Final = re.compile("[0-9a-f]{32}", re.ASCII)


class Hold(NamedTuple):
    """Says that a key holds a session."""

    session_id: str
    key_id: str


class _Added(msgspec.Struct, frozen=True, omit_defaults=True):
    """Keeps the answer to a request under its `Idempotency-Key`."""

    id: str
    session: KeptSession
    replayed: bool = False


_REPLY: Final = pair_of(_Added)


class Sessions:
    """Keeps the sessions of all streams: marks, opens, closes, holds, finds and deletes them."""

    def __init__(self, state: StateStore, heads: Heads, leases: Leases, replies: Replies, settings: StreamSettings) -> None:
        self._state, self._heads, self._leases = state, heads, leases
        self._replies, self._settings = replies, settings

    def within(self, stream: Stream, start: int, stop: int) -> list[Session]:
        """Return the sessions that have a packet from `start` to `stop`, by where they start."""
        last = self._heads.look(stream).open_session()  # first: if it is closed meanwhile, it is among the others
        found = {session.id: session for session in self._closed(stream, stop) if (session.stop or 0) >= start}
        if last is not None and last.stop is not None and last.start <= stop and last.stop >= start:
            found[last.id] = last
        return sorted(found.values(), key=lambda session: session.id)

    def newest(self, stream: Stream, limit: int, before: str = "") -> list[Session]:
        """Return the closed sessions by where they start, at most `limit`, the last first.

        before: the id of a session; only those that come after it, in this order. Raises `NotFound` for what cannot be an id.
        """
        if before and not _HEXADECIMAL.fullmatch(before):
            raise NotFound("There is no such session in this stream", reason="SESSION_NOT_FOUND")
        if before:
            following, end = int(before[:14], 16) + 1, f"session/{before}"
        else:
            following, end = self._heads.look(stream).head.next, ""
        found = newest_documents(self._state, space_of(stream.key), _begin_of, following, limit, end)
        return [_decoded(name, document.value) for name, document in found]

    def find(self, stream: Stream, session_id: str) -> Session:
        """Return the session with this id, open or closed. Raises `NotFound`."""
        last = self._heads.look(stream).open_session()
        if last is not None and last.id == session_id:
            return last
        return self._kept(stream, session_id)[0]

    def add(
        self, stream: Stream, start: int, stop: int, author: Owner, request_key: RequestKey | None = None
    ) -> tuple[Session, bool]:
        """Mark a range. Return the session, and whether an earlier request under the same `Idempotency-Key` made it.

        Raises `InvalidData` unless 0 <= start <= stop <= the stream's highest index; `KeyReused`.
        """

        def attempt() -> tuple[Session, bool]:
            if (earlier := self._replies.earlier(space_of(stream.key), request_key, _REPLY)) is not None:
                return earlier.session.session(earlier.id), True
            seen = self._heads.look(stream)
            if not 0 <= start <= stop < seen.head.next:
                raise InvalidData(
                    f"start and stop must be 0 <= start <= stop <= packetIndex, which is {seen.head.next - 1}",
                    reason="INVALID_DATA",
                )
            id_, kept = new_session_id(start), KeptSession(start, stop, author)
            told = self._replies.puts(request_key, _Added(id_, kept), _REPLY)
            puts = (Put(f"session/{id_}", msgspec.json.encode(kept)), *told)
            expect = {BORN: stream.born, **{put.key: ABSENT for put in puts}}
            self._state.commit(space_of(stream.key), Change(expect=expect, puts=puts))
            return kept.session(id_), False

        return until_settled(attempt, "stream")

    def delete(self, stream: Stream, session_id: str) -> None:
        """Delete a session; its packets stay. Raises `NotFound`, or `InUse` while it is open, held, or being downloaded."""
        until_settled(lambda: self._delete(stream, session_id), "session")

    def open(self, stream: Stream, owner: Owner, timeout_seconds: float | None = None) -> tuple[Session, bool]:
        """Open a session: only this key may append, until it closes the session or gives no sign of life for the timeout.

        Returns the session, which begins at the next index, and whether it is new. If this key has an open session, it is
        renewed. Raises `InUse` while another key owns the stream; `Invalid`.
        """
        seconds = self._settings.session_seconds if timeout_seconds is None else timeout_seconds
        if not 0 < seconds <= _LONGEST_TIMEOUT_SECONDS:
            raise Invalid(f"timeoutSeconds: must be a number above 0, and at most {_LONGEST_TIMEOUT_SECONDS:g}")

        def plan(draft: Draft) -> tuple[Session, bool]:
            was_open = draft.head.open is not None
            return draft.open(owner, seconds), not was_open

        return self._heads.change(stream, plan)

    def close(self, stream: Stream, session_id: str, owner: Owner) -> Session | None:
        """Close an open session at its last packet. Return the session, or None if it never had a packet.

        Other keys may append afterwards. The call can be repeated unless it returned None. An administrator may close every
        session. Raises `NotFound`, and `InUse` for a session of another key.
        """

        def plan(draft: Draft) -> tuple[bool, Session | None]:
            session = draft.seen.head.open
            if session is None or session.id != session_id:
                return False, None
            _check_owner(session.owner, owner)
            # One that had timed out is closed by the draft itself.
            return True, draft.end() if draft.head.open is not None else draft.seen.open_session()

        was_last, closed = self._heads.change(stream, plan)
        if was_last and closed is None:
            self._forget_holds(stream, session_id)
        if was_last:
            return closed and replace(closed, is_open=False)
        session, _ = self._kept(stream, session_id)
        _check_owner(session.author, owner)
        return session

    def hold(self, stream: Stream, session_id: str, owner: Owner) -> None:
        """Keep the session and its packets until the same key releases them. Raises `NotFound`."""
        until_settled(lambda: self._hold(stream, session_id, owner), "session")

    def release(self, stream: Stream, session_id: str, owner: Owner) -> None:
        """Take back the hold of this key, or all holds if an administrator asks. Repeatable. Raises `NotFound`."""
        self.find(stream, session_id)
        self._forget_holds(stream, session_id, "" if owner.type == "admin" else owner.id)

    def take_away(self, stream: Stream, hold: Hold) -> None:
        """Take away the hold of a key, for an operator. Raises `NotFound`."""
        name = f"hold/{hold.session_id}/{hold.key_id}"
        if not (_is_id(hold.session_id) and is_id(hold.key_id)) or self._state.get(space_of(stream.key), name) is None:
            raise NotFound("This key does not hold this session", reason="SESSION_NOT_FOUND")
        self._state.commit(space_of(stream.key), Change(deletes=(name,)))

    def held(self, stream: Stream) -> list[Session]:
        """Return the sessions that a key holds."""
        ids = {name.split("/")[1] for name, _ in self._state.scan_all(space_of(stream.key), "hold/")}
        found = []
        for session_id in ids:
            with suppress(NotFound):
                found.append(self.find(stream, session_id))
        return found

    def holds(self, stream: Stream, limit: int) -> list[Hold]:
        """Return which key holds which session, by session, at most `limit`."""
        return [Hold(*name.split("/")[1:]) for name, _ in self._state.scan(space_of(stream.key), "hold/", limit=limit)]

    def holds_version(self, stream: Stream) -> int:
        """Return the version of `HOLDS`. A commit that expects it fails if a session was held since."""
        found = self._state.get(space_of(stream.key), HOLDS)
        return ABSENT if found is None else found.version

    def downloads(self, stream: Stream) -> list[tuple[int, int]]:
        """Return the ranges of indexes that are being downloaded now."""
        names = [name.split("/")[-2] for name in self._leases.shared(downloads_of(stream.key))]
        return [(int(start), int(stop)) for start, _, stop in (name.partition("-") for name in names)]

    def _delete(self, stream: Stream, session_id: str) -> None:
        self._settle(stream)
        if self.find(stream, session_id).is_open:
            raise InUse("The session is open; close it first", reason="SESSION_OPEN")
        space, (session, found) = space_of(stream.key), self._kept(stream, session_id)
        if self._state.scan(space, f"hold/{session_id}/", limit=1):
            raise InUse("The session is held; each key that holds it must release it first", reason="SESSION_HELD")
        if any(start <= (session.stop or 0) and session.start <= stop for start, stop in self.downloads(stream)):
            raise InUse("Packets of the session are being downloaded; repeat the request later", reason="SESSION_DOWNLOADED")
        name = f"session/{session_id}"
        self._state.commit(space, Change(expect={name: found.version}, deletes=(name,)))

    def _hold(self, stream: Stream, session_id: str, owner: Owner) -> None:
        self._settle(stream)
        space, holds = space_of(stream.key), (Put(f"hold/{session_id}/{owner.id}", b""), Put(HOLDS, b""))
        seen = self._heads.look(stream)
        if seen.head.open is not None and seen.head.open.id == session_id:
            self._state.commit(space, Change(expect={HEAD: seen.head_version}, puts=holds))
            return
        # Its document is written again, so that of a hold and a deletion one fails.
        _, found = self._kept(stream, session_id)
        put = Put(f"session/{session_id}", found.value)
        self._state.commit(space, Change(expect={put.key: found.version}, puts=(put, *holds)))

    def _forget_holds(self, stream: Stream, session_id: str, whose: str = "") -> None:
        space = space_of(stream.key)
        holds = [name for name, _ in self._state.scan_all(space, f"hold/{session_id}/{whose}")]
        self._state.commit(space, Change(deletes=tuple(holds)))

    def forget_below(self, stream: Stream, index: int) -> None:
        """Remove the sessions whose packets are all below an index, and so not kept any more."""
        for session in [session for session in self._closed(stream, index) if (session.stop or 0) < index]:
            with suppress(InUse, NotFound):
                self.delete(stream, session.id)

    def _settle(self, stream: Stream) -> None:
        """Close the open session if it timed out."""
        self._heads.change(stream, lambda draft: None)

    def _closed(self, stream: Stream, stop: int) -> Iterator[Session]:
        """The closed sessions that start at `stop` or before."""
        beyond = _begin_of(min(stop, LARGEST_INDEX) + 1)
        for name, document in self._state.scan_all(space_of(stream.key), "session/"):
            if name >= beyond:
                return
            yield _decoded(name, document.value)

    def _kept(self, stream: Stream, session_id: str) -> tuple[Session, Document]:
        """A closed session, and its document. Raises `NotFound`."""
        name = f"session/{session_id}"
        found = self._state.get(space_of(stream.key), name) if _is_id(session_id) else None
        if found is None:
            raise NotFound("There is no such session in this stream", reason="SESSION_NOT_FOUND")
        return _decoded(name, found.value), found


def downloads_of(stream_key: str) -> str:
    """Return the name under which downloads of a stream hold leases. Each adds its range."""
    return f"packets/{stream_key}"


def _begin_of(index: int) -> str:
    """Where the documents of sessions that start at an index begin."""
    return f"session/{index:014x}"


def _check_owner(owner: Owner, caller: Owner) -> None:
    if owner.id != caller.id and caller.type != "admin":
        raise InUse("The session belongs to another key", reason="STREAM_OWNED")


def _is_id(text: str) -> bool:
    return len(text) == 32 and text.isascii() and text.isalnum()


def _decoded(name: str, value: bytes) -> Session:
    return kept_session(value).session(name.partition("/")[2])
