"""What an archive holds: its files, in their order, and the summary of what is held."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from backends.ports import ObjectStore, StateStore
from smarthouse_api.archives import streams as linked
from smarthouse_api.archives.entities import Entities
from smarthouse_api.archives.model import Holder
from smarthouse_api.archives.records import lines_of
from smarthouse_api.archives.rows import Rows
from smarthouse_api.archives.uploads import payloads, receipts
from smarthouse_api.arrow.times import time_of, time_text
from smarthouse_api.arrow.zip_stream import ZipMember
from smarthouse_api.collections.home_records import HomeRecords
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.states.agreements import Agreement
from smarthouse_api.states.counts import Kept
from smarthouse_api.states.homes import Home, new_key
from smarthouse_api.states.service import States
from smarthouse_api.streams.service import Streams

_README: Final = """# All that this service holds about your home

- `summary.json`: how much is held, since when, and what you agreed to.
- `consents.json`: each version of the terms that you agreed to, with its time.
- `receipts.jsonl`: what became of each upload. `expired` says that its bytes were deleted for their age.
- `uploads/`: each upload as it came, by the time of its arrival (UTC). `.json` is plain; `.gz`, `.zst` and `.zlib` are packed.
- `rows/states.jsonl`, `rows/statistics.jsonl`: the rows that were made of the uploads, as they are kept. `attributes` are those
  that may be published, `attributes_uploaded` all of them, if they differ. A repeat that is not merged yet stands twice.
- `published/states.jsonl`: the rows as the service publishes them now, with its rules of today: {privacy}. Statistics are
  published as aggregates of intervals, if at all.
- `streams/`: the streams of the Stream Data Store that are linked with your home: packets with their time and bytes (base64),
  metadata and sessions.
- `records.jsonl`: records that others sent to data sources and datasets and that name your home. `dead_letter` is the id of one
  that a schema refused, and `fault` says why.

A file without a line has no bytes: nothing of that kind is held.{missing}
"""
_MISSING: Final = """

**Missing:** the bytes of these uploads are damaged or have just expired:

{names}"""


class Contents:
    """Gives the files of an archive, one after the other."""

    def __init__(
        self, state: StateStore, objects: ObjectStore, states: States, streams: Streams, records: HomeRecords, privacy: str
    ) -> None:
        self._state, self._objects, self._states, self._streams, self._privacy = state, objects, states, streams, privacy
        self._records, self.entities = records, Entities(state, states)

    def summary(
        self, home: Home | None, streams: int, collections: int, mark: str | None = None, *, has_objected: bool
    ) -> dict[str, Any]:
        """Tell how much is held about a home; None for one that is not known: then the same is looked up, except in the lake.

        collections: how many data sources and datasets may hold records that name it. mark: of `Entities.mark`.

        Call it once what was acknowledged is in the lake.
        """
        key = new_key() if home is None else home.key
        kept, expired = self._states.counts.of([key])[0], self._states.counts.expired(key)
        entities = self.entities.count(home, mark)
        has_uploaded = bool(kept.uploads or expired.uploads)
        return {
            "records": kept.records,
            "entities": entities,
            "uploads": kept.uploads,
            "bytes": kept.bytes,
            "expired_uploads": expired.uploads,
            "first": _time(kept.first_us) if has_uploaded else None,
            "last": _time(kept.last_us) if has_uploaded else None,
            "streams": streams,
            "collections": collections,
            "consent": _consent(self._states.consents.of(home)),
            "objected": has_objected,
        }

    def members(self, holder: Holder | None, lease: Lease | None, at: datetime) -> Iterator[ZipMember]:
        """Give the files; without a holder the same ones, without anything in them. lease: of a reader of the lake."""
        home, missing = None if holder is None else holder.home, list[str]()
        named = [] if holder is None else self._records.named_in(holder.tag)
        summary = self.summary(home, 0 if holder is None else len(holder.streams), len(named), has_objected=False)
        del summary["objected"]  # then there is nothing but the objection
        agreed = [_told(one) for one in self._states.consents.of(home)]
        yield ZipMember("summary.json", at, [_json(summary)])
        yield ZipMember("consents.json", at, [_json(agreed)])
        rows = Rows(self._states, home.key, lease) if home is not None and lease is not None else None
        yield ZipMember("receipts.jsonl", at, receipts(self._state, home.key) if home else ())
        for name in ("states", "statistics"):
            yield ZipMember(f"rows/{name}.jsonl", at, rows.kept(name) if rows else ())
        yield ZipMember("published/states.jsonl", at, rows.published() if rows else ())
        if home is not None:
            yield from payloads(self._objects, self._states.uploads.raw_of(home.key), at, missing)
        yield ZipMember("records.jsonl", at, lines_of(self._records.of(holder.tag)) if holder else ())
        if holder is not None:
            yield from linked.members(self._streams, holder.streams, at)
        told = _MISSING.format(names="\n".join(f"- `{name}`" for name in missing)) if missing else ""
        yield ZipMember("README.md", at, [_README.format(privacy=f"`{self._privacy}`", missing=told).encode()])


def _consent(known: tuple[Agreement, ...]) -> dict[str, Any] | None:
    """Tell what a home agrees to now, and all that it agreed to."""
    return {**_told(known[-1]), "versions": [_told(one) for one in known]} if known else None


def _told(agreement: Agreement) -> dict[str, Any]:
    return {"terms": agreement.terms, "tier": agreement.tier, "at": _time(agreement.at_us)}


def _time(us: int | None) -> str | None:
    return None if us is None else time_text(time_of(us))


def _json(told: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(told)) + b"\n"


def mark_of_counts(kept: Kept, expired: Kept) -> tuple[object, ...]:
    """Name what is kept of a home, as far as its counts tell."""
    return kept.bytes, kept.uploads, kept.records, kept.last_us, expired.uploads


def today() -> datetime:
    """Return when the present UTC day began: an archive that holds nothing has the same bytes all day."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
