"""The files of finished datasets: who may still read one, and how it is sent while a forget may come."""

from __future__ import annotations

import logging
import random
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final, Protocol

from backends.ports import NoSuchObject, ObjectStore, SignsUrls
from smarthouse_api.coordination.damage import Problem
from smarthouse_api.coordination.leased_answers import LeasedAnswer, Slots
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.errors import Gone, NotFound, Unavailable
from smarthouse_api.states.jobs.model import Dataset, Request
from smarthouse_api.states.jobs.preparing import Preparing
from smarthouse_api.states.jobs.sums import BLOCK_BYTES, DamagedFile, compared, read_sums
from smarthouse_api.states.jobs.workshop import Workshop, note_of_sending
from smarthouse_api.states.uploads import Uploads

KEPT: Final = "kept-exports"
"""The lease that those share who send a kept file."""

ERASED: Final = "The file is gone, because a home was erased that it may have held; ask for the export again"
EXPIRED: Final = "The file has expired; ask for the export again"
REMOVED: Final = "The file was removed, because no job asks for it any more; ask for the export again"
CROWDED: Final = "The file made room for another client's, since its client had the most; ask for the export again"
FOLLOWED: Final = "The file made room for a newer job of the same client, who had as many as one may; ask for the export again"
DAMAGED: Final = "The file was damaged, and is removed; ask for the export again"
LOST: Final = "The file is gone; ask for the export again"
_BROKEN: Final = "this kept export is damaged or missing; it is made anew once it is asked for"
_OTHER_RULES: Final = "The file was made by other rules of privacy than the service has now; ask for the export again"
_URL_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 0.05
log = logging.getLogger(__name__)

_ID: Final = re.compile("[0-9a-f]{32}", re.ASCII)


