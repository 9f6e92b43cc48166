"""The shape of a report on an installation: all that an operator asks. It names no home."""

from __future__ import annotations

from datetime import date

import msgspec

from smarthouse_api.coordination.milestones import Milestone
from smarthouse_api.coordination.presence import ProcessNote
from smarthouse_api.status.census import Census
from smarthouse_api.status.faults import Fault


class Readiness(msgspec.Struct, frozen=True):
    """Tells whether the installation can be served, and the condition of each thing that it depends on, in words."""

    ready: bool
    conditions: dict[str, str]


class Table(msgspec.Struct, frozen=True):
    """Tells the size of a table of the lake. bytes: of its present files. dropped: how many rows were dropped for their age.

    oldest: the first day by which rows are filed, except those whose time cannot be right.
    """

    rows: int
    files: int
    bytes: int
    version: int
    oldest: date | None = None
    dropped: int = 0


class Waiting(msgspec.Struct, frozen=True):
    """Counts what waits for a housekeeper, and tells since when the oldest does, in seconds since 1970.

    uploads: for the lake. topics: of collections, with entries that the lake does not hold. erasing: forgotten homes.
    erasing_streams, erasing_collections: deleted ones whose bytes are not removed yet. scrubs: 1 while the state's files may
    hold bytes of what was erased. repairs: of the lake.
    """

    uploads: int
    uploads_since: float | None
    topics: int
    erasing: int
    erasing_since: float | None
    erasing_streams: int
    erasing_collections: int
    scrubs: int
    repairs: int


class Erasures(msgspec.Struct, frozen=True):
    """Tells how long owners of homes wait, in seconds: for the answer of a deletion, and until a receipt says `erased`.

    Both grow for a day after a slow erasure. least_receipt_seconds: without one. are_receipts_awaited: whether a receipt was
    given whose home is not known to be erased yet.
    """

    answer_seconds: float
    receipt_seconds: float
    least_receipt_seconds: float
    are_receipts_awaited: bool


class Homes(msgspec.Struct, frozen=True):
    """Counts homes that upload: those that are known, and of these the ones whose last upload came within a day or a week.

    silent: known ones that uploaded last over a week ago. Of a home of an earlier version, the last upload may not be known.
    """

    known: int
    active_day: int
    active_week: int
    silent: int


class RawUploads(msgspec.Struct, frozen=True):
    """Counts the uploads that are kept raw, and those that have expired since the installation began.

    received: all that ever came, with their bytes and the records in them: kept, expired, or erased with their home.
    """

    kept: int
    bytes: int
    expired: int
    expired_bytes: int
    received: int = 0
    received_bytes: int = 0
    received_records: int = 0


class Jobs(msgspec.Struct, frozen=True):
    """Counts export jobs: those that wait, those that run, and the files that are kept, with their bytes."""

    waiting: int
    running: int
    kept: int
    bytes: int


class Quota(msgspec.Struct, frozen=True):
    """Tells how many bytes are kept of what a quota bounds, and how many it allows; None: any number."""

    used: int
    most: int | None


class Report(msgspec.Struct, frozen=True):
    """Reports on one installation at one time, in seconds since 1970.

    free_bytes: the room that each store has; None if the store does not tell. state_bytes: as it is now; `Census.state_bytes`
    is what it was when the objects were counted. unreadable: tables of the lake that are damaged. quotas: by what they bound:
    `uploads` of all homes, those of the `home` that has the most, `records` of all collections, and those of the `collection`
    that has the most. logged: how many warnings and errors were logged of the kinds that are kept.
    """

    at: float
    installation: str
    version: str
    readiness: Readiness
    homes: Homes
    uploads: RawUploads
    tables: dict[str, Table]
    waiting: Waiting
    jobs: Jobs
    processes: list[ProcessNote]
    storage: Census | None
    state_bytes: int | None
    dead_letters: int
    damaged_files: int
    faults: list[Fault]
    milestones: dict[str, Milestone]
    unreadable: list[str] = []
    erasures: Erasures | None = None
    free_bytes: dict[str, int | None] = {}
    quotas: dict[str, Quota] = {}
    logged: int = 0
