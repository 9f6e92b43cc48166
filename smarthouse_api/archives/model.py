"""Archives: a zip of all that is held about a home, made when its owner asks, and kept for a while.

In the state store, in the space of the homes, because making one depends on its home, and forgetting the home ends it:

    archive/<name>      the archive that is kept

name: the home's internal key; for a UUID that only streams are linked with, a digest of its tag. In the object store:
`archives/<name>/<version>`, the file, and `archives/<name>/<version>.sums`, its checksums. No backup has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.states.homes import Home
from smarthouse_api.streams.model import Stream

PREFIX: Final = "archives/"
KEPT: Final = "archive/"


class Kept(msgspec.Struct, frozen=True):
    """Describes an archive that is kept.

    tag: of the home's UUID. proof: a digest of the documents that the archive depends on. mark: names what was held when it was
    made. at, made_at, expires_at: when its making began and ended, and until when it is kept, in seconds since 1970. replaces:
    whether another one was kept when it was made. owner: the client that had it made, so that nobody can tell its address.
    """

    name: str
    tag: str
    proof: str
    version: str
    mark: str
    size_bytes: int
    at: float
    expires_at: float
    replaces: bool = False
    made_at: float = 0.0
    owner: str = ""

    has_sums = True

    @property
    def file(self) -> str:
        """The object that is its file."""
        return f"{PREFIX}{self.name}/{self.version}"

    @property
    def sums(self) -> str:
        """The object that holds the checksums of its file."""
        return f"{self.file}.sums"


encode, read_kept = msgspec.json.Encoder().encode, msgspec.json.Decoder(Kept).decode


@dataclass(frozen=True)
class Holder:
    """Says whose archive it is: a home that uploads, streams that are linked with its UUID, or both.

    proof: documents and their versions, which change when the home is forgotten or a link is undone.
    """

    tag: str
    home: Home | None
    streams: tuple[Stream, ...]
    proof: dict[str, int]

    @property
    def name(self) -> str:
        """What its archive is kept under."""
        return name_of(self.tag) if self.home is None else self.home.key


def proof_of(documents: dict[str, int]) -> str:
    """Digest what an archive depends on."""
    return digest_of(repr(sorted(documents.items())))


def name_of(tag: str) -> str:
    """Name the archive of a UUID that only streams are linked with. tag: of the UUID."""
    return digest_of(f"archive/{tag}")[:32]
