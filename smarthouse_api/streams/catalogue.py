"""Which streams exist, and whose they are.

In the state store, space `streams`:

    home/<home id>                              the home's internal key, under which its packets are kept
    stream/<home id>/<module>/<name>            a stream; both names as digests, because they may be of any length
    gone/<stream key>                           a deleted stream, whose bytes are still to be removed
    full/<stream key>                           a stream whose newest packets are worth a segment

Each stream has a space of its own besides, `stream-<key>`, so that a store that shards keeps all of it together.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import msgspec

from backends.ports import ABSENT, Change, Conflict, Put, StateStore
from smarthouse_api.errors import Invalid, NotFound, Unavailable
from smarthouse_api.streams.model import Retention, Stream

SPACE: Final = "streams"
BORN: Final = "stream"
"""The document of a stream's own space that is there from its creation to its deletion, and never changes."""

_LONGEST_NAME: Final = 512
_ATTEMPTS: Final = 16
_MOST_SEEN: Final = 10_000
_PAGE: Final = 500


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stream's document."""

    module: str
    name: str
    key: str
    home_key: str
    created_at: datetime
    retention: Retention = Retention()

    def stream(self, home_id: int) -> Stream:
        return Stream(home_id, self.module, self.name, self.key, self.home_key, self.created_at, self.retention)


class Gone(msgspec.Struct, frozen=True):
    """A deleted stream."""

    home_key: str
    key: str


def space_of(stream_key: str) -> str:
    """The state space of one stream."""
    return f"stream-{stream_key}"


