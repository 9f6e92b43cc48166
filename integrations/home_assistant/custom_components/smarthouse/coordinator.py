"""Decides when to upload, and tells the entities and repairs how it goes."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import datetime, timedelta
from typing import Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import EVENT_STATE_CHANGED
from homeassistant.core import Event, HomeAssistant, callback
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.event import async_track_time_change, async_track_time_interval
from homeassistant.helpers.recorder import get_instance
from homeassistant.helpers.start import async_at_started
from homeassistant.helpers.update_coordinator import DataUpdateCoordinator
from homeassistant.util import dt as dt_util

from . import issues
from .client import Fault, ServiceError
from .clock import TICK, ClockWatch
from .const import (
    CONF_LEFT,
    CONF_NAMES_KEY,
    CONF_PACE,
    CONF_PAST,
    DOMAIN,
    PACE_HOURLY,
    PACE_SECONDS,
    PAST_NOTHING,
)
from .homes import client_of
from .losses import Loss
from .progress import Progress, ProgressStore, Status
from .reading import Chunk, list_measured
from .renames import is_rename
from .retries import FIRST_SECONDS, Retries
from .scrub import Scrubber, load_vocabulary
from .selection import LeftOut, Selection
from .upload import Interrupted, Run, Uploader
from .waiting import Waiting

_LOGGER = logging.getLogger(__name__)

_SHOW, _DAY = timedelta(minutes=15), timedelta(days=1)
_SOON_SECONDS: Final = (30.0, 300.0)


class SmartHouseCoordinator(DataUpdateCoordinator[Status]):
    """Runs the uploads of one entry."""

    config_entry: ConfigEntry[SmartHouseCoordinator]

    def __init__(self, hass: HomeAssistant, entry: ConfigEntry[SmartHouseCoordinator]) -> None:
        super().__init__(hass, _LOGGER, config_entry=entry, name=DOMAIN)
        self.store = ProgressStore(hass, entry.entry_id)
        self.client = client_of(hass, entry.data)
        self.retries = Retries(hass, self.request_upload)
        self.is_ended = False
        self.progress: Progress
        self.scrubber: Scrubber
        self._uploader: Uploader
        self._waiting: Waiting
        self._lock, self._leaves = asyncio.Lock(), False

    async def _async_setup(self) -> None:
        """Read what was saved, or begin."""
        names_key = bytes.fromhex(self.config_entry.data[CONF_NAMES_KEY])
        vocabulary = await self.hass.async_add_executor_job(load_vocabulary)
        self.scrubber = Scrubber(vocabulary, names_key)
        saved = await self.store.load()
        self.progress = saved or Progress.beginning(self.config_entry.data[CONF_PAST], get_instance(self.hass).keep_days)
        self.progress.left = self.config_entry.data.get(CONF_LEFT)
        self._uploader = Uploader(self.hass, self.client, self.store, self.progress, self.scrubber, self._on_chunk)
        self._uploader.look_at_clock()
        await self.store.save(self.progress)
        self._waiting = Waiting(self.progress, lambda: self.store.save_later(self.progress))
        self._count_anew()

    async def _async_update_data(self) -> Status:
        return self.progress.status

    @callback
    def start(self) -> None:
        """Begin to count and to upload by the schedule."""
        entry, progress = self.config_entry, self.progress
        hour = None if entry.options[CONF_PACE] == PACE_HOURLY else progress.hour
        for stop in (
            self.hass.bus.async_listen(EVENT_STATE_CHANGED, self._waiting.count),
            self.hass.bus.async_listen(er.EVENT_ENTITY_REGISTRY_UPDATED, self._on_renamed, event_filter=is_rename),
            async_track_time_interval(self.hass, ClockWatch(self._uploader.rewind).tick, TICK, cancel_on_shutdown=True),
            async_track_time_interval(self.hass, self._show, _SHOW, cancel_on_shutdown=True),
            async_track_time_change(self.hass, self._on_time, hour, progress.minute, progress.second),
            async_at_started(self.hass, self._on_started),
            self.retries.cancel,
        ):
            entry.async_on_unload(stop)

    async def upload_now(self) -> None:
        """Upload what waits; nothing once the home was erased. Raises `ServiceError`.

        The upload goes on if its caller goes away, and ends when the entry is unloaded.
        """
        upload = self.config_entry.async_create_background_task(self.hass, self._upload(), f"{DOMAIN} upload")
        await asyncio.wait([upload])
        if upload.cancelled():
            raise ServiceError(Fault.BROKEN)
        upload.result()

    async def _upload(self) -> None:
        async with self._lock:
            self.retries.cancel()
            before = self.progress.waiting
            try:
                if self.progress.left is None and (loss := await self._uploader.losses.look()) is not None:
                    self._on_loss(loss)
                is_whole = await self._run()
            except ServiceError as fault:
                await self._failed(fault)
                raise
            except Exception as fault:  # of any kind: the recorder's database may be broken, and is tried again
                if self.progress.fault != Fault.INTERNAL:
                    _LOGGER.exception("The upload failed in this Home Assistant")
                await self._failed(told := ServiceError(Fault.INTERNAL))
                raise told from fault
            if is_whole:
                await self._succeeded(before)

    async def _run(self) -> bool:
        """Upload, and begin again if the clock was set back. Tells whether all was sent: not if the home leaves or has left."""
        while not self._leaves and self.progress.left is None:
            run = await self._begin()
            if not run.is_sure:
                raise ServiceError(Fault.LEFT_OUT)
            try:
                if not self._leaves:
                    await self._uploader.run(run)
                    return True
            except Interrupted:
                continue
        return False

    async def preview(self) -> Chunk | None:
        """Return the next body as it would be sent now; None if there is nothing to send."""
        if self.progress.left is not None:
            return None
        run = await self._begin()
        return await self._uploader.preview(run) if run.is_sure else None

    async def forget(self, *, stop: bool) -> str:
        """Erase the home at the service, and upload nothing from then on. Returns the receipt's id. Raises `ServiceError`.

        An upload under way ends with the body that is being sent.
        """
        self._leaves = True
        self._uploader.interrupt()
        try:
            async with self._lock:
                self.retries.cancel()
                receipt = await self.client.forget(stop=stop)
                data = {**self.config_entry.data, CONF_LEFT: receipt}
                self.hass.config_entries.async_update_entry(self.config_entry, data=data)
                self.progress.left = receipt
                self.progress.fault = self.progress.failing_since = None
                self.progress.waiting = 0
                await self.store.save(self.progress)
        except ServiceError:
            self.retries.after_seconds(FIRST_SECONDS)  # an upload may have been broken off
            raise
        finally:
            self._leaves = False
        issues.heal(self.hass, self.config_entry)
        issues.withdraw_loss(self.hass, self.config_entry)
        self._tell()
        return receipt

    @callback
    def send_again(self) -> None:
        """Upload all that the recorder has once more, for a service that has lost it. What it has not lost, it keeps once."""
        self._uploader.begin_again(self.config_entry.data[CONF_PAST], get_instance(self.hass).keep_days)
        issues.withdraw_loss(self.hass, self.config_entry)
        self.request_upload()

    @callback
    def _on_loss(self, loss: Loss) -> None:
        if loss.since is None:
            issues.tell_of_loss(self.hass, self.config_entry)
        else:
            self._uploader.send_again(loss, self.config_entry.data[CONF_PAST], get_instance(self.hass).keep_days)

    async def begin_anew(self) -> None:
        """Forget the mark of a home that was erased: a new home begins with the next start of the entry."""
        await self.store.remove()
        self.is_ended = True

    @callback
    def request_upload(self) -> None:
        """Upload soon, in the background. A fault is shown by the entities and repairs."""
        self.config_entry.async_create_background_task(self.hass, self._try_to_upload(), f"{DOMAIN} upload, tried")

    async def _try_to_upload(self) -> None:
        try:
            await self.upload_now()
        except ServiceError as fault:
            _LOGGER.debug("The upload failed: %s", fault)

    async def _begin(self) -> Run:
        measured = await self._measured()
        selection = self._count_anew()
        known = {*self.progress.known, *(selection.removed(measured) if measured is not None else ())}
        return await self._uploader.begin(selection.listed(known), selection.listed(), is_sure=selection.is_sure())

    @callback
    def _count_anew(self) -> Selection:
        """Look at the registries and the options, and count what is to be uploaded now."""
        selection = Selection(self.hass, self.scrubber, LeftOut.of(self.config_entry.options))
        self._waiting.begin({*selection.listed(), *self.progress.known}, selection.takes)
        return selection

    async def _measured(self) -> list[str] | None:
        """List the entities with long-term statistics while something is uploaded that may be of removed ones; else None."""
        now, past = dt_util.utcnow().timestamp(), self.config_entry.data[CONF_PAST]
        is_past = self.progress.backfill is not None or now - self.progress.mark > _DAY.total_seconds()
        if not self.progress.is_sent_again and (not is_past or past == PAST_NOTHING):
            return None
        return await get_instance(self.hass).async_add_executor_job(list_measured, self.hass)

    async def _succeeded(self, counted: int) -> None:
        progress = self.progress
        self.retries.taken()
        if progress.fault is not None:
            _LOGGER.info("SmartHouse takes the uploads again")
        progress.last_upload = progress.seen = dt_util.utcnow().timestamp()
        progress.waiting = max(progress.waiting - counted, 0)
        progress.fault, progress.detail, progress.failing_since = None, "", None
        await self.store.save(progress)
        issues.heal(self.hass, self.config_entry)
        self._tell()

    async def _failed(self, fault: ServiceError) -> None:
        progress, now = self.progress, dt_util.utcnow().timestamp()
        if progress.fault is None:
            _LOGGER.warning("SmartHouse does not take the upload: %s", fault)
        progress.fault, progress.detail, progress.seen = str(fault.fault), fault.detail, now
        progress.failing_since = progress.failing_since or now
        await self.store.save(progress)
        issues.tell(self.hass, self.config_entry, fault, now - progress.failing_since)
        self.retries.after(fault)
        self._tell()

    @callback
    def _on_chunk(self) -> None:
        """Show that a chunk was taken. From then on, a fault is a new one."""
        self.retries.taken()
        self.progress.failing_since = None
        self._tell()

    @callback
    def _on_time(self, _: datetime) -> None:
        if not self.retries.is_pending:  # the service may have asked to wait
            self.request_upload()

    async def _on_started(self, _: HomeAssistant) -> None:
        """Upload soon after a start if this home is new, a time of the schedule was missed, or an upload was broken off."""
        since = dt_util.utcnow().timestamp() - (self.progress.last_upload or 0.0)
        if self.progress.is_open or since >= PACE_SECONDS[self.config_entry.options[CONF_PACE]]:
            self.retries.after_seconds(random.SystemRandom().uniform(*_SOON_SECONDS))

    @callback
    def _on_renamed(self, event: Event[er.EventEntityRegistryUpdatedData]) -> None:
        """Remember what an entity was called, at once: its rows that were sent may be read again."""
        if self.progress.left is None:
            at = event.time_fired_timestamp
            self._uploader.renamed(event.data["old_entity_id"], event.data["entity_id"], at)  # type: ignore[typeddict-item]
            save = self.store.save(self.progress)
            self.config_entry.async_create_task(self.hass, save, f"{DOMAIN} rename, saved")

    @callback
    def _show(self, _: datetime) -> None:
        """Show what waits, and remember it. Each change of it is a row in this home's recorder."""
        if self.data is not None and self.data.waiting != self.progress.waiting:
            self.progress.seen = dt_util.utcnow().timestamp()
            self.store.save_later(self.progress)
            self._tell()

    @callback
    def _tell(self) -> None:
        self.async_set_updated_data(self.progress.status)


type SmartHouseEntry = ConfigEntry[SmartHouseCoordinator]
