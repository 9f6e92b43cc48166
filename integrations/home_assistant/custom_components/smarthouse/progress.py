"""What a home has uploaded, kept durably: it moves on only after the service has answered 200."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from homeassistant.core import HomeAssistant
from homeassistant.helpers.storage import Store
from homeassistant.util import dt as dt_util

from .const import DOMAIN, PAST_NOTHING, PAST_STATISTICS
from .renames import Rename

VERSION: Final = 1
_DAY: Final = 86400.0
_SAVE_LATER_SECONDS: Final = 600


@dataclass
class Window:
    """A span of time that is being uploaded, in seconds since 1970: from `start` on, before `end`.

    after: all entities up to this one, in the order of ids, are uploaded.
    """

    start: float
    end: float
    after: str = ""


@dataclass
class Backfill:
    """How far the long-term statistics are uploaded. until: the end of the last hour. after: as in `Window`."""

    until: float
    after: str = ""


@dataclass
class Step:
    """Says that bodies after the first `uploads` have rows of `since` or later; seconds since 1970."""

    uploads: int
    since: float


@dataclass
class Looked:
    """What the service had when it was asked: how many uploads, and when the first came. ours: those of this entry by then."""

    uploads: int
    first: str | None
    ours: int


@dataclass(frozen=True)
class Status:
    """What the entities show."""

    last_upload: datetime | None
    rows_sent: int
    rows_ignored: int
    waiting: int
    fault: str | None
    left: bool


@dataclass
class Progress:
    """The mark and what belongs to it.

    mark: all states before it are uploaded; seconds since 1970. It is a window's end, and never a row's time. span_seconds: how
    long the next window is to be. known: entities that may have rows to upload, so that one that is removed loses none.
    renames: entities that got another id, the newest last. uploads: bodies that the service newly took. statistics_ended: those
    by the end of the backfill. trail: see `Losses.step`. looked: what the service had when it was asked last.
    began: nothing before it is uploaded. rows_ignored: those that the service took for no states. seen: the clock when this was
    saved last. fault and failing_since: what is wrong, and since when. left: the receipt of an erasure.
    """

    mark: float
    seen: float
    window: Window | None = None
    backfill: Backfill | None = None
    span_seconds: float = 3600.0
    known: list[str] = field(default_factory=list)
    renames: list[Rename] = field(default_factory=list)
    uploads: int = 0
    statistics_ended: int = 0
    trail: list[Step] = field(default_factory=list)
    looked: Looked | None = None
    last_upload: float | None = None
    began: float = 0.0
    rows_sent: int = 0
    rows_ignored: int = 0
    waiting: int = 0
    fault: str | None = None
    detail: str = ""
    failing_since: float | None = None
    left: str | None = None
    hour: int = 3
    minute: int = 0
    second: int = 0

    @classmethod
    def beginning(cls, past: str, keep_days: int) -> Progress:
        """Return where a new home begins. It uploads at a random time, so that homes do not all come together.

        past: what of it is uploaded, as the owner chose. keep_days: how many days the recorder keeps.
        """
        now = dt_util.utcnow().timestamp()
        days = 0 if past == PAST_NOTHING else keep_days + 1
        backfill = Backfill(until=now - now % 3600) if past == PAST_STATISTICS else None
        spread = random.SystemRandom()
        return cls(
            mark=now - days * _DAY,
            began=now - days * _DAY,
            seen=now,
            backfill=backfill,
            hour=spread.randrange(3, 6),  # no country skips or repeats these when the clocks change
            minute=spread.randrange(60),
            second=spread.randrange(60),
        )

    @property
    def is_open(self) -> bool:
        """Tell whether something was begun that is not yet uploaded."""
        return self.fault is not None or self.window is not None or self.backfill is not None

    @property
    def is_sent_again(self) -> bool:
        """Tell whether what was uploaded once is to be uploaded again."""
        return any(step.since > self.mark for step in self.trail)

    @property
    def status(self) -> Status:
        """Return what the entities show of it."""
        at = self.last_upload
        last = None if at is None else dt_util.utc_from_timestamp(at)
        return Status(last, self.rows_sent, self.rows_ignored, self.waiting, self.fault, self.left is not None)


class ProgressStore:
    """Keeps the progress of one entry in Home Assistant's own storage."""

    def __init__(self, hass: HomeAssistant, entry_id: str) -> None:
        self._store: Store[dict[str, Any]] = Store(hass, VERSION, f"{DOMAIN}.{entry_id}", private=True, atomic_writes=True)

    async def load(self) -> Progress | None:
        """Read what was saved last; None if nothing was."""
        if (found := await self._store.async_load()) is None:
            return None
        names = Progress.__dataclass_fields__
        told = {name: value for name, value in found.items() if name in names}
        if told.get("window") is not None:
            told["window"] = Window(**told["window"])
        if told.get("backfill") is not None:
            told["backfill"] = Backfill(**told["backfill"])
        if told.get("looked") is not None:
            told["looked"] = Looked(**told["looked"])
        told["trail"] = [Step(**one) for one in told.get("trail", ())]
        told["renames"] = [Rename(**one) for one in told.get("renames", ())]
        return Progress(**told)

    async def save(self, progress: Progress) -> None:
        """Save, and return once it is on the disk."""
        await self._store.async_save(asdict(progress))

    def save_later(self, progress: Progress) -> None:
        """Save within minutes, and at the latest when Home Assistant stops."""
        self._store.async_delay_save(lambda: asdict(progress), _SAVE_LATER_SECONDS)

    async def remove(self) -> None:
        """Remove what was saved."""
        await self._store.async_remove()
