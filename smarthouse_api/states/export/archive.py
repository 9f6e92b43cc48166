"""A zip that is made while it is read: in bounded memory, with a prompt first byte. After a fault, the zip has no end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime

from smarthouse_api.arrow.lines import Chunk
from smarthouse_api.arrow.read_ahead import read_ahead
from smarthouse_api.arrow.zip_stream import ZipMember, zip_stream


@dataclass(frozen=True, slots=True)
class Member:
    """Gives the zip one file to contain. packed: its bytes are compressed already and are only stored."""

    name: str
    chunks: Iterable[Chunk]
    packed: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """Tells the documents about an export which file the zip contains.

    size: bytes before compression. sha256: of those bytes, in hexadecimal.
    """

    name: str
    size: int
    sha256: str


def archive(
    members: Iterable[Member],
    *,
    modified_at: datetime,
    trailer: Callable[[list[Written]], Iterable[Member]] | None = None,
) -> Generator[bytes]:
    """Make a zip while it is read: these members, then those that `trailer` makes of what was written.

    Producing a member runs in a thread of its own, ahead of the deflating. A fault in a member or in the trailer is raised
    here, before the zip's directory: no reader takes what came out for a whole zip. Closing the iterator stops the thread.

    modified_at: with a time zone.
    """
    with ExitStack() as running:

        def entries() -> Iterator[ZipMember]:
            written: list[Written] = []
            for member in members:
                chunks = running.enter_context(closing(read_ahead(member.chunks)))
                noted = _noted(member.name, chunks, written) if trailer else chunks
                yield ZipMember(member.name, modified_at, noted, member.packed)
            for member in trailer(written) if trailer else ():
                yield ZipMember(member.name, modified_at, member.chunks, member.packed)

        yield from zip_stream(entries())


def _noted(name: str, chunks: Iterable[Chunk], written: list[Written]) -> Iterator[Chunk]:
    size, digest = 0, hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        digest.update(chunk)
        yield chunk
    written.append(Written(name, size, digest.hexdigest()))
