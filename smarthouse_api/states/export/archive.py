"""A zip that is made while it is read: in bounded memory, with a prompt first byte. After a fault, the zip has no end."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from isal import isal_zlib
from stream_zip import ZIP_64, stream_zip

from smarthouse_api.arrow.read_ahead import read_ahead

MODE: Final = 0o100644


@dataclass(frozen=True, slots=True)
class Member:
    """Gives the zip one file to contain. packed: its bytes are compressed already and are only stored."""

    name: str
    chunks: Iterable[bytes]
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

    modified_at: with a time zone. The zip may have any size: Info-ZIP 6, Python, 7-Zip and Windows since Vista read it.
    """
    packed = False

    # stream_zip asks for a compressor at the start of each member, in turn.
    def compressor() -> Any:
        return zlib.compressobj(level=0, wbits=-zlib.MAX_WBITS) if packed else isal_zlib.compressobj(level=1, wbits=-15)

    with ExitStack() as running:

        def entries() -> Iterator[tuple[str, datetime, int, Any, Iterable[bytes]]]:
            nonlocal packed
            written: list[Written] = []
            for member in members:
                packed = member.packed
                chunks = running.enter_context(closing(read_ahead(member.chunks)))
                yield member.name, modified_at, MODE, ZIP_64, _noted(member.name, chunks, written) if trailer else chunks
            for member in trailer(written) if trailer else ():
                packed = member.packed
                yield member.name, modified_at, MODE, ZIP_64, member.chunks

        yield from stream_zip(entries(), get_compressobj=compressor)


def _noted(name: str, chunks: Iterable[bytes], written: list[Written]) -> Iterator[bytes]:
    size, digest = 0, hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        digest.update(chunk)
        yield chunk
    written.append(Written(name, size, digest.hexdigest()))