class Catalogue:
    """The streams of one installation."""

    def __init__(self, state: StateStore) -> None:
        self._state = state
        self._seen: dict[tuple[int, str, str], Stream] = {}

    def list(self, home_id: int, module_id: str) -> list[Stream]:
        """The streams of a home's module, by name; none of a home or module that nobody knows."""
        found = self._state.scan_all(SPACE, f"stream/{home_id}/{_digest(module_id)}/")
        return sorted((_decoded(document.value).stream(home_id) for _, document in found), key=lambda stream: stream.name)

    def get(self, home_id: int, module_id: str, name: str) -> Stream | None:
        found = self._state.get(SPACE, _document_of(home_id, module_id, name))
        if found is None:
            self._seen.pop((home_id, module_id, name), None)
            return None
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        stream = self._seen[home_id, module_id, name] = _decoded(found.value).stream(home_id)
        return stream

    def find(self, home_id: int, module_id: str, name: str) -> Stream:
        """Raises `NotFound`."""
        stream = self.get(home_id, module_id, name)
        if stream is None:
            raise NotFound("There is no such stream in this home and module; make it with PUT", reason="STREAM_NOT_FOUND")
        return stream

    def recall(self, home_id: int, module_id: str, name: str) -> Stream:
        """The stream as this process saw it last, which is for those whose commit tells that it is gone; else as `find`."""
        return self._seen.get((home_id, module_id, name)) or self.find(home_id, module_id, name)

    def create(self, home_id: int, module_id: str, name: str, retention: Retention | None = None) -> tuple[Stream, bool]:
        """The stream, and whether it is new. retention: what it keeps from now on; None leaves that as it is.

        Raises `Invalid` for a name that no stream can have.
        """
        _check_name("moduleId", module_id)
        _check_name("streamName", name)
        for _ in range(_ATTEMPTS):
            with suppress(Conflict):
                if (stream := self.get(home_id, module_id, name)) is None:
                    return self._add(home_id, module_id, name, retention or Retention()), True
                if retention is None or retention == stream.retention:
                    return stream, False
                return self._change(stream, retention), False
        raise Unavailable("This stream is being changed from too many sides; repeat the request")

    def delete(self, stream: Stream) -> None:
        """From here on nobody finds the stream and nobody appends to it; its bytes are removed later, by whoever keeps house.

        Raises `NotFound` when another stream bears the name by now, or none.
        """
        name = _document_of(stream.home_id, stream.module_id, stream.name)
        for _ in range(_ATTEMPTS):
            found = self._state.get(SPACE, name)
            if found is None or _decoded(found.value).key != stream.key:
                raise NotFound("The stream is deleted already", reason="STREAM_NOT_FOUND")
            with suppress(Conflict):
                put = Put(f"gone/{stream.key}", msgspec.json.encode(Gone(stream.home_key, stream.key)))
                self._state.commit(SPACE, Change(expect={name: found.version}, puts=(put,), deletes=(name,)))
                self.close_to_writers(stream.key)
                return
        raise Unavailable("This stream is being changed from too many sides; repeat the request")

    def close_to_writers(self, stream_key: str) -> None:
        """Let no commit to the stream pass any more."""
        self._state.commit(space_of(stream_key), Change(deletes=(BORN, "head", "lease")))

    def everything(self) -> Iterator[Stream]:
        """All streams of all homes."""
        for name, document in self._state.scan_all(SPACE, "stream/"):
            yield _decoded(document.value).stream(int(name.split("/")[1]))

    def gone(self) -> Sequence[Gone]:
        """Deleted streams that still have bytes."""
        return [msgspec.json.decode(document.value, type=Gone) for _, document in self._state.scan_all(SPACE, "gone/")]

    def purged(self, stream_key: str) -> None:
        """The deleted stream has no bytes any more."""
        self._state.commit(SPACE, Change(deletes=(f"gone/{stream_key}", f"full/{stream_key}")))

    def mark_full(self, stream: Stream) -> None:
        """Have a segment made of the stream's newest packets soon. Without a lifetime it would need room that is not there."""
        value = msgspec.json.encode([stream.home_id, stream.module_id, stream.name])
        self._state.put(SPACE, f"full/{stream.key}", value, ttl_seconds=86400)

    def full(self) -> Sequence[tuple[str, Stream | None]]:
        """The keys of the marked streams, and the streams that are still there."""
        marked = [(key, document.value) for key, document in self._state.scan(SPACE, "full/")]
        return [(key.partition("/")[2], self.get(*msgspec.json.decode(value))) for key, value in marked]

    def unmark(self, stream_key: str) -> None:
        self._state.commit(SPACE, Change(deletes=(f"full/{stream_key}",)))

    def home_keys(self) -> dict[int, str]:
        """The internal keys of all homes that ever had a stream and were not forgotten."""
        found = self._state.scan_all(SPACE, "home/")
        return {int(name.partition("/")[2]): document.value.decode() for name, document in found}

    def home_keys_of(self, home_id: int) -> set[str]:
        """The internal keys under which a home's packets are kept."""
        found = self._state.get(SPACE, f"home/{home_id}")
        kept = {_decoded(document.value).home_key for _, document in self._state.scan_all(SPACE, f"stream/{home_id}/")}
        return kept if found is None else kept | {found.value.decode()}

    def hide_home(self, home_id: int) -> None:
        """Hide a home's streams from everybody; a stream made afterwards is a new home's. Repeatable."""
        self._state.commit(SPACE, Change(deletes=(f"home/{home_id}",)))
        # The home's document is gone first, so that every stream that was still added to it is found here.
        while page := self._state.scan(SPACE, f"stream/{home_id}/", limit=_PAGE):
            kept = [_decoded(document.value) for _, document in page]
            puts = tuple(Put(f"gone/{one.key}", msgspec.json.encode(Gone(one.home_key, one.key))) for one in kept)
            self._state.commit(SPACE, Change(puts=puts, deletes=tuple(name for name, _ in page)))
            for one in kept:
                self._seen.pop((home_id, one.module, one.name), None)
                self.close_to_writers(one.key)

    def _add(self, home_id: int, module_id: str, name: str, retention: Retention) -> Stream:
        home, found = f"home/{home_id}", self._state.get(SPACE, f"home/{home_id}")
        if found is None:
            self._state.put(SPACE, home, secrets.token_hex(16).encode(), expect=ABSENT)
            found = self._state.get(SPACE, home)
        if found is None:
            raise Conflict("the home was forgotten meanwhile")
        kept = _Kept(module_id, name, secrets.token_hex(16), found.value.decode(), datetime.now(UTC), retention)
        # First, so that a stream that can be found can be written to.
        self._state.put(space_of(kept.key), BORN, b"", expect=ABSENT)
        document = _document_of(home_id, module_id, name)
        expect = {home: found.version, document: ABSENT}
        self._state.commit(SPACE, Change(expect=expect, puts=(Put(document, msgspec.json.encode(kept)),)))
        return kept.stream(home_id)

    def _change(self, stream: Stream, retention: Retention) -> Stream:
        name = _document_of(stream.home_id, stream.module_id, stream.name)
        found = self._state.get(SPACE, name)
        if found is None:
            raise Conflict("the stream was deleted meanwhile")
        kept = msgspec.structs.replace(_decoded(found.value), retention=retention)
        self._state.put(SPACE, name, msgspec.json.encode(kept), expect=found.version)
        return kept.stream(stream.home_id)


def _decoded(value: bytes) -> _Kept:
    return msgspec.json.decode(value, type=_Kept)


def _document_of(home_id: int, module_id: str, name: str) -> str:
    return f"stream/{home_id}/{_digest(module_id)}/{_digest(name)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


def _check_name(what: str, name: str) -> None:
    is_text = not any(unicodedata.category(character) in ("Cc", "Cs") for character in name) and "\ufffd" not in name
    if not (0 < len(name) <= _LONGEST_NAME and is_text and name not in (".", "..")):
        raise Invalid(f"{what}: a name has 1 to {_LONGEST_NAME} characters, no control characters, and is not . or ..")
