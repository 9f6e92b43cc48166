"""What came after a version of a dataset: a researcher fetches only that.

A version is remembered for some time after its file is gone. It names a snapshot, and so the rows that need not come again.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from smarthouse_api.errors import Gone, Invalid
from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.jobs.model import Dataset
from smarthouse_api.states.jobs.workshop import Workshop
from smarthouse_api.states.query import After, Filters

_ID: Final = re.compile("[0-9a-f]{32}", re.ASCII)
_UNKNOWN: Final = "since: there is no such version of a dataset, or not any more; ask for all rows"
_ROTATING: Final = "since: each export has pseudonyms of its own here, so that its rows cannot be joined with those of another"
_STRICT: Final = "since: which rows are published depends on other homes here, so that a version cannot be continued"
_OTHERS: Final = "since: the aggregates are those of the version, so leave `every` and what goes with it out"
_STATISTICS: Final = "since: nobody can tell which long-term statistics came after a version; ask for all of them"
_FILTERS: Final = "since: the filters are those of the version; leave the others out"
_OTHER_RULES: Final = "since: the version was made by other rules of privacy than the service has now; ask for all rows"
_EARLIER: Final = "since: an earlier version of the service made this one, and did not note what it had; ask for all rows"
_LACKED: Final = "since: the version lacked rows, some of which may have been made again; ask for all rows. It said: "
_ERASED: Final = (
    "A home that the version may hold was erased since: keep only rows of the homes that GET /api/export/coverage?by=home names"
)


class Continuing:
    """Finds what comes after a version."""

    def __init__(self, shop: Workshop) -> None:
        self._shop = shop

    def filters(self, version: str, given: Filters) -> Filters:
        """Return filters for the rows that entered the lake after a version. given: filters that a client added.

        Raises `Invalid` for an unknown version and for what cannot be continued, and `Gone` for what no longer can.
        """
        dataset = self._dataset(version)
        if not self._shop.asking.has_lasting_names:
            raise Invalid(_ROTATING)
        if self._shop.export_settings.privacy == "strict":
            raise Invalid(_STRICT)
        if dataset is None or dataset.state in ("making", "failed"):
            raise Invalid(_UNKNOWN)
        if dataset.request.aggregation is not None and dataset.request.aggregation.has_statistics:
            raise Invalid(_STATISTICS)
        if given not in (Filters(), replace(dataset.request.filters, after=None)):
            raise Invalid(_FILTERS)
        if dataset.request.rules != self._shop.rules:
            raise Gone(_OTHER_RULES)
        if dataset.entered is None:
            raise Gone(_EARLIER)
        if dataset.incomplete is not None:
            raise Gone(_LACKED + dataset.incomplete)
        table = None if dataset.mark is None else dataset.mark.id
        at = datetime.fromtimestamp(dataset.at, UTC).date()
        return replace(dataset.request.filters, after=After(dataset.entered, table, at))

    def aggregation(self, version: str, given: Aggregation | None) -> Aggregation | None:
        """Return what aggregates a version has. given: what a client asked for. Raises `Invalid` if that is something else."""
        dataset = self._dataset(version)
        found = None if dataset is None else dataset.request.aggregation
        if given not in (None, found):
            raise Invalid(_OTHERS)
        return found

    def note(self, version: str | None) -> str | None:
        """Say what has changed since a version, apart from new rows; None for nothing."""
        dataset = None if version is None else self._dataset(version)
        if dataset is None:
            return None
        made_by = f"Version {dataset.made_by} of the service made it, and may have published other things than version"
        is_older = dataset.made_by != self._shop.program
        is_erased = dataset.state == "forgotten" or self._shop.may_hold(dataset, self._shop.homes.hidden())
        notes = [_ERASED if is_erased else None, f"{made_by} {self._shop.program} does" if is_older else None]
        return ". ".join(filter(None, notes)) or None

    def _dataset(self, version: str) -> Dataset | None:
        return self._shop.book.dataset(version) if _ID.fullmatch(version) else None
