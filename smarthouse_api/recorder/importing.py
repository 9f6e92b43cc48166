"""Brings tables to a service, chunk after chunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from smarthouse_api.recorder.chunks import Choice, Chunk, next_chunk
from smarthouse_api.recorder.faults import BodyTooLarge, ImportFault
from smarthouse_api.recorder.progress import Progress
from smarthouse_api.recorder.service import Service
from smarthouse_api.recorder.tables import Table


@dataclass
class Totals:
    """What an import did.

    sent: rows in bodies that the service took. records, ignored: what the service made of them. repeated: bodies that it had
    already. nameless: rows that hold no state. detail: why the service made no records of a body.
    """

    sent: int = 0
    records: int = 0
    ignored: int = 0
    bodies: int = 0
    repeated: int = 0
    nameless: int = 0
    detail: str | None = None


class Import:
    """Brings chosen rows to a service.

    1. Read a chunk, upload it, and move the mark after the 200.
    2. A crash between these steps sends one chunk again. The service keeps the same bytes once.
    3. A chunk that is too large for the service is halved, and so are those that follow.
    """

    def __init__(self, service: Service, progress: Progress, choice: Choice, rows: int) -> None:
        """rows: the most in one body."""
        self._service, self._progress, self._choice, self._rows = service, progress, choice, rows
        self.totals = Totals()

    def bring(self, table: Table, until: int, advance: Callable[[int], None]) -> None:
        """Bring the rows up to an id. advance: is told how far the id moved. Raises `ImportFault`."""
        after = self._progress.after(table)
        while after < until and (chunk := next_chunk(table, after, until, self._rows, self._choice)) is not None:
            if chunk.entries and not self._uploaded(chunk):
                continue
            self.totals.nameless += chunk.nameless
            self._progress.move(table, chunk.last)
            advance(chunk.last.id - after)
            after = chunk.last.id

    def _uploaded(self, chunk: Chunk) -> bool:
        """Upload a chunk; False if it has to be made smaller."""
        try:
            receipt = self._service.upload(chunk.body, chunk.key)
        except BodyTooLarge as fault:
            if chunk.entries == 1:
                (name,) = chunk.payload
                raise ImportFault(f"{fault}. It was one row, of {name}; leave it out with --exclude {name}") from None
            self._rows = chunk.entries // 2
            return False
        self.totals.sent += chunk.entries
        self.totals.bodies += 1
        self.totals.repeated += receipt.duplicate
        self.totals.records += receipt.records + receipt.statistics
        self.totals.ignored += receipt.ignored
        self.totals.detail = receipt.detail or self.totals.detail
        return True
