"""Uploads: a home's payload kept as it came, and queued for the lake.

The bytes are an object whose name describes them; see `smarthouse_api.states.raw`. In the state store, in the space of the
homes, because one commit touches the home too:

    upload/<home key>/<sha256>      the receipt of a stored payload: the same bytes are kept once
    aside/<home key>/<id>           an upload that lacks rows in the lake, because they could not be made
    reply/<home key>/<sha256>       the answer given under an `Idempotency-Key`, for a while
    log `pending`                   what the lake does not hold yet
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice

import msgspec
import pyarrow as pa

from backends.ports import ABSENT, Change, Conflict, ObjectInfo, ObjectStore, PartDamaged, Put, StateStore, StoreFull
from config.groups import RequestSettings
from smarthouse_api.arrow.times import EPOCH, microseconds
from smarthouse_api.coordination.idempotency import Replies, RequestKey
from smarthouse_api.coordination.queue import Queue
from smarthouse_api.coordination.room import Room
from smarthouse_api.coordination.sound_scans import scan_past_damage
from smarthouse_api.errors import Invalid, Unavailable
from smarthouse_api.states.consents import Consents
from smarthouse_api.states.counting_old import CountingOld
from smarthouse_api.states.counts import Counts, Kept, first_put, last_put
from smarthouse_api.states.damaged_receipts import DamagedReceipts
from smarthouse_api.states.homes import SPACE, Home, Homes
from smarthouse_api.states.kept_uploads import PENDING, KeptUploads, id_of
from smarthouse_api.states.listed_uploads import Listed, list_uploads, note_repeat
from smarthouse_api.states.payload.decoding import Body, Decoded, to_table
from smarthouse_api.states.payload.inspection import Inspection, inspect
from smarthouse_api.states.payload.statistics_decoding import to_statistics
from smarthouse_api.states.pending import Pending, read_pending
from smarthouse_api.states.raw import RawUpload, RawUploads, raw_name
from smarthouse_api.states.receipts import (
    REPLY,
    Answer,
    Receipt,
    digest_of,
    receipt_bytes,
    receipt_name,
    receipt_of,
    stored_receipts,
)

REBUILDING = "rebuilding"
"""The log of what is to be taken into the lake again."""

_TURN = "turn"
_TURN_SECONDS = 86400.0
MESSAGE = "Data successfully uploaded"
_ATTEMPTS = 16
_MOST_BEGUN = 10_000
_AT_ONCE = 1000
_ANY = 1 << 62
_LARGE_BYTES = 256 << 10
_HUGE_BYTES = 4 << 20
_TITLES = {"decoding": "Bad ingest decoding", "structure": "Bad JSON structure"}


@dataclass(frozen=True)
class Upload:
    """Carries what one upload request sent: the home's UUID, the body as it came, and two headers.

    uuid: normalised. encoding: `Content-Encoding`. idempotency_key: `Idempotency-Key`. request_id: for the log of what becomes
    of the upload. address: the client's.
    """

    uuid: str
    body: bytes
    encoding: str | None = None
    idempotency_key: str | None = None
    request_id: str | None = None
    address: str | None = None


class Uploads:
    """Receives uploads: keeps each payload as it came, and queues it for the lake."""

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        homes: Homes,
        replies: Replies,
        counts: Counts,
        consents: Consents,
        room: Room,
        settings: RequestSettings,
    ) -> None:
        self._state, self._homes, self._replies, self._settings = state, homes, replies, settings
        self._consents, self._begun = consents, set[str]()
        self._raw, self._room, self.counts = RawUploads(state, objects), room, counts
        self.counting_old = CountingOld(state, self._raw, homes, counts)
        self.healing = KeptUploads(state, self._raw, homes, counts)
        self.receipts = DamagedReceipts(state, self._raw, homes, counts, self._unlimited())
        self._large = threading.Lock()
        self.queue = Queue(state, SPACE, PENDING, _TURN, ttl_seconds=_TURN_SECONDS)
        self.again = Queue(state, SPACE, REBUILDING, f"{_TURN}-again", ttl_seconds=_TURN_SECONDS)

    def receive(self, upload: Upload, received_at: datetime | None = None) -> Answer:
        """Keep an upload and queue it for the lake. The upload is durable once this returns.

        received_at: the time of arrival, by default now; an earlier time fills a lake with old data. Raises `Invalid` (an empty
        body; in strict mode an undecodable one), `TooLarge`, `KeyReused`, `TooMany`, `NoRoom`, `Gone` if the home has objected,
        or `Forbidden` if it has not consented and must; then nothing was kept.
        """
        self._check(upload)
        self._room.check()
        digest = digest_of(upload.body, upload.encoding)
        inspection = None
        for attempt in range(_ATTEMPTS):
            # Mostly the home is as it was and the bytes are new. If not, the commit says so, and the next attempt looks.
            home = self._homes.find(upload.uuid) if attempt else self._homes.recall(upload.uuid)
            if home is None:
                self._homes.refuse_objected(self._homes.tag(upload.uuid))
            self._consents.require(home)
            of = (home.key if home else None), upload.address
            has_failed = attempt > 0 or self.counts.was_full(*of)
            is_repeat = has_failed or upload.idempotency_key is not None
            if home is not None and is_repeat and (answer := self._earlier(home, digest, upload)) is not None:
                return answer
            if has_failed or home is None:  # a home that is added for nothing would stay
                self.counts.check(*of, len(upload.body))
            inspection = inspection or self._inspect(upload)
            home = home or self._homes.find_or_add(upload.uuid)
            if (answer := self._keep(home, digest, upload, inspection, received_at or datetime.now(UTC))) is not None:
                return answer
        raise Unavailable("This home is being written to from too many sides; send it again")

    def _is_first(self, home: Home) -> bool:
        """Tell whether a home may not have uploaded yet. What it consented to before was noted as its first time."""
        if home.key in self._begun:
            return False
        with suppress(PartDamaged):  # it is made again
            if self._state.get(SPACE, last_put(home.key, 0).key) is None:
                return True
        if len(self._begun) >= _MOST_BEGUN:
            self._begun.clear()
        self._begun.add(home.key)
        return False

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

    def read(self, pending: Pending) -> tuple[Pending, bytes]:
        """Read and check a payload's bytes. Returns the payload with the coding that they were stored with.

        Raises `NoSuchObject`, also once its home is being purged, and `Damaged` for other bytes than were stored.
        """
        body, encoding = self._raw.read(pending.object, pending.encoding)
        return msgspec.structs.replace(pending, encoding=encoding), body

    def decode(self, bodies: Sequence[Body]) -> Decoded:
        """Decode the records of bodies, each with its `Content-Encoding`: as many as their receipts say."""
        return to_table(bodies, self._unlimited())

    def decode_statistics(self, bodies: Sequence[Body]) -> Decoded:
        """Decode the statistics of bodies, each with its `Content-Encoding`: as many as their receipts say."""
        return to_statistics(bodies, self._unlimited())

    def homes(self) -> set[str]:
        """Return the internal keys of all homes that have stored payloads."""
        return self._raw.homes()

    def raw_of(self, home: str) -> Iterator[tuple[RawUpload, ObjectInfo]]:
        """List the raw uploads of a home, by its internal key."""
        return self._raw.of(home)

    def waiting(self) -> set[str]:
        """Return the ids of all uploads that wait for the lake, or are to be taken into it again."""
        found = set[str]()
        for queue in (self.queue, self.again):
            after = 0
            while page := queue.read(after):  # to the real end: an entry that is moved meanwhile goes there
                found.update(id_of(read_pending(entry).object) for entry in page if entry.value)
                after = page[-1].sequence
        return found

    def kept(self, home: str | None = None, missing: Callable[[Pending], None] = lambda _: None) -> Iterator[Pending]:
        """List every payload that is kept raw and gives rows; see `KeptUploads.all`."""
        return self.healing.all(home, missing)

    def listed(self, home_key: str, skip: int, limit: int) -> Listed:
        """List some uploads of a home, the newest first."""
        return list_uploads(self._state, home_key, skip, limit, self.waiting(), self.healing.lacking_ids(home_key))

    def has_kept(self, home_key: str) -> bool:
        """Tell whether the state knows of a raw upload of a home that has not expired."""
        return any(not one.expired for one in stored_receipts(self._state, home_key))

    def purge(self, home_key: str) -> None:
        """Remove every payload, receipt and reply of a hidden home; repeatable."""
        self.healing.purge(home_key)
        self._remove("upload", home_key)
        self._remove("reply", home_key)
        for queue in (self.queue, self.again):
            after, turn = 0, queue.take_turn()
            while queued := queue.read(after):
                queue.drop(turn, (entry.sequence for entry in queued if entry.value and read_pending(entry).home == home_key))
                after = queued[-1].sequence
        self.counts.purge(home_key)
        self._remove("aside", home_key)

    def _remove(self, kind: str, home_key: str) -> None:
        names = (name for name, _ in scan_past_damage(self._state, SPACE, f"{kind}/{home_key}/"))
        while some := tuple(islice(names, _AT_ONCE)):
            self._state.commit(SPACE, Change(deletes=some))

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
            if inspection.decoded_bytes > _HUGE_BYTES:
                # What a thread has freed stays in its arena, and each thread may have some hundred megabytes there.
                pa.default_memory_pool().release_unused()
        if self._settings.ingest_strict and inspection.fault is not None:
            raise Invalid(inspection.detail or "", _TITLES[inspection.fault])
        return inspection

    def _earlier(self, home: Home, digest: str, upload: Upload) -> Answer | None:
        """Find the answer that was given before, to the same key or for the same bytes. If these are damaged, heal them."""
        request_key, name = _request_key(home, digest, upload), receipt_name(home.key, digest)
        try:
            kept = self._state.get(SPACE, name)
        except PartDamaged:
            return self._renewed(home, digest, upload, request_key)
        is_healed = kept is not None and self.healing.heal(home, name, kept, (upload.body, upload.encoding))
        if (earlier := self._replies.earlier(SPACE, request_key, REPLY)) is not None:
            return earlier
        if kept is None:
            return None
        answer = Answer(receipt_of(kept.value), duplicate=not is_healed)
        if answer.duplicate:
            note_repeat(self._state, home, name, kept)
        self._note_reply(home, request_key, answer)
        return answer

    def _renewed(self, home: Home, digest: str, upload: Upload, request_key: RequestKey | None) -> Answer | None:
        """Answer for bytes whose receipt is damaged, once it is made again; None if the home is changed meanwhile."""
        if (receipt := self.receipts.renew(home, digest, (upload.body, upload.encoding))) is None:
            return None
        if (earlier := self._replies.earlier(SPACE, request_key, REPLY)) is not None:
            return earlier
        answer = Answer(receipt, duplicate=True)
        self._note_reply(home, request_key, answer)
        return answer

    def _note_reply(self, home: Home, request_key: RequestKey | None, answer: Answer) -> None:
        for put in self._replies.puts(request_key, answer, REPLY):
            with suppress(Conflict):  # it has an answer, or the home is gone by now
                self._state.commit(SPACE, Change(expect={home.name: home.version, put.key: ABSENT}, puts=(put,)))

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
        key = raw_name(home.key, receipt.id, microseconds(received_at), upload.body, upload.encoding)
        name = receipt_name(home.key, digest)
        queued = _queued(home, key, upload, inspection, received_at)
        kept = Kept(len(upload.body), 1, inspection.records + inspection.statistics)
        last, first = (make(home.key, microseconds(received_at)) for make in (last_put, first_put))
        is_first = self._is_first(home)
        self._raw.put(key, upload.body)
        puts = (
            Put(name, receipt_bytes(receipt, key, inspection.decoded_bytes, len(upload.body))),
            *self._replies.puts(_request_key(home, digest, upload), answer, REPLY),
        )
        change = Change(
            expect={home.name: home.version, **{put.key: ABSENT for put in (*puts, *([last] if is_first else []))}},
            puts=(*puts, last, *([first] if is_first else [])),
            appends=((PENDING, queued),) if receipt.records or receipt.statistics else (),
            adds=self.counts.adds(home.key, kept, upload.address),
        )
        try:
            self._state.commit(SPACE, change)
        except Conflict:
            self._raw.delete(key)
            return None
        except PartDamaged as fault:
            self._raw.delete(key)
            if fault.part.name != name:
                raise
            return None
        except StoreFull:
            self._raw.delete(key)
            raise
        return answer


def _request_key(home: Home, digest: str, upload: Upload) -> RequestKey | None:
    return None if upload.idempotency_key is None else RequestKey(upload.idempotency_key, digest, f"{home.key}/")


def _queued(home: Home, key: str, upload: Upload, found: Inspection, received_at: datetime) -> bytes:
    at = microseconds(received_at)
    return msgspec.json.encode(
        Pending(
            0,
            home.key,
            key,
            at,
            found.decoded_bytes,
            upload.encoding,
            found.records,
            found.statistics,
            upload.request_id,
        )
    )
