"""Downloads: a signed URL lets its bearer download one range of one stream until the URL expires."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from backends.ports import StateStore
from config.groups import StreamSettings
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.leased_answers import LeasedAnswer, Slots
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.errors import Invalid, NotFound, Unavailable
from smarthouse_api.streams.catalogue import StreamCatalogue
from smarthouse_api.streams.model import Stream
from smarthouse_api.streams.packet_encoding import Block
from smarthouse_api.streams.packet_formats import PACKET_FORMATS, PacketFormat
from smarthouse_api.streams.reading import PacketRange, PacketReader, SegmentRange
from smarthouse_api.streams.sessions import downloads_of
from smarthouse_api.streams.signed_urls import UrlSigner

_LOOK_SECONDS: Final = 0.05
_MOST_IN_ZIP: Final = 200_000
"""Packets in one zip. Its directory stays in memory until its end, at some 300 bytes for each packet."""

_SIGNED: Final = ("stream", "start", "stop", "format")


@dataclass(frozen=True, slots=True)
class DownloadLocation:
    """Tells a client where to download a range: at the object store's own `url`, or else at the service's with `query`."""

    url: str | None
    query: dict[str, str]


class Download(LeasedAnswer):
    """Sends a range of packets to a client. Until it is closed, the packets are not removed.

    etag: the same for the same bytes. size_bytes: None if it is not known before the end.
    """

    def __init__(
        self, ranges: list[PacketRange], format_: PacketFormat, names: tuple[str, str], lease: Lease, ending: ExitStack
    ) -> None:
        super().__init__(lease, ending)
        self.content_type, self.file_name, self.etag = format_.content_type, *names
        self.size_bytes = sum(one.size for one in ranges) if format_.encode is None else None
        self._ranges, self._format = ranges, format_

    def body(self, first: int = 0, last: int | None = None) -> Iterator[bytes]:
        """Return the bytes; those from `first` to `last` if the size is known.

        Raises `LeaseLost` when the stream is deleted, and `Unavailable` or `StoreError` for any other incomplete download.
        """
        if self._format.encode is not None:
            yield from self._format.encode(self._blocks())
            return
        length = (self.size_bytes or 0) - first if last is None else last - first + 1
        for one in self._ranges:
            here = min(max(one.size - first, 0), length)
            if here:
                yield from self._octets(one.octets(first, here), here)
            first, length = max(first - one.size, 0), length - here

    def _blocks(self) -> Iterator[Block]:
        for one in self._ranges:
            count = 0
            for block in self._while_leased(one.blocks()):
                count += len(block)
                yield block
            _check_complete(count, one.packets)

    def _octets(self, chunks: Iterator[bytes | memoryview], size: int) -> Iterator[bytes]:
        sent = 0
        for chunk in self._while_leased(chunks, _LOOK_SECONDS):
            sent += len(chunk)
            yield bytes(chunk)
        _check_complete(sent, size)


class Downloads:
    """Makes signed URLs for ranges of packets, and opens the downloads that the URLs name."""

    def __init__(
        self,
        state: StateStore,
        catalogue: StreamCatalogue,
        reader: PacketReader,
        leases: Leases,
        keyring: Keyring,
        settings: StreamSettings,
    ) -> None:
        self._catalogue, self._reader, self._leases = catalogue, reader, leases
        self._signer, self._settings = UrlSigner(state, keyring, "downloads", *_SIGNED), settings
        self._slots = Slots(settings.downloads_at_once, "Too many downloads are under way; repeat it later")

    def locate(self, stream: Stream, start: int, stop: int, format_: str) -> DownloadLocation:
        """Make a URL for the packets that now have an index from `start` to `stop`.

        Raises `NotFound` if there is no packet, `Invalid` if there are too many for the format.
        """
        ranges = self._reader.ranges(stream, start, stop)
        if not ranges:
            raise NotFound("No packet lies in this range", reason="NO_PACKETS")
        count = sum(one.packets for one in ranges)
        if format_ == "zip" and count > _MOST_IN_ZIP:
            raise Invalid(f"There are {count} packets in this range; a zip holds at most {_MOST_IN_ZIP}, ndjson any number")
        first, last = ranges[0].first, ranges[-1].last
        query = dict(zip(_SIGNED, (stream.key, str(first), str(last), format_), strict=True))
        url = self._presigned(stream, ranges) if PACKET_FORMATS[format_].encode is None else None
        return DownloadLocation(url, self._signer.signed(query, self._settings.url_seconds))

    def open(self, home_id: int, module_id: str, name: str, query: Mapping[str, str]) -> Download:
        """Open the download that `locate` gave this query for. The caller closes it.

        Raises `Forbidden` for any other query and an expired one; `NotFound` when the stream or its packets are gone;
        `Unavailable` when too many downloads are under way.
        """
        self._signer.check(query)
        stream = self._catalogue.get(home_id, module_id, name)
        # One message for both: the URL of one stream tells nothing of another.
        if stream is None or stream.key != query["stream"]:
            raise NotFound("The stream of this URL does not exist, or not any more", reason="STREAM_NOT_FOUND")
        start, stop = int(query["start"]), int(query["stop"])
        with ExitStack() as ending:
            ending.enter_context(self._slots)
            # Before the packets are looked for, so that nobody removes them in between.
            lease = self._leases.share(f"{downloads_of(stream.key)}/{start}-{stop}")
            ending.callback(lease.release)
            ranges = self._reader.ranges(stream, start, stop)
            if not ranges:
                raise NotFound("No packet lies in this range any more", reason="NO_PACKETS")
            names = _names(stream, ranges, query["format"])
            return Download(ranges, PACKET_FORMATS[query["format"]], names, lease, ending.pop_all())

    def _presigned(self, stream: Stream, ranges: list[PacketRange]) -> str | None:
        """A URL of the object store's own, if it signs URLs and the range is one whole segment that will not be merged."""
        one, *others = ranges
        if others or not isinstance(one, SegmentRange) or not one.is_whole:
            return None
        if one.segment.is_small(self._settings.segment_bytes):
            return None
        return one.store.signed_url(stream, one.segment, self._settings.url_seconds, _file_name(stream, ranges, "octets"))


def _names(stream: Stream, ranges: list[PacketRange], format_: str) -> tuple[str, str]:
    """The file's name and the ETag."""
    told = [stream.key, format_, *((one.first, one.last) for one in (ranges[0], ranges[-1])), ranges[-1].to_us]
    told += [sum(one.packets for one in ranges), sum(one.size for one in ranges)]
    return _file_name(stream, ranges, format_), hashlib.sha256(repr(told).encode()).hexdigest()[:32]


def _file_name(stream: Stream, ranges: list[PacketRange], format_: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", stream.name)[:80].strip("._") or "stream"
    return f"{name}_{ranges[0].first}-{ranges[-1].last}.{PACKET_FORMATS[format_].ending}"


def _check_complete(count: int, wanted: int) -> None:
    if count != wanted:
        raise Unavailable("The packets changed while they were sent; repeat the download")
