"""Downloads: a URL that gives one range of one stream to whoever has it, for a while, and what it gives."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from backends.ports import ObjectStore, SignsUrls
from config.groups import StreamSettings
from smarthouse_api.coordination.answers import LeasedAnswer, Slots
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.errors import Forbidden, Invalid, NotFound, Unavailable
from smarthouse_api.streams.blocks import Block
from smarthouse_api.streams.catalogue import StreamCatalogue
from smarthouse_api.streams.model import Stream
from smarthouse_api.streams.packet_formats import PACKET_FORMATS, PacketFormat
from smarthouse_api.streams.segments import object_name
from smarthouse_api.streams.sessions import downloads_of
from smarthouse_api.streams.shelf import Piece, SegmentPiece, Shelf

_LOOK_SECONDS: Final = 0.05
_MOST_IN_ZIP: Final = 200_000
"""Packets in one zip, whose directory is in memory until its end: some 300 bytes for each."""

_NOT_THERE: Final = "The stream that this URL was made for is not there, or not any more"
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_SIGNED: Final = ("stream", "start", "stop", "format", "expires")


@dataclass(frozen=True, slots=True)
class Located:
    """Where a range can be downloaded: at the object store's own `url`, or else at ours with `query`."""

    url: str | None
    query: dict[str, str]


class Download(LeasedAnswer):
    """A range of packets, about to be sent. etag: the same for the same bytes. size_bytes: None if not known before.

    It counts as running, and holds back what would remove its packets, until it is closed.
    """

    def __init__(
        self, pieces: list[Piece], format_: PacketFormat, names: tuple[str, str], lease: Lease, ending: ExitStack
    ) -> None:
        super().__init__(lease, ending)
        self.content_type, self.file_name, self.etag = format_.content_type, *names
        self.size_bytes = sum(piece.size for piece in pieces) if format_.encode is None else None
        self._pieces, self._format = pieces, format_

    def body(self, first: int = 0, last: int | None = None) -> Iterator[bytes]:
        """The bytes, or those from `first` to `last` where the size is known.

        Raises `LeaseLost` when the stream is deleted, and whatever keeps it from being complete: never a silent end.
        """
        if self._format.encode is not None:
            yield from self._format.encode(self._blocks())
            return
        length = (self.size_bytes or 0) - first if last is None else last - first + 1
        for piece in self._pieces:
            here = min(max(piece.size - first, 0), length)
            if here:
                yield from self._whole(piece.octets(first, here), here)
            first, length = max(first - piece.size, 0), length - here

    def _blocks(self) -> Iterator[Block]:
        for piece in self._pieces:
            count = 0
            for block in self._while_leased(piece.blocks()):
                count += len(block)
                yield block
            _check_complete(count, piece.packets)

    def _whole(self, chunks: Iterator[bytes | memoryview], size: int) -> Iterator[bytes]:
        sent = 0
        for chunk in self._while_leased(chunks, _LOOK_SECONDS):
            sent += len(chunk)
            yield bytes(chunk)
        _check_complete(sent, size)


