"""Raw uploads: their bytes, which are checked whenever they are read, under names that describe them.

So the lake can be made again from them without the queue. The bytes are the object
`raw/<home key>/<day>/<id>.<received>.<sha256>[.<codings>]`:

    day         the UTC day of arrival
    id          the receipt's, random
    received    the time of arrival in microseconds since 1970, UTC
    sha256      of the bytes, so that `sha256sum` checks a file
    codings     what `Content-Encoding` names, in that order, separated by `_`; `unknown` for one that is not understood

Until format 4 the name was `raw/<home key>/<day>/<id>`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from backends.ports import NoSuchObject, ObjectInfo, ObjectStore, StateStore, StoreError
from smarthouse_api.arrow.times import DAY_US, microseconds, time_of
from smarthouse_api.states.homes import SPACE
from smarthouse_api.states.payload.compression import CODINGS, known_codings
from smarthouse_api.states.payload.decoding import Body
from smarthouse_api.states.receipts import digest_of, receipt_name, stored_receipt

RAW: Final = "raw/"
_UNKNOWN: Final = "unknown"
_NAME: Final = re.compile(
    r"raw/([^/]+)/(\d{4}-\d\d-\d\d)/([0-9a-f]+)(?:\.(-?\d{1,18})\.([0-9a-f]{64})(?:\.([a-z_]+))?)?", re.ASCII
)
_OLD_CODINGS: Final = (None, *CODINGS, "x-gzip", "identity", *(coding.upper() for coding in CODINGS))


class Damaged(StoreError):
    """Says that bytes are not those that were stored."""


@dataclass(frozen=True, slots=True)
class RawUpload:
    """Describes a raw upload by its object's name.

    received_us: microseconds since 1970, UTC; None in a name of an earlier format, which has no `sha256` and no coding either.
    encoding: what `Content-Encoding` amounted to.
    """

    object: str
    home: str
    day: str
    id: str
    received_us: int | None = None
    sha256: str | None = None
    encoding: str | None = None

    def arrival(self, info: ObjectInfo) -> int:
        """Return when it came, in microseconds since 1970: as its name says, else when it was stored, on that day."""
        if self.received_us is not None:
            return self.received_us
        first = microseconds(datetime.fromisoformat(self.day).replace(tzinfo=UTC))
        return min(max(microseconds(info.modified_at), first), first + DAY_US - 1)


class RawUploads:
    """Keeps the bytes of uploads, and checks them whenever they are read."""

    def __init__(self, state: StateStore, objects: ObjectStore) -> None:
        self._state, self._objects = state, objects

    def put(self, name: str, body: bytes) -> None:
        """Store the bytes of an upload, in the place of any that are there."""
        self._objects.put(name, [body])

    def delete(self, *names: str) -> None:
        """Remove the bytes of uploads."""
        self._objects.delete(names)

    def of(self, home: str) -> Iterator[tuple[RawUpload, ObjectInfo]]:
        """List the raw uploads of a home, by its internal key."""
        for info in self._objects.list(f"{RAW}{home}/"):
            if (raw := read_raw_name(info.key)) is not None:
                yield raw, info

    def homes(self) -> set[str]:
        """Return the internal keys of all homes that have raw uploads."""
        return {info.key.split("/")[1] for info in self._objects.list(RAW)}

    def is_emptied(self) -> bool:
        """Return whether the object store has no mark of an installation, though this process was let in by one."""
        return next(self._objects.list("installation/"), None) is None

    def purge(self, home: str) -> None:
        """Remove all raw uploads of a home."""
        self._objects.delete_below(f"{RAW}{home}")

    def read(self, name: str, encoding: str | None) -> Body:
        """Read and check the bytes of an upload. encoding: its `Content-Encoding`, if that is known.

        Raises `NoSuchObject`, or `Damaged` for other bytes than were stored. Until format 4 only the receipt told their sum,
        and only together with the coding.
        """
        raw, body = read_raw_name(name), self._objects.get(name)
        if raw is not None and raw.sha256 is not None:
            if hashlib.sha256(body).hexdigest() == raw.sha256:
                return body, encoding
        elif raw is not None:
            for coding in dict.fromkeys((encoding, *_OLD_CODINGS)):
                found = self._state.get(SPACE, receipt_name(raw.home, digest_of(body, coding)))
                if found is not None and stored_receipt(found.value).id == raw.id:
                    return body, coding
        raise Damaged(f"{name} does not hold the bytes that were stored")

    def matching(self, raw: RawUpload, digest: str) -> Body | None:
        """Read an upload whose receipt is not known; None unless a receipt of this digest is its own."""
        try:
            body = self._objects.get(raw.object)
        except NoSuchObject:
            return None
        found = (coding for coding in dict.fromkeys((raw.encoding, *_OLD_CODINGS)) if digest_of(body, coding) == digest)
        return next(((body, coding) for coding in found), None)


def raw_name(home: str, id_: str, received_us: int, body: bytes, encoding: str | None) -> str:
    """Name the object of a new upload. encoding: its `Content-Encoding`, as it was sent."""
    codings = known_codings(encoding)
    coded = "" if codings == () else "." + (_UNKNOWN if codings is None else "_".join(codings))
    digest = hashlib.sha256(body).hexdigest()
    return f"{RAW}{home}/{time_of(received_us):%Y-%m-%d}/{id_}.{received_us}.{digest}{coded}"


def read_raw_name(key: str) -> RawUpload | None:
    """Read the name of a raw upload, of this format or an earlier one; None if it is no such name."""
    if (found := _NAME.fullmatch(key)) is None:
        return None
    home, day, id_, received, digest, codings = found.groups()
    if received is None:
        return RawUpload(key, home, day, id_)
    return RawUpload(key, home, day, id_, int(received), digest, None if codings is None else codings.replace("_", ", "))
