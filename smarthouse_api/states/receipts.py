"""The receipts of uploads, and the answers to them: what an uploader is told, and what is stored so that it is told again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from backends.ports import StateStore
from smarthouse_api.coordination.idempotency import ReplyFormat
from smarthouse_api.states.homes import SPACE


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tells a client what became of its upload, and is stored so that a repeat is told the same.

    id: of the payload, random. records, ignored: how many of its values became records, and how many did not. detail: what gave
    no record or has no time, and why. without_time: how many records have no readable time. statistics: how many periods of
    long-term statistics it holds.
    """

    id: str
    records: int
    ignored: int
    detail: str | None = None
    without_time: int | None = None
    statistics: int | None = None

    def told(self) -> dict[str, object]:
        """Return the members that are not null, by their names."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Answer:
    """Answers one upload: the receipt, and whether it is a new one.

    duplicate: the same bytes were kept before. replayed: this repeats the first answer to the same `Idempotency-Key`.
    """

    receipt: Receipt
    duplicate: bool = False
    replayed: bool = False


class _Reply(msgspec.Struct, frozen=True):
    """Stores an answer for its `Idempotency-Key`, to be repeated."""

    body_sha256: str
    receipt: Receipt
    duplicate: bool


_reply = msgspec.json.Decoder(_Reply).decode


def _answer(value: bytes) -> tuple[str, Answer]:
    reply = _reply(value)
    return reply.body_sha256, Answer(reply.receipt, reply.duplicate, replayed=True)


REPLY: Final[ReplyFormat[Answer]] = ReplyFormat(
    encode=lambda digest, answer: msgspec.json.encode(_Reply(digest, answer.receipt, answer.duplicate)),
    decode=_answer,
    on_reuse="This Idempotency-Key came before with another body; use a new key for a new upload",
)


class StoredReceipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """Stores with a receipt what finds and decodes its payload again: the object's name, and the size of its text.

    A receipt of an earlier format has neither. bytes: the payload's size as it came; with it the receipt is counted, see
    `smarthouse_api.states.counts`. expired: whether the payload was deleted for its age; then it has no object, and `received`
    tells when it came, in microseconds since 1970. Some receipts tell as `repeated` when the same payload came last again.
    """

    id: str
    records: int
    statistics: int | None = None
    object: str | None = None
    decoded_bytes: int | None = None
    bytes: int | None = None
    expired: bool = False
    received: int | None = None


receipt_of, stored_receipt = msgspec.json.Decoder(Receipt).decode, msgspec.json.Decoder(StoredReceipt).decode


def digest_of(body: bytes, encoding: str | None) -> str:
    """Digest a payload, and its coding too: the same bytes mean another thing under another."""
    return hashlib.sha256((encoding or "").encode() + b"\0" + body).hexdigest()


def receipt_name(home_key: str, digest: str) -> str:
    """Name the document of a receipt. digest: see `digest_of`."""
    return f"upload/{home_key}/{digest}"


def receipt_bytes(receipt: Receipt, object_: str, decoded_bytes: int, size: int) -> bytes:
    """Encode a receipt to be stored, and counted. size: the payload's, in bytes as it came."""
    members = msgspec.to_builtins(receipt) | {"object": object_, "decoded_bytes": decoded_bytes, "bytes": size}
    return msgspec.json.encode(members)


def changed_receipt(value: bytes, **members: object) -> bytes:
    """Encode a stored receipt with other members. One that is None is left out."""
    told = msgspec.json.decode(value) | members
    return msgspec.json.encode({name: member for name, member in told.items() if name not in members or member is not None})


def stored_receipts(state: StateStore, home_key: str) -> Iterator[StoredReceipt]:
    """List the stored receipts of a home."""
    for _, document in state.scan_all(SPACE, receipt_name(home_key, "")):
        yield stored_receipt(document.value)
