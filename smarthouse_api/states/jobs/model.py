"""Jobs and datasets: what clients ask for, and what is made for them. How both are kept in the state store, space `jobs`:

    job/<id>               what one client asked for; it names its dataset once that is known
    todo/<time>/<id>       a job that is not done, by the time at which it was asked for: whose it is
    dataset/<version>      a file that is made or kept, for one job, or for several that ask the same
    gone/<version>         the same, once the file is no longer kept, or could not be made
    part/<version>/<n>     a part that is made already
    plan/<version>         the days of its parts
    told/<version>         a digest of what its parts have in common, and tell: their columns, and the days of increments
    progress/<version>     how far its maker is
    homes/<version>        which homes have rows in its file, see `homes_in_files`
    writing/<version>/<n>  what stops an engine of its own that writes a part of it, as long as it may do that
    equal/<digest>         the newest dataset for a question, by all that decides the answer except the lake
    turn                   is changed by each adding of a job, so that no limit is passed
    reply/<digest>         see `smarthouse_api.coordination.idempotency`

In the object store: `jobs/<version>/<format>/<n>`, a part in one format, `jobs/<version>/zip`, the file, also a bare one, and
`jobs/<version>/sums`, its checksums. Once parts were given up, the names of what is made later end in `-<turn>`. While an
engine of its own makes a dataset, its files lie in the place of a table, `parts/<version>`: see `engine_files`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Final

import msgspec

from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.lake.snapshot_marks import SnapshotMark
from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.query import Filters

SPACE: Final = "jobs"
PREFIX: Final = "jobs/"
"""How the names of objects begin. No backup holds them."""

ENDED_SECONDS: Final = 3600.0
"""How long a job is remembered that was cancelled or failed without a dataset."""


class Request(msgspec.Struct, frozen=True):
    """Says which dataset a client wants: the same as a download's parameters.

    rules: a digest of the rules of privacy by which it was asked for. aggregation: if it is to hold aggregates. is_bare: the
    file is the one format that is asked for, and no zip. since: the version that `filters.after` stands for.
    """

    filters: Filters
    formats: tuple[str, ...]
    metadata: bool = True
    fresh: bool = True
    rules: str = ""
    aggregation: Aggregation | None = None
    is_bare: bool = False
    since: str | None = None

    def parameters(self) -> Iterator[tuple[str, str]]:
        """Give what was asked for as the parameters of a download, each value by itself."""
        asked = self.filters
        yield from (("formats", name) for name in self.formats)
        yield from ((name, str(day)) for name, day in (("date_from", asked.since), ("date_to", asked.until)) if day is not None)
        for name in ("types", "units", "device_classes", "homes", "entities"):
            yield from ((name, value) for value in getattr(asked, name))
        if self.aggregation is not None:
            yield "every", self.aggregation.every
        if self.since is not None:
            yield "since", self.since


class Job(msgspec.Struct, frozen=True):
    """Remembers what one client asked for.

    owner: whose it is, by a keyed hash or a key's id. at: when it was asked for, in seconds since 1970. ended: `cancelled` or
    `failed`, if the job itself ended so. told: in words, why it failed, also if it is tried again. anew: in words, why it was
    begun anew. faults: how often it failed in a row. retry_at: it is not tried again before this time.
    """

    id: str
    owner: str
    request: Request
    at: float
    dataset: str | None = None
    ended: str | None = None
    told: str | None = None
    anew: str | None = None
    faults: int = 0
    retry_at: float = 0.0


class Dataset(msgspec.Struct, frozen=True):
    """Describes one file, while it is made, kept, and for some time after.

    version: its name. jobs: the ids of those that ask for it, and whose each is. mark: the snapshot whose rows it has.
    filters: as they were made ready. excluded: digests of the homes that were hidden when it was begun. state: `making`,
    `done`, `failed`, `expired` or `forgotten`.
    made_by: the version of the program. rows_in_all: None if that is not known yet. size_bytes: of the file. secret: of its
    pseudonyms, while they are its own. first_us, last_us: the times of its rows. told: in words, why it failed or is gone.
    entered: the largest number with which rows entered its snapshot. since_note: what has changed since an earlier version.
    has_sums: there are checksums of its file.
    statistics_mark: the snapshot of statistics, if it has any. knows_homes: it is noted which homes have rows in its file.
    turn: how often parts were given up, because they might have held a home that was forgotten; kept: the numbers of those
    parts of earlier turns that stay.
    """

    version: str
    question: str
    jobs: tuple[tuple[str, str], ...]
    request: Request
    filters: Filters
    mark: SnapshotMark | None
    excluded: tuple[str, ...]
    at: float
    made_by: str
    state: str = "making"
    rows_in_all: int | None = None
    incomplete: str | None = None
    secret: str = ""
    rows: int = 0
    size_bytes: int = 0
    first_us: int | None = None
    last_us: int | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    told: str | None = None
    entered: int | None = None
    since_note: str | None = None
    has_sums: bool = False
    statistics_mark: SnapshotMark | None = None
    turn: int = 0
    kept: tuple[int, ...] = ()
    knows_homes: bool = False

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return f"smarthouse_extract_{datetime.fromtimestamp(self.at, UTC):%Y-%m-%d}"

    @property
    def file_name(self) -> str:
        """What a client saves its file as."""
        return f"{self.stem}.{self.request.formats[0] if self.request.is_bare else 'zip'}"

    @property
    def media_type(self) -> str:
        """The media type of its file."""
        return FORMATS[self.request.formats[0]].media_type if self.request.is_bare else "application/zip"

    @property
    def folder(self) -> str:
        """How the names of its objects begin."""
        return f"{PREFIX}{self.version}/"

    @property
    def file(self) -> str:
        """The object that is its file."""
        return f"{self.folder}zip{_of_turn(self.turn)}"

    @property
    def sums(self) -> str:
        """The object that holds the checksums of its file."""
        return f"{self.folder}sums{_of_turn(self.turn)}"

    @property
    def is_resumable(self) -> bool:
        """Tell whether its other parts stay when some are given up: none depends on the rows of other days.

        Nobody knows what entered the lake when of statistics. Columns, and the days that increments name, may tell of any home:
        these parts stay only while both are the same without it, see `plan`.
        """
        asked = self.request.aggregation
        is_by_days = asked is None or not asked.has_statistics
        return is_by_days and self.mark is not None and self.entered is not None

    @property
    def span(self) -> tuple[date, date]:
        """The days whose rows it depends on."""
        return self.needed(self.filters).span

    def needed(self, filters: Filters) -> Filters:
        """Widen filters to all rows that what is wanted depends on."""
        return filters if self.request.aggregation is None else self.request.aggregation.widened(filters)

    def part(self, format_: str, number: int, turn: int) -> str:
        """Name the object of one part in one format."""
        return f"{self.folder}{format_}/{number:06d}{_of_turn(turn)}"

    def objects_of(self, number: int, part: Part) -> list[str]:
        """Name the objects of a part that is made."""
        return [self.part(format_, number, part.turn) for format_ in self.request.formats]

    def has_part(self, number: int, part: Part) -> bool:
        """Tell whether a part that is made was not given up since."""
        return part.turn == self.turn or number in self.kept


def turn_of(name: str) -> int:
    """Tell in which turn of its dataset an object was made. name: of the object."""
    turn = name.rpartition("/")[2].partition("-")[2]
    return int(turn) if turn else 0


def _of_turn(turn: int) -> str:
    return f"-{turn}" if turn else ""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Tells of a part that is made. days: the first and the last one, so that nothing but the same plan goes on with it.

    sizes: of its objects, by format; none without rows. first_us, last_us: the times of its rows. sums: CRC-32 of its objects.
    turn: of the dataset, when it was made. has_homes: it is noted which homes have rows in it.
    """

    days: tuple[str, str]
    rows: int
    sizes: tuple[int, ...]
    first_us: int | None
    last_us: int | None
    sums: tuple[int, ...] = ()
    turn: int = 0
    has_homes: bool = False


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """Tells how far a dataset is: rows and bytes that were made, and how many parts of how many."""

    rows: int = 0
    bytes: int = 0
    parts: int = 0
    parts_in_all: int = 0


read_job = msgspec.json.Decoder(Job).decode
read_dataset = msgspec.json.Decoder(Dataset).decode
read_part = msgspec.json.Decoder(Part).decode
read_plan = msgspec.json.Decoder(tuple[tuple[date, date], ...]).decode
read_progress = msgspec.json.Decoder(Progress).decode
encode = msgspec.json.Encoder().encode