class Downloads:
    """Makes URLs of ranges of packets, and sends what they name."""

    def __init__(
        self,
        objects: ObjectStore,
        catalogue: StreamCatalogue,
        shelf: Shelf,
        leases: Leases,
        keyring: Keyring,
        settings: StreamSettings,
    ) -> None:
        self._objects, self._catalogue, self._shelf = objects, catalogue, shelf
        self._leases, self._keyring, self._settings = leases, keyring, settings
        self._slots = Slots(settings.downloads_at_once, "Too many downloads are under way; repeat it later")

    def locate(self, stream: Stream, start: int, stop: int, format_: str) -> Located:
        """Where the packets that have an index from `start` to `stop` by now can be downloaded, for a while.

        Raises `NotFound` if there is none, `Invalid` if there are too many for the format.
        """
        pieces = self._shelf.pieces(stream, start, stop)
        if not pieces:
            raise NotFound("No packet lies in this range", reason="NO_PACKETS")
        count = sum(piece.packets for piece in pieces)
        if format_ == "zip" and count > _MOST_IN_ZIP:
            raise Invalid(f"There are {count} packets in this range; a zip holds at most {_MOST_IN_ZIP}, ndjson any number")
        first, last = pieces[0].first, pieces[-1].last
        expires = str(int(time.time() + self._settings.url_seconds) + 1)
        query = dict(zip(_SIGNED, (stream.key, str(first), str(last), format_, expires), strict=True))
        url = self._presigned(stream, pieces) if PACKET_FORMATS[format_].encode is None else None
        return Located(url, {**query, "signature": self._signature(query)})

    def open(self, home_id: int, module_id: str, name: str, query: Mapping[str, str]) -> Download:
        """What `locate` said, about to be sent; to be closed. Raises `Forbidden` for any other query, or when its time is over;
        `NotFound` when the stream, or its packets, are gone; `Unavailable` when too many are under way.
        """
        self._check(query)
        stream, format_ = self._catalogue.get(home_id, module_id, name), PACKET_FORMATS[query["format"]]
        # In the same words: the URL of one stream tells nothing of another.
        if stream is None or stream.key != query["stream"]:
            raise NotFound(_NOT_THERE, reason="STREAM_NOT_FOUND")
        start, stop = int(query["start"]), int(query["stop"])
        with ExitStack() as ending:
            ending.enter_context(self._slots)
            # Before the packets are looked for, so that nobody removes them in between.
            lease = self._leases.share(f"{downloads_of(stream.key)}/{start}-{stop}")
            ending.callback(lease.release)
            pieces = self._shelf.pieces(stream, start, stop)
            if not pieces:
                raise NotFound("No packet lies in this range any more", reason="NO_PACKETS")
            names = _names(stream, pieces, query["format"])
            return Download(pieces, format_, names, lease, ending.pop_all())

    def _presigned(self, stream: Stream, pieces: list[Piece]) -> str | None:
        """A URL of the object store's own, if it signs any and the range is one of its objects, which stays."""
        piece = pieces[0]
        if (
            not isinstance(self._objects, SignsUrls)
            or len(pieces) > 1
            or not isinstance(piece, SegmentPiece)
            or not piece.is_whole
            or piece.segment.is_small(self._settings.segment_bytes)
        ):
            return None
        name = f"{object_name(stream, piece.segment.id)}.data"
        return self._objects.signed_url(name, self._settings.url_seconds, _file_name(stream, pieces, "octets"))

    def _signature(self, query: Mapping[str, str]) -> str:
        told = "\n".join(query[name] for name in _SIGNED)
        return hmac.digest(self._keyring.key("downloads"), told.encode(), "sha256").hex()

    def _check(self, query: Mapping[str, str]) -> None:
        given = [query.get(name, "") for name in (*_SIGNED, "signature")]
        wanted = self._signature({name: query.get(name, "") for name in _SIGNED}) if all(given) else ""
        if not wanted or not hmac.compare_digest(wanted.encode(), given[-1].encode(errors="replace")):
            raise Forbidden("The URL is not as it was made; ask the stream's data for a new one", reason="INVALID_SIGNATURE")
        if not _NUMBER.fullmatch(query["expires"]) or int(query["expires"]) < time.time():
            raise Forbidden("The URL's time is over; ask the stream's data for a new one", reason="URL_EXPIRED")


def _names(stream: Stream, pieces: list[Piece], format_: str) -> tuple[str, str]:
    """The file's name and the ETag."""
    told = [stream.key, format_, *((piece.first, piece.last) for piece in (pieces[0], pieces[-1])), pieces[-1].to_us]
    told += [sum(piece.packets for piece in pieces), sum(piece.size for piece in pieces)]
    return _file_name(stream, pieces, format_), hashlib.sha256(repr(told).encode()).hexdigest()[:32]


def _file_name(stream: Stream, pieces: list[Piece], format_: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", stream.name)[:80].strip("._") or "stream"
    return f"{name}_{pieces[0].first}-{pieces[-1].last}.{PACKET_FORMATS[format_].ending}"


def _check_complete(count: int, wanted: int) -> None:
    if count != wanted:
        raise Unavailable("The packets changed while they were sent; repeat the download")
