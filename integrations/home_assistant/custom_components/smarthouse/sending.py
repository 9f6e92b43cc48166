"""Sends rows in bodies as large as the service takes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from homeassistant.core import HomeAssistant

from .client import Client, Fault, ServiceError
from .progress import Progress
from .reading import Chunk, Row

_LOGGER = logging.getLogger(__name__)

ROWS: Final = 10_000
"""The most rows in a body: some 2 MB, 200 kB as they are sent. A service may take only a few hundred bodies an hour."""

_FEWEST: Final = 100
"""A body of fewer rows, some 2 kB as it is sent, is not halved: there is no service that takes only less."""


class Sender:
    """Sends rows, and counts them."""

    def __init__(
        self, hass: HomeAssistant, client: Client, progress: Progress, told: Callable[[], None], go_on: Callable[[], None]
    ) -> None:
        """told: is called after each body. go_on: is called before each, and raises what breaks the upload off."""
        self._hass, self._client, self._progress, self._told, self._go_on = hass, client, progress, told, go_on
        self._most = ROWS

    async def send(self, rows: Sequence[Row]) -> None:
        """Send rows in bodies as large as the service takes. Raises `ServiceError`."""
        place = 0
        while place < len(rows):
            part = rows[place : place + self._most]
            try:
                await self._send_one(part)
            except ServiceError as fault:
                if fault.fault != Fault.TOO_LARGE or len(part) < _FEWEST:
                    raise
                self._most = len(part) // 2
                continue
            place += len(part)

    async def _send_one(self, rows: Sequence[Row]) -> None:
        chunk = Chunk(rows)
        body, key = await self._hass.async_add_executor_job(lambda: (chunk.body, chunk.key))
        self._go_on()
        receipt = await self._client.upload(body, key)
        if receipt.ignored and not self._progress.rows_ignored:
            _LOGGER.warning("SmartHouse took an upload, and ignored %d of its rows", receipt.ignored)
        self._progress.rows_ignored += receipt.ignored
        self._progress.uploads += not receipt.duplicate
        self._progress.rows_sent += len(rows) - receipt.ignored
        self._told()
