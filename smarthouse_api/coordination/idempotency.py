"""Idempotency: a request that is repeated under its `Idempotency-Key` is done once, and answered alike each time.

1. Before the work, `Replies.earlier` looks for the answer to an earlier request under the same key.
2. If there is one, it is the answer, unless that request was another: then the key is refused.
3. The commit that does the work stores the answer too (`Replies.puts`), on condition that there is none.
4. If that condition fails, another attempt at the same request was first, and its answer is found by step 1.

An answer is the document `reply/<digest of the key>` in the space of what the request changed, and expires.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, TypeVar

import msgspec

from backends.ports import Put, StateStore
from smarthouse_api.errors import KeyReused

Answer = TypeVar("Answer")
Struct = TypeVar("Struct", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Identifies a request by its `Idempotency-Key`.

    key: that key, its sender, and the purpose. digest: of the request; a repeat must have the same. folder: a part of the
    document's name, if answers must be found by what they belong to; empty, or ends in `/`.
    """

    key: str
    digest: str
    folder: str = ""

    @property
    def document(self) -> str:
        """The name of the answer's document, from which nobody can tell the key."""
        return f"reply/{self.folder}{sha256(self.key.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class ReplyFormat(Generic[Answer]):
    """Stores answers of one kind with the digest of their request. decode: gives the answer, marked as a replay.

    Make it at import: threads that decode a kind first, at the same time, may crash the process.
    """

    encode: Callable[[str, Answer], bytes]
    decode: Callable[[bytes], tuple[str, Answer]]
    on_reuse: str = "This Idempotency-Key came before with another request; use a new key for a new request"


class Replies:
    """Remembers the answers to requests under an `Idempotency-Key`, for so many seconds."""

    def __init__(self, state: StateStore, seconds: float) -> None:
        self._state, self._seconds = state, seconds

    def earlier(self, space: str, request_key: RequestKey | None, reply: ReplyFormat[Answer]) -> Answer | None:
        """Find the answer to an earlier request under this key, if any. Raises `KeyReused` if that request was another."""
        if request_key is None or (found := self._state.get(space, request_key.document)) is None:
            return None
        digest, answer = reply.decode(found.value)
        if digest != request_key.digest:
            raise KeyReused(reply.on_reuse)
        return answer

    def puts(self, request_key: RequestKey | None, answer: Answer, reply: ReplyFormat[Answer]) -> tuple[Put, ...]:
        """Make the documents to commit with the work, on condition that none exists. Empty without a key."""
        if request_key is None:
            return ()
        return (Put(request_key.document, reply.encode(request_key.digest, answer), self._seconds),)


def pair_of(kind: type[Struct]) -> ReplyFormat[Struct]:
    """Make the usual format: digest and answer as a JSON array. kind: a Struct with the member `replayed`."""
    read = msgspec.json.Decoder(tuple[str, kind]).decode  # type: ignore[valid-type]  # the kind is the caller's

    def decode(value: bytes) -> tuple[str, Struct]:
        digest, answer = read(value)
        return digest, msgspec.structs.replace(answer, replayed=True)

    return ReplyFormat(lambda digest, answer: msgspec.json.encode((digest, answer)), decode)
