"""Uploads: a home's payload kept as it came, and queued for the lake.

The bytes are the object `raw/<home key>/<day>/<id>`. In the state store, in the space of the homes, because one commit
touches the home too:

    upload/<home key>/<sha256>      the receipt of a stored payload: the same bytes are kept once
    reply/<home key>/<sha256>       the answer given under an `Idempotency-Key`, for a while
    log `pending`                   what the lake does not hold yet
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from backends.ports import ABSENT, Change, Conflict, Entry, ObjectStore, Put, StateStore, StoreFull
from config.groups import RequestSettings
from smarthouse_api.arrow.times import EPOCH, microseconds
from smarthouse_api.coordination.idempotency import Replies, ReplyFormat, RequestKey
from smarthouse_api.coordination.queue import Queue
from smarthouse_api.errors import Invalid, Unavailable
from smarthouse_api.states.homes import SPACE, Home, Homes
from smarthouse_api.states.payload.decoding import Body, Decoded, to_table
from smarthouse_api.states.payload.inspection import Inspection, inspect
from smarthouse_api.states.payload.statistics_decoding import to_statistics

PENDING = "pending"
_TURN = "turn"
_TURN_SECONDS = 86400.0
MESSAGE = "Data successfully uploaded"
_ATTEMPTS = 16
_ANY = 1 << 62
_LARGE_BYTES = 256 << 10
_TITLES = {"decoding": "Bad ingest decoding", "structure": "Bad JSON structure"}


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


class Pending(msgspec.Struct, frozen=True):
    """Queues one payload for the lake.

    home: the home's internal key. object: the name of the stored body. received_us: microseconds since 1970, UTC. records,
    statistics: how many the body holds; None if a version queued it that did not say so.
    """

    sequence: int
    home: str
    object: str
    received_us: int
    decoded_bytes: int
    encoding: str | None
    records: int | None = None
    statistics: int | None = None


_receipt = msgspec.json.Decoder(Receipt).decode
_pending = msgspec.json.Decoder(Pending).decode


@dataclass(frozen=True)
class Upload:
    """Carries what one upload request sent: the home's UUID, the body as it came, and two headers.

    uuid: normalised. encoding: `Content-Encoding`. idempotency_key: `Idempotency-Key`.
    """

    uuid: str
    body: bytes
    encoding: str | None = None
    idempotency_key: str | None = None


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


_REPLY: Final[ReplyFormat[Answer]] = ReplyFormat(
    encode=lambda digest, answer: msgspec.json.encode(_Reply(digest, answer.receipt, answer.duplicate)),
    decode=_answer,
    on_reuse="This Idempotency-Key came before with another body; use a new key for a new upload",
)


class Uploads:
    """Receives uploads: keeps each payload as it came, and queues it for the lake."""

    def __init__(
        self, state: StateStore, objects: ObjectStore, homes: Homes, replies: Replies, settings: RequestSettings
    ) -> None:
        self._state, self._objects, self._homes, self._replies, self._settings = state, objects, homes, replies, settings
        self._large = threading.Lock()
        self.queue = Queue(state, SPACE, PENDING, _TURN, ttl_seconds=_TURN_SECONDS)

    def receive(self, upload: Upload, received_at: datetime | None = None) -> Answer:
        """Keep an upload and queue it for the lake. The upload is durable once this returns.

        received_at: the time of arrival, by default now; an earlier time fills a lake with old data. Raises `Invalid` (an empty
        body; in strict mode an undecodable one), `TooLarge` or `KeyReused`; then nothing was kept.
        """
        self._check(upload)
        # Of the coding too: the same bytes mean another thing under another.
        digest = hashlib.sha256((upload.encoding or "").encode() + b"\0" + upload.body).hexdigest()
        inspection = None
        for attempt in range(_ATTEMPTS):
            # Mostly the home is as it was and the bytes are new. If not, the commit says so, and the next attempt looks.
            home = self._homes.find(upload.uuid) if attempt else self._homes.recall(upload.uuid)
            is_repeat = attempt > 0 or upload.idempotency_key is not None
            if home is not None and is_repeat and (answer := self._earlier(home, digest, upload)) is not None:
                return answer
            inspection = inspection or self._inspect(upload)
            home = home or self._homes.find_or_add(upload.uuid)
            if (answer := self._keep(home, digest, upload, inspection, received_at or datetime.now(UTC))) is not None:
                return answer
        raise Unavailable("This home is being written to from too many sides; send it again")

    def pending(self) -> list[Pending]:
        """Read the first payloads that the lake does not hold yet, in the order in which they were acknowledged."""
        return [read_pending(entry) for entry in self.queue.read() if entry.value]

    def held_until(self) -> datetime:
        """Return the time before which every acknowledged upload is in the lake: when the oldest pending one came, else now."""
        now, queued = datetime.now(UTC), self.queue.entries(0, self.queue.last())
        oldest = next((read_pending(entry) for entry in queued if entry.value), None)
        return now if oldest is None else EPOCH + timedelta(microseconds=oldest.received_us)

    def log_id(self) -> str:
        """Name the queue in the lake. No other installation has this name, nor has one that is begun anew."""
        return f"uploads-{self._homes.installation()}"

    def body(self, pending: Pending) -> bytes:
        """Read a pending payload's bytes. Raises `backends.ports.NoSuchObject` once its home is being purged."""
        return self._objects.get(pending.object)

    def decode(self, bodies: Sequence[Body]) -> Decoded:
        """Decode the records of bodies, each with its `Content-Encoding`: as many as their receipts say."""
        return to_table(bodies, self._unlimited())

    def decode_statistics(self, bodies: Sequence[Body]) -> Decoded:
        """Decode the statistics of bodies, each with its `Content-Encoding`: as many as their receipts say."""
        return to_statistics(bodies, self._unlimited())

    def homes(self) -> set[str]:
        """Return the internal keys of all homes that have stored payloads."""
        return {info.key.split("/")[1] for info in self._objects.list("raw/")}

    def purge(self, home_key: str) -> None:
        """Remove every payload, receipt and reply of a hidden home; repeatable."""
        self._objects.delete(info.key for info in self._objects.list(f"raw/{home_key}/"))
        for kind in ("upload", "reply"):
            while page := self._state.scan(SPACE, f"{kind}/{home_key}/"):
                self._state.commit(SPACE, Change(deletes=tuple(name for name, _ in page)))
        after, turn = 0, self.queue.take_turn()
        while queued := self.queue.read(after):
            self.queue.drop(turn, (entry.sequence for entry in queued if entry.value and read_pending(entry).home == home_key))
            after = queued[-1].sequence

    def _unlimited(self) -> RequestSettings:
        # The limits are of what is acknowledged. What was, is decoded whatever they are by now.
        return replace(self._settings, max_decoded_bytes=_ANY, max_compression_ratio=_ANY, max_records=_ANY)

    def _check(self, upload: Upload) -> None:
        if not upload.body:
            raise Invalid("The body is empty; send the home's data: JSON, compressed with zlib, gzip or zstd, or plain")
        if upload.idempotency_key is not None and not 0 < len(upload.idempotency_key) <= 255:
            raise Invalid("Idempotency-Key must have 1 to 255 characters")

    def _inspect(self, upload: Upload) -> Inspection:
        # Decoding takes up many times a body's size: the large ones go one after another.
        with self._large if len(upload.body) > _LARGE_BYTES else nullcontext():
            inspection = inspect(upload.body, upload.encoding, self._settings)
        if self._settings.ingest_strict and inspection.fault is not None:
            raise Invalid(inspection.detail or "", _TITLES[inspection.fault])
        return inspection

    def _earlier(self, home: Home, digest: str, upload: Upload) -> Answer | None:
        """Find the answer that was given before, to the same key or for the same bytes."""
        request_key = _request_key(home, digest, upload)
        if (earlier := self._replies.earlier(SPACE, request_key, _REPLY)) is not None:
            return earlier
        if (kept := self._state.get(SPACE, f"upload/{home.key}/{digest}")) is None:
            return None
        answer = Answer(_receipt(kept.value), duplicate=True)
        for put in self._replies.puts(request_key, answer, _REPLY):
            with suppress(Conflict):  # it has an answer, or the home is gone by now
                self._state.commit(SPACE, Change(expect={home.name: home.version, put.key: ABSENT}, puts=(put,)))
        return answer

    def _keep(self, home: Home, digest: str, upload: Upload, inspection: Inspection, received_at: datetime) -> Answer | None:
        """Keep new bytes and answer; None if meanwhile the home was forgotten, or another request kept the same bytes."""
        receipt = Receipt(
            uuid.uuid4().hex,
            inspection.records,
            inspection.ignored,
            inspection.detail,
            inspection.without_time or None,
            inspection.statistics or None,
        )
        answer = Answer(receipt)
        key = f"raw/{home.key}/{received_at:%Y-%m-%d}/{receipt.id}"
        name = f"upload/{home.key}/{digest}"
        queued = _queued(home, key, upload, inspection, received_at)
        self._objects.put(key, [upload.body])
        puts = (
            Put(name, msgspec.json.encode(receipt)),
            *self._replies.puts(_request_key(home, digest, upload), answer, _REPLY),
        )
        change = Change(
            expect={home.name: home.version, **{put.key: ABSENT for put in puts}},
            puts=puts,
            appends=((PENDING, queued),) if receipt.records or receipt.statistics else (),
        )
        try:
            self._state.commit(SPACE, change)
        except Conflict:
            self._objects.delete([key])
            return None
        except StoreFull:
            self._objects.delete([key])
            raise
        return answer


def read_pending(entry: Entry) -> Pending:
    """Read the payload that an entry of the queue stands for."""
    return msgspec.structs.replace(_pending(entry.value), sequence=entry.sequence)


def _request_key(home: Home, digest: str, upload: Upload) -> RequestKey | None:
    return None if upload.idempotency_key is None else RequestKey(upload.idempotency_key, digest, f"{home.key}/")


def _queued(home: Home, key: str, upload: Upload, found: Inspection, received_at: datetime) -> bytes:
    at = microseconds(received_at)
    return msgspec.json.encode(
        Pending(0, home.key, key, at, found.decoded_bytes, upload.encoding, found.records, found.statistics)
    )
