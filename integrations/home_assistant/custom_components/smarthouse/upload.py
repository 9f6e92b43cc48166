"""Uploads what the recorder has: window after window, chunk after chunk, and moves the mark after the service's 200.

1. The horizon is fixed once for a run. The recorder writes down all that happened before it.
2. A window of time is saved before it is read. A run that breaks off reads the same window again.
3. A chunk is sent until the service answers 200. Then the progress in the window moves, and is saved every half minute.
4. After the last chunk, the mark moves to the window's end. It is saved with the next window, or by the caller of `run`.
5. Whoever moves the mark meanwhile interrupts the run, which then moves it no more.
6. A crash between any two steps sends rows again, and never leaves one out. The service keeps each row once.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from homeassistant.core import HomeAssistant
from homeassistant.helpers.recorder import get_instance
from homeassistant.util import dt as dt_util

from .client import Client
from .losses import Loss, Losses
from .progress import Progress, ProgressStore, Window
from .reading import Chunk, Row, Statistic, list_statistics, read_states, read_statistics
from .renames import MOST, Names, Rename, checked, reopened
from .scrub import Scrubber
from .sending import ROWS, Sender

OVERLAP_SECONDS: Final = 30.0
"""How much is read twice: a clock that is set back by less than two seconds is not noticed. What was uploaded longer ago than
that before the entry was loaded is not read again: an update may send it in other words."""

MARGIN_SECONDS: Final = 600.0
"""How much is read once more behind a clock that was set back."""

_SAVE_SECONDS: Final = 30.0
"""How long what a chunk has moved may be unsaved: a memory card wears out. After a crash, these chunks are sent again."""

_GROUP: Final = 50
"""The entities that are read at a time. With the length of a window, this bounds the memory."""

_MOMENT_SECONDS: Final = 0.02
_SHORTEST, _LONGEST = 300.0, 21600.0
_FEW_ROWS, _MANY_ROWS = 5_000, 40_000


class Interrupted(Exception):
    """Says that a run was broken off after a chunk, because the mark was moved back, or the home leaves."""


@dataclass(frozen=True)
class Run:
    """What one run uploads: the states of `entity_ids` before `horizon`. present: those that Home Assistant has not removed.

    is_sure: whether all that the owner leaves out is known. interrupts: how many there were before it.
    """

    entity_ids: Sequence[str]
    present: Sequence[str]
    horizon: float
    is_sure: bool
    interrupts: int

    def with_others(self, entity_ids: Sequence[str], known: Sequence[str]) -> list[str]:
        """Return entities, and those of `known` that this run does not upload, since they came after its beginning."""
        uploaded = frozenset(self.entity_ids)
        return [*entity_ids, *(entity_id for entity_id in known if entity_id not in uploaded)]


class Uploader:
    """Brings a home's rows to its service."""

    def __init__(
        self,
        hass: HomeAssistant,
        client: Client,
        store: ProgressStore,
        progress: Progress,
        scrubber: Scrubber,
        told: Callable[[], None],
    ) -> None:
        """told: is called after each chunk, to show the progress."""
        self._hass, self._client, self._store, self._scrubber = hass, client, store, scrubber
        self._progress, self._sender = progress, Sender(hass, client, progress, told, self._go_on)
        self.losses = Losses(client, progress)
        self._interrupts, self._of_run, self._saved_at = 0, 0, 0.0
        self._overlaps_from = dt_util.utcnow().timestamp() - OVERLAP_SECONDS

    async def begin(self, entity_ids: Sequence[str], present: Sequence[str], *, is_sure: bool) -> Run:
        """Fix the horizon, and wait until the recorder has written down what lies before it."""
        horizon, interrupts = dt_util.utcnow().timestamp(), self._interrupts
        recorder = get_instance(self._hass)
        await recorder.async_block_till_done()
        # What its thread has just taken up is neither in its queue nor pending. So it is asked once more.
        await self._hass.async_add_executor_job(time.sleep, _MOMENT_SECONDS)
        await recorder.async_block_till_done()
        await self._check_renames()
        return Run(entity_ids, present, horizon, is_sure, interrupts)

    async def run(self, run: Run) -> None:
        """Upload all that is not yet uploaded. The caller saves the progress. Raises `ServiceError` and `Interrupted`.

        Then the mark stays before what was not taken.
        """
        progress, self._of_run = self._progress, run.interrupts
        progress.known = run.with_others(run.entity_ids, progress.known)
        overlap = self._overlap()
        while (window := progress.window or self._next(progress.mark, progress.span_seconds, run, overlap)) is not None:
            progress.window, overlap = window, 0.0
            self.losses.step(window.start)
            await self._save()
            rows = await self._upload_window(window, run)
            self._go_on()
            progress.mark, progress.window = window.end, None
            if rows < _FEW_ROWS:
                progress.span_seconds = min(progress.span_seconds * 2, _LONGEST)
            elif rows > _MANY_ROWS:
                progress.span_seconds = max(progress.span_seconds / 2, _SHORTEST)
        await self._upload_statistics(run)
        # What is removed has no rows after this run's horizon. What came meanwhile may have some.
        progress.known = run.with_others(run.present, progress.known)

    async def preview(self, run: Run) -> Chunk | None:
        """Return the chunk that would be sent next; None if there is nothing to send. Nothing is changed."""
        progress, overlap = self._progress, self._overlap()
        begun, mark, span = progress.window, progress.mark, progress.span_seconds
        while (window := begun or self._next(mark, span, run, overlap)) is not None:
            async with aclosing(self._window_chunks(window, run.entity_ids)) as chunks:
                async for rows, _ in chunks:
                    return Chunk(rows)
            begun, mark, span, overlap = None, window.end, min(span * 2, _LONGEST), 0.0
        async with aclosing(self._statistics_chunks(run)) as chunks:
            async for rows, _ in chunks:
                return Chunk(rows)
        return None

    def rewind(self, now: float) -> None:
        """Move the mark back behind a clock that was set back, since rows are recorded before it now.

        now: what the clock says, or a moment since it was set back. Nothing older is what a home that began later agreed to.
        """
        progress = self._progress
        progress.began = min(progress.began, now)
        progress.mark = max(min(progress.mark, now - MARGIN_SECONDS), progress.began)
        progress.window = None
        self._overlaps_from = min(self._overlaps_from, now - OVERLAP_SECONDS)
        self.interrupt()

    def renamed(self, old: str, new: str, at: float) -> None:
        """Note that an entity got another id. A run that goes on would not find its rows under the old one: it begins again."""
        progress = self._progress
        progress.renames = [*progress.renames[-MOST:], Rename(old, new, at)]
        if progress.window is not None:
            progress.window.after = reopened(progress.window.after, old, new)
        if progress.backfill is not None:
            progress.backfill.after = reopened(progress.backfill.after, old, new)
        self.interrupt()

    def begin_again(self, past: str, keep_days: int) -> None:
        """Move the mark back to where a new home with this past would begin, and not before this home began."""
        self.send_again(Loss(0.0, with_statistics=True), past, keep_days)
        self.interrupt()

    def send_again(self, loss: Loss, past: str, keep_days: int) -> None:
        """Move the mark back to before a loss, as far as this home and its recorder go back. No run goes on meanwhile."""
        progress, now = self._progress, dt_util.utcnow().timestamp()
        since = max(loss.since or 0.0, now - (keep_days + 1) * 86400.0, progress.began)
        progress.mark, progress.window = min(progress.mark, since), None
        if loss.with_statistics:
            progress.backfill = Progress.beginning(past, keep_days).backfill

    def look_at_clock(self) -> None:
        """Move the mark back if the clock was set back while Home Assistant was stopped."""
        now = dt_util.utcnow().timestamp()
        if now < self._progress.seen - MARGIN_SECONDS or now < self._progress.mark:
            self.rewind(now)

    def interrupt(self) -> None:
        """Break off the run that goes on or is about to begin, if there is one, once its chunk is sent."""
        self._interrupts += 1

    def _overlap(self) -> float:
        """Return how much of what is before the mark is read again."""
        return min(OVERLAP_SECONDS, max(self._progress.mark - self._overlaps_from, 0.0))

    async def _check_renames(self) -> None:
        renames = self._progress.renames
        if all(rename.is_checked for rename in renames):
            return
        found = await get_instance(self._hass).async_add_executor_job(checked, self._hass, renames)
        self._progress.renames = [*found, *self._progress.renames[len(renames) :]]

    @property
    def _names(self) -> Names:
        return Names(self._progress.renames)

    def _go_on(self) -> None:
        if self._interrupts != self._of_run:
            raise Interrupted

    async def _save(self) -> None:
        self._saved_at = time.monotonic()
        await self._store.save(self._progress)

    async def _save_at_times(self) -> None:
        if time.monotonic() - self._saved_at >= _SAVE_SECONDS:
            await self._save()

    def _next(self, mark: float, span: float, run: Run, overlap: float) -> Window | None:
        """Return the window after a mark; None if that has reached the horizon."""
        if mark >= run.horizon:
            return None
        # The last window may be a little longer, so that none of seconds follows.
        end = run.horizon if run.horizon - mark < span * 1.1 else mark + span
        return Window(max(mark - overlap, self._progress.began), end)

    async def _upload_window(self, window: Window, run: Run) -> int:
        sent = 0
        async for rows, after in self._window_chunks(window, run.entity_ids):
            await self._sender.send(rows)
            self._go_on()
            sent += len(rows)
            if after > window.after:
                window.after = after
            await self._save_at_times()
        return sent

    async def _window_chunks(self, window: Window, entity_ids: Sequence[str]) -> AsyncGenerator[tuple[list[Row], str]]:
        """Read a window in chunks, each with the last entity that is whole once the chunk is sent."""
        left = [entity_id for entity_id in entity_ids if entity_id > window.after]
        pending: list[Row] = []
        whole = window.after
        for place in range(0, len(left), _GROUP):
            group = left[place : place + _GROUP]
            found = await self._read_group(group, window)
            if not pending:
                whole = left[place - 1] if place else window.after
            pending += found
            while len(pending) >= ROWS:
                chunk, pending = pending[:ROWS], pending[ROWS:]
                # What is left over is of this group: the groups before it are whole.
                whole = group[-1] if not pending else (left[place - 1] if place else window.after)
                yield chunk, whole
        if pending:
            yield pending, left[-1]

    async def _read_group(self, group: Sequence[str], window: Window) -> list[Row]:
        return await get_instance(self._hass).async_add_executor_job(
            read_states, self._hass, self._scrubber, self._names.at, group, window.start, window.end
        )

    async def _upload_statistics(self, run: Run) -> None:
        backfill = self._progress.backfill
        if backfill is None:
            return
        async for rows, after in self._statistics_chunks(run):
            await self._sender.send(rows)
            self._go_on()
            backfill.after = max(backfill.after, after)
            await self._save_at_times()
        self._go_on()
        self._progress.backfill, self._progress.statistics_ended = None, self._progress.uploads

    async def _statistics_chunks(self, run: Run) -> AsyncGenerator[tuple[list[Row], str]]:
        """Read the long-term statistics in chunks, likewise."""
        backfill = self._progress.backfill
        if backfill is None:
            return
        execute = get_instance(self._hass).async_add_executor_job
        listed: list[Statistic] = await execute(list_statistics, self._hass, self._scrubber, run.entity_ids)
        pending: list[Row] = []
        before = whole = backfill.after
        for statistic in [one for one in listed if one.entity_id > backfill.after]:
            pending += await execute(read_statistics, self._hass, self._scrubber, self._names.at, statistic, backfill.until)
            while len(pending) >= ROWS:
                chunk, pending = pending[:ROWS], pending[ROWS:]
                yield chunk, before if pending else statistic.entity_id
            before = statistic.entity_id
            whole = statistic.entity_id
        if pending:
            yield pending, whole