class Summed(Protocol):
    """A file that is kept with its checksums, if it has any: two objects."""

    @property
    def file(self) -> str: ...
    @property
    def sums(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def has_sums(self) -> bool: ...


class Blocks:
    """Reads the file of a dataset, or another that is kept in the same way, and gives nothing that is not as it was made.

    damaged: is called once the file is found damaged or missing.
    """

    def __init__(self, objects: ObjectStore, dataset: Summed, damaged: Callable[[], None] = lambda: None) -> None:
        self._objects, self._dataset, self._damaged = objects, dataset, damaged
        self._sums: Sequence[int] | None = None
        """Of its blocks; None for a file of an earlier version."""

    def begin(self) -> None:
        """Read the checksums, and compare the first block. Raises `Gone` if something is damaged or missing."""
        try:
            if self._dataset.has_sums:
                self._sums = read_sums(self._objects.get(self._dataset.sums), self._dataset.size_bytes)
            deque(self._read(0, min(1, self._dataset.size_bytes)), maxlen=0)
        except (NoSuchObject, DamagedFile) as fault:
            self._damaged()
            raise Gone(LOST if isinstance(fault, NoSuchObject) else DAMAGED) from None

    def read(self, first: int, end: int) -> Iterator[bytes]:
        """Read the bytes from `first` until before `end`. Raises `Gone`, and `Unavailable` for what is not whole."""
        left = end - first
        try:
            for chunk in self._read(first, end):
                left -= len(chunk)
                yield chunk
            if left:
                raise DamagedFile
        except NoSuchObject:
            self._damaged()
            raise Gone(LOST) from None
        except DamagedFile:
            self._damaged()
            raise Unavailable(DAMAGED) from None

    def _read(self, first: int, end: int) -> Iterator[bytes]:
        """Read some bytes, and as much around them as their checksums are of."""
        begin, last = first, end
        if self._sums is not None:
            begin, last = first - first % BLOCK_BYTES, min(-(-end // BLOCK_BYTES) * BLOCK_BYTES, self._dataset.size_bytes)
        chunks: Iterator[bytes] = self._objects.stream(self._dataset.file, begin, last - begin, chunk_bytes=256 << 10)
        if self._sums is not None:
            chunks = compared(chunks, self._sums[begin // BLOCK_BYTES :])
        skipped, left = first - begin, end - first
        for chunk in chunks:
            part = chunk[skipped : skipped + left]
            skipped, left = 0, left - len(part)
            yield part


class KeptFile(LeasedAnswer):
    """Sends the file of a dataset, or a part of it. Until it is closed, a forget waits for it for a while, and then ends it."""

    def __init__(self, blocks: Blocks, dataset: Dataset, lease: Lease, ending: ExitStack) -> None:
        super().__init__(lease, ending)
        self._blocks = blocks
        self.size_bytes, self.etag, self.rows = dataset.size_bytes, dataset.version, dataset.rows
        self.version, self.first_us, self.last_us = dataset.version, dataset.first_us, dataset.last_us
        self.file_name, self.media_type, self.incomplete = dataset.file_name, dataset.media_type, dataset.incomplete
        self.since_note, self.is_whole, self.request = dataset.since_note, False, dataset.request

    def body(self, first: int = 0, last: int | None = None) -> Iterator[bytes]:
        """Return the bytes from `first` to `last`. Raises `LeaseLost`, `Gone`, and `Unavailable` for what is not whole."""
        end = self.size_bytes if last is None else last + 1
        yield from self._while_leased(self._blocks.read(first, end), _LOOK_SECONDS)
        self.is_whole = True


class KeptFiles:
    """Opens the files of datasets, and finds one that answers a question."""

    def __init__(self, shop: Workshop, preparing: Preparing, uploads: Uploads) -> None:
        self._shop, self._preparing, self._uploads = shop, preparing, uploads
        at_once = shop.export_settings.at_once
        self._slots = Slots(at_once, "This worker sends as many files as it can at once; ask again")

    def open(self, version: str) -> KeptFile | None:
        """Open the file of a dataset; None if it has no rows. Raises `NotFound`, and `Gone` with the reason."""
        dataset = self.usable(version)
        if not dataset.rows:
            return None
        with ExitStack() as ending:
            ending.enter_context(self._slots)
            lease = self._shop.leases.share(KEPT)
            ending.callback(lease.release)
            lease.tell(note_of_sending(dataset))
            dataset = self.usable(version)  # under the lease, which a forget breaks before the file goes
            blocks = Blocks(self._shop.objects, dataset, partial(self._drop, version))
            blocks.begin()
            return KeptFile(blocks, dataset, lease, ending.pop_all())

    def _drop(self, version: str) -> None:
        """Remove a file that is damaged or missing, so that the same question has it made anew."""
        known = self._shop.book.known(version)
        if known is not None and known.dataset.state == "done" and self._shop.book.bury(known, "expired", DAMAGED):
            log.warning("a kept export is damaged or missing, and is made anew once it is asked for: %s", known.dataset.file)
            self._shop.remove(known.dataset)

    def verify(self, share: float) -> Iterator[Problem]:
        """Look for the files of all datasets, and read a share of them, from 0 to 1."""
        for known in list(self._shop.book.datasets()):
            dataset = known.dataset
            if dataset.state != "done" or not dataset.rows:
                continue
            blocks = Blocks(self._shop.objects, dataset)
            try:
                blocks.begin()
                if random.random() < share:  # noqa: S311
                    deque(blocks.read(0, dataset.size_bytes), maxlen=0)
            except (Gone, Unavailable):
                if self._shop.book.known(dataset.version) is not None:  # nobody has removed it meanwhile
                    yield Problem("objects", dataset.file, None, _BROKEN)

    def signed_url(self, version: str) -> str | None:
        """Make a URL of the object store's own for the file of a dataset; None if it makes none."""
        if not isinstance(self._shop.objects, SignsUrls):
            return None
        dataset = self.usable(version)
        return self._shop.objects.signed_url(dataset.file, _URL_SECONDS, dataset.file_name)

    def equal(self, request: Request) -> KeptFile | None:
        """Open a file that is kept and holds what the same request would be answered with now; None if there is none."""
        version, _ = self._shop.book.equal(self._preparing.question(request))
        known = None if version is None else self._shop.book.known(version)
        if known is None or known.dataset.state != "done" or not known.dataset.rows:
            return None
        if request.fresh and self._uploads.queue.read(limit=1):
            return None
        dataset, filters = known.dataset, request.filters.kept(self._shop.table.first_kept_day())
        if dataset.filters != filters:
            return None
        needed = filters if request.aggregation is None else request.aggregation.widened(filters)
        found = self._shop.exports.missing(needed, request.aggregation)
        incomplete = "; ".join(filter(None, (found, self._shop.rebuilding.lacking(needed.span[0])))) or None
        newest = self._shop.table.open(), self._shop.exports.newest_statistics(request.aggregation)
        if not self._preparing.is_current(dataset, *newest, self._shop.hidden(), incomplete):
            return None
        try:
            return self.open(dataset.version)
        except (NotFound, Gone, Unavailable):
            return None

    def usable(self, version: str) -> Dataset:
        """Find a dataset whose file may be read. Raises `NotFound`, and `Gone` with the reason."""
        dataset = self._shop.book.dataset(version) if _ID.fullmatch(version) else None
        if dataset is None or dataset.state in ("making", "failed"):
            raise NotFound("There is no such version of a dataset, or not any more")
        self.check(dataset)
        return dataset

    def check(self, dataset: Dataset) -> None:
        """Check that the file of a dataset may be read. Raises `Gone`."""
        if dataset.state != "done":
            raise Gone(dataset.told or EXPIRED)
        if (dataset.expires_at or 0.0) <= self._shop.state.now():
            raise Gone(EXPIRED)
        if dataset.request.rules != self._shop.rules:
            raise Gone(_OTHER_RULES)
        if self._shop.may_hold(dataset, self._shop.homes.hidden()):
            raise Gone(ERASED)
