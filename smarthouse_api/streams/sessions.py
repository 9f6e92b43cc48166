"""Sessions: ranges of a stream's packets that somebody marked, or is writing now.

In the stream's space:

    session/<id>                a closed session; an open one is in the stream's head
    hold/<id>/<key's id>        somebody asked that it be kept
    holds                       written anew by each who asks that
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec

from backends.ports import ABSENT, Change, Put, StateStore
from config.groups import StreamSettings
from smarthouse_api.access.keys import Owner
from smarthouse_api.coordination.idempotency import Replies, RequestKey, pair_of
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.retries import until_settled
from smarthouse_api.errors import InUse, Invalid, InvalidData, NotFound
from smarthouse_api.streams.heads import BORN, HEAD, Draft, Heads, KeptSession, kept_session, new_session_id, space_of
from smarthouse_api.streams.model import LARGEST_INDEX, Session, Stream

HOLDS: Final = "holds"
_LONGEST_TIMEOUT_SECONDS: Final = 86400.0


class _Added(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer that an `Idempotency-Key` remembers."""

    id: str
    session: KeptSession
    replayed: bool = False


_REPLY: Final = pair_of(_Added)


class Sessions:
    """Marks, opens, closes, holds and deletes sessions."""

    def __init__(self, state: StateStore, heads: Heads, leases: Leases, replies: Replies, settings: StreamSettings) -> None:
        self._state, self._heads, self._leases = state, heads, leases
        self._replies, self._settings = replies, settings

    def within(self, stream: Stream, start: int, stop: int) -> list[Session]:
        """The sessions that have a packet from `start` to `stop`, by where they start."""
        last = self._heads.look(stream).open_session()  # before it may be closed, and is among the others
        found = [session for session in self._closed(stream, stop) if (session.stop or 0) >= start]
        if last is not None and last.stop is not None and last.start <= stop and last.stop >= start:
            found = [session for session in found if session.id != last.id]
            found.append(last)
        return sorted(found, key=lambda session: session.id)

    def find(self, stream: Stream, session_id: str) -> Session:
        """The session with this id, open or closed. Raises `NotFound`."""
        last = self._heads.look(stream).open_session()
        if last is not None and last.id == session_id:
            return last
        return self._kept(stream, session_id)[0]

    def add(
        self, stream: Stream, start: int, stop: int, author: Owner, request_key: RequestKey | None = None
    ) -> tuple[Session, bool]:
        """Mark a range; the session, and whether it is what the same `Idempotency-Key` was told before.

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
        """Remove the mark; the packets stay. Raises `NotFound`, or `InUse` while it is open, held, or being downloaded."""
        until_settled(lambda: self._delete(stream, session_id), "session")

    def open(self, stream: Stream, owner: Owner, timeout_seconds: float | None = None) -> tuple[Session, bool]:
        """Own the stream: from here on only this key may append, until it closes the session or gives no sign for so long.

        The session, which begins at the next index, and whether it is new: an owner who asks again has its own renewed.
        Raises `InUse` while another owns the stream; `Invalid`.
        """
        seconds = self._settings.session_seconds if timeout_seconds is None else timeout_seconds
        if not 0 < seconds <= _LONGEST_TIMEOUT_SECONDS:
            raise Invalid(f"timeoutSeconds: a number above 0, and at most {_LONGEST_TIMEOUT_SECONDS:g}")

        def plan(draft: Draft) -> tuple[Session, bool]:
            was_open = draft.head.open is not None
            return draft.open(owner, seconds), not was_open

        return self._heads.change(stream, plan)

    def close(self, stream: Stream, session_id: str, owner: Owner) -> Session | None:
        """Close an open session at its last packet, and give the stream free; the session, or None if it never had a packet.

        It can be repeated, if there is a session. An administrator may close anybody's. Raises `NotFound`, and `InUse` for
        another's session.
        """

        def plan(draft: Draft) -> tuple[bool, Session | None]:
            session = draft.seen.head.open
            if session is None or session.id != session_id:
                return False, None
            _check_owner(session.owner, owner)
            # One that had timed out is closed by the draft itself.
            closed = draft.end() if draft.head.open is not None else draft.seen.open_session()
            return True, closed

        was_last, closed = self._heads.change(stream, plan)
        if was_last and closed is None:
            self._forget_holds(stream, session_id)
        if was_last:
            return None if closed is None else Session(closed.id, closed.start, closed.stop, closed.author)
        session, _ = self._kept(stream, session_id)
        _check_owner(session.author, owner)
        return session

    def hold(self, stream: Stream, session_id: str, owner: Owner) -> None:
        """Keep the session, and its packets, from being removed until the same key releases it. Raises `NotFound`."""
        until_settled(lambda: self._hold(stream, session_id, owner), "session")

    def release(self, stream: Stream, session_id: str, owner: Owner) -> None:
        """Take back the hold of this key; an administrator takes back all. Repeatable. Raises `NotFound`."""
        self.find(stream, session_id)
        self._forget_holds(stream, session_id, "" if owner.type == "admin" else owner.id)

    def held(self, stream: Stream) -> list[Session]:
        """The sessions that somebody holds."""
        ids = {name.split("/")[1] for name, _ in self._state.scan_all(space_of(stream.key), "hold/")}
        found = []
        for session_id in ids:
            with suppress(NotFound):
                found.append(self.find(stream, session_id))
        return found

    def holds_version(self, stream: Stream) -> int:
        """What a commit must expect of `HOLDS` that is to pass only if nobody else is held by then than `held` tells now."""
        found = self._state.get(space_of(stream.key), HOLDS)
        return ABSENT if found is None else found.version

    def downloads(self, stream: Stream) -> list[tuple[int, int]]:
        """The ranges that are being downloaded now."""
        names = [name.split("/")[-2] for name in self._leases.shared(downloads_of(stream.key))]
        return [(int(start), int(stop)) for start, _, stop in (name.partition("-") for name in names)]

    def _delete(self, stream: Stream, session_id: str) -> None:
        self._settle(stream)
        if self.find(stream, session_id).is_open:
            raise InUse("The session is open; close it before", reason="SESSION_OPEN")
        space, (session, version) = space_of(stream.key), self._kept(stream, session_id)
        if self._state.scan(space, f"hold/{session_id}/", limit=1):
            raise InUse("The session is held; whoever holds it has to release it before", reason="SESSION_HELD")
        if any(start <= (session.stop or 0) and session.start <= stop for start, stop in self.downloads(stream)):
            raise InUse("Packets of the session are being downloaded; repeat it later", reason="SESSION_DOWNLOADED")
        name = f"session/{session_id}"
        self._state.commit(space, Change(expect={name: version}, deletes=(name,)))

    def _hold(self, stream: Stream, session_id: str, owner: Owner) -> None:
        self._settle(stream)
        space, holds = space_of(stream.key), (Put(f"hold/{session_id}/{owner.id}", b""), Put(HOLDS, b""))
        seen = self._heads.look(stream)
        if seen.head.open is not None and seen.head.open.id == session_id:
            self._state.commit(space, Change(expect={HEAD: seen.head_version}, puts=holds))
            return
        # Written anew, so that of a hold and a deletion one fails.
        session, version = self._kept(stream, session_id)
        put = Put(f"session/{session_id}", _encoded(session))
        self._state.commit(space, Change(expect={put.key: version}, puts=(put, *holds)))

    def _forget_holds(self, stream: Stream, session_id: str, whose: str = "") -> None:
        space = space_of(stream.key)
        holds = [name for name, _ in self._state.scan_all(space, f"hold/{session_id}/{whose}")]
        self._state.commit(space, Change(deletes=tuple(holds)))

    def forget_below(self, stream: Stream, index: int) -> None:
        """Remove sessions all of whose packets are below, and are kept no more."""
        ended = [session for session in self._closed(stream, index) if (session.stop or 0) < index]
        for session in ended:
            with suppress(InUse, NotFound):
                self.delete(stream, session.id)

    def _settle(self, stream: Stream) -> None:
        """Write down a session that timed out."""
        self._heads.change(stream, lambda draft: None)

    def _closed(self, stream: Stream, stop: int) -> Iterator[Session]:
        """Those that start at `stop` or before."""
        beyond = f"session/{min(stop, LARGEST_INDEX) + 1:014x}"
        for name, document in self._state.scan_all(space_of(stream.key), "session/"):
            if name >= beyond:
                return
            yield _decoded(name, document.value)

    def _kept(self, stream: Stream, session_id: str) -> tuple[Session, int]:
        """A closed session, and its document's version. Raises `NotFound`."""
        name = f"session/{session_id}"
        found = self._state.get(space_of(stream.key), name) if _is_id(session_id) else None
        if found is None:
            raise NotFound("There is no such session in this stream", reason="SESSION_NOT_FOUND")
        return _decoded(name, found.value), found.version


def downloads_of(stream_key: str) -> str:
    """What downloads of a stream hold leases of, with their range."""
    return f"packets/{stream_key}"


def _check_owner(owner: Owner, caller: Owner) -> None:
    if owner.id != caller.id and caller.type != "admin":
        raise InUse("The session belongs to another key", reason="STREAM_OWNED")


def _is_id(text: str) -> bool:
    return len(text) == 32 and text.isascii() and text.isalnum()


def _encoded(session: Session) -> bytes:
    return msgspec.json.encode(KeptSession(session.start, session.stop or 0, session.author))


def _decoded(name: str, value: bytes) -> Session:
    return kept_session(value).session(name.partition("/")[2])
