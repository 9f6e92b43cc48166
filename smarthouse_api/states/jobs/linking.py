"""The file of a dataset: the zip that is put together of the parts, and of the documents about them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from backends.ports import NoSuchObject, ObjectStore
from config.groups import ExportSettings
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.arrow.read_ahead import read_ahead
from smarthouse_api.arrow.times import time_of
from smarthouse_api.arrow.zip_stream import Piece, ZipMember, zip_stream
from smarthouse_api.states.export.aggregating import Spans
from smarthouse_api.states.export.archive import Written
from smarthouse_api.states.export.citation import citation_file
from smarthouse_api.states.export.columns import COLUMNS, Column
from smarthouse_api.states.export.documents import documents
from smarthouse_api.states.export.metadata import Extract, Since
from smarthouse_api.states.export.shapes import Shape
from smarthouse_api.states.jobs.encoding import LostPart, file_of
from smarthouse_api.states.jobs.model import Dataset, Part
from smarthouse_api.states.jobs.sums import Summing

_CHUNK_BYTES = 64 << 10
_READ_AHEAD_BYTES = 4 << 20


def extract_of(
    dataset: Dataset,
    settings: ExportSettings,
    columns: Mapping[str, Column] = COLUMNS,
    spans: Spans = (),
    *,
    is_open: bool,
    consents: Mapping[str, int] | None = None,
) -> Extract:
    """Give the documents the facts about a dataset. columns: of its rows. spans: of the days that are made, if not all are.
    is_open: anyone may download exports. consents: homes by the terms that they agreed to.
    """
    first, last = (None if at is None else time_of(at) for at in (dataset.first_us, dataset.last_us))
    return Extract(
        id=dataset.version,
        generated_at=datetime.fromtimestamp(dataset.at, UTC),
        rows=dataset.rows,
        filters=dataset.filters,
        settings=settings,
        is_open=is_open,
        first=first,
        last=last,
        incomplete=dataset.incomplete,
        aggregation=dataset.request.aggregation,
        columns=columns,
        since=None if dataset.request.since is None else Since(dataset.request.since, dataset.since_note, spans),
        consents=consents or {},
        is_kept=True,
    )


def linked(
    objects: ObjectStore, dataset: Dataset, parts: Iterable[Part], extract: Callable[[], Extract], shape: Shape
) -> Generator[bytes]:
    """Make the file. Parts are read ahead in a thread, until the iterator is closed. Raises `LostPart`.

    parts: in their order, again for each format; they may still be made. extract: is called once the rows are in the file.
    """
    if dataset.request.is_bare:
        return _bare(objects, dataset, parts, shape)
    return zip_stream(_members(objects, dataset, parts, extract, shape))


def _members(
    objects: ObjectStore, dataset: Dataset, parts: Iterable[Part], extract: Callable[[], Extract], shape: Shape
) -> Iterator[ZipMember]:
    written, made_at = list[Written](), datetime.fromtimestamp(dataset.at, UTC)
    for place, name in enumerate(dataset.request.formats):
        chunks = _file(objects, dataset, parts, place, shape)
        file_name = f"{dataset.stem}.{name}"
        yield ZipMember(file_name, made_at, _noted(file_name, chunks, written), FORMATS[name].packed)
    if dataset.request.metadata:
        told = extract()
        for member in documents(told, written, dataset.stem):
            yield ZipMember(member.name, made_at, member.chunks)
        yield ZipMember("CITATION.cff", made_at, [citation_file(told)])


def _bare(objects: ObjectStore, dataset: Dataset, parts: Iterable[Part], shape: Shape) -> Generator[bytes]:
    for chunk in _file(objects, dataset, parts, 0, shape):
        yield bytes(chunk.plain) if isinstance(chunk, Piece) else chunk


def _file(objects: ObjectStore, dataset: Dataset, parts: Iterable[Part], place: int, shape: Shape) -> Generator[bytes | Piece]:
    """Put the file of one format together. place: of the format among those that are asked for."""
    name = dataset.request.formats[place]

    def read(number: int, part: Part) -> Iterator[bytes]:
        sum_ = part.sums[place] if part.sums else None
        return _whole(objects, dataset.part(name, number, part.turn), part.sizes[place], sum_)

    with_rows = (read(number, part) for number, part in enumerate(parts) if part.rows)
    chunks: Iterator[bytes | Piece] = file_of(FORMATS[name], shape.source, with_rows)
    return read_ahead(chunks, _READ_AHEAD_BYTES, _size)


def _size(chunk: bytes | Piece) -> int:
    return len(chunk.plain if isinstance(chunk, Piece) else chunk)


def _whole(objects: ObjectStore, name: str, size: int, crc: int | None) -> Iterator[bytes]:
    """Read an object to its end. Raises `LostPart` if it is not of its size, or its bytes are not those that were put."""
    found, summing = 0, Summing()
    try:
        for chunk in summing.passing(objects.stream(name, chunk_bytes=_CHUNK_BYTES)):
            found += len(chunk)
            yield chunk
    except NoSuchObject:
        raise LostPart from None
    if found != size or crc not in (None, summing.whole):
        raise LostPart


def _noted(name: str, chunks: Iterator[bytes | Piece], written: list[Written]) -> Iterator[bytes | Piece]:
    size, digest = 0, hashlib.sha256()
    for chunk in chunks:
        plain = chunk.plain if isinstance(chunk, Piece) else chunk
        size += len(plain)
        digest.update(plain)
        yield chunk
    written.append(Written(name, size, digest.hexdigest()))
