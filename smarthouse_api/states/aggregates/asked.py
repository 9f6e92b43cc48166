"""What aggregates are asked for: the length of their intervals, the clock, and how long a state is held at most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from smarthouse_api.errors import Invalid
from smarthouse_api.states.aggregates.clocks import DAY_US, HOUR_US, MINUTE_US
from smarthouse_api.states.aggregates.intervals import METER, STATES, STATISTICS
from smarthouse_api.states.query import Filters

LENGTHS: Final = {"15m": 15 * MINUTE_US, "1h": HOUR_US, "1d": DAY_US}
"""Lengths of intervals in microseconds."""

HOLDS: Final = {"1h": HOUR_US, "6h": 6 * HOUR_US, "1d": DAY_US, "7d": 7 * DAY_US}
"""For how long a state may be held, in microseconds."""

_EPOCH: Final = date(1970, 1, 1)

LAYOUTS: Final = ("long", "wide")
"""Long: a row for each entity and interval. Wide: a row for each home and interval, a column for each measured thing."""

OF_HOMES: Final = "homes"
"""A row for each kind of thing and interval, of many homes together. Nobody asks for it: only releases have it."""

SHARE: Final = "share"
FIGURES: Final = ("mean", "min", "max", "last", "known", "changes", SHARE, *METER)
"""What a wide column may tell: of numbers, of any state, of words their share, and of a meter."""

SOURCES: Final = (STATES, STATISTICS, "all")
"""What aggregates are made of: states, long-term statistics that were uploaded, or each of both for itself."""

USUAL_FIGURES: Final = ("mean", SHARE)


@dataclass(frozen=True)
class Aggregation:
    """Asks for aggregates. every: of `LENGTHS`. hold: of `HOLDS`. is_local: by the clocks of the homes, else by UTC.

    figures: of `FIGURES`, for the wide layout; none means the long layout. source: of `SOURCES`. least_homes: put at least so
    many enrolled homes together; 0: tell of each by itself.
    """

    every: str
    hold: str = "1d"
    is_local: bool = False
    figures: tuple[str, ...] = ()
    source: str = STATES
    least_homes: int = 0

    @property
    def layout(self) -> str:
        """One of `LAYOUTS`, or `OF_HOMES`."""
        return OF_HOMES if self.least_homes else "wide" if self.figures else "long"

    @property
    def has_states(self) -> bool:
        """Tell whether states are asked for."""
        return self.source != STATISTICS

    @property
    def has_statistics(self) -> bool:
        """Tell whether statistics are asked for."""
        return self.source != STATES

    def changed(self, days: Iterable[int], at: date) -> Iterator[tuple[date, date]]:
        """Yield spans of days, in order, on which intervals may have changed.

        days: on which there are new states, counted since 1970. at: until when states were held before.
        """
        is_local, reach = int(self.is_local), self.days_before
        spans = [(day - is_local, day + reach) for day in days]
        spans.append(((at - _EPOCH).days - is_local, (date.max - _EPOCH).days))
        begin, end = None, 0
        for first, last in sorted(spans):
            if begin is None or first > end + 1:
                if begin is not None:
                    yield _day(begin), _day(end)
                begin, end = first, last
            end = max(end, last)
        if begin is not None:
            yield _day(begin), _day(end)

    @property
    def days_before(self) -> int:
        """Number of days before an interval whose states may matter to it."""
        return HOLDS[self.hold] // DAY_US + 1 + self.is_local

    def widened(self, filters: Filters) -> Filters:
        """Return filters for all rows that the wanted intervals depend on. Raises `Invalid` if they go by another time."""
        if filters.time_field != "updated":
            raise Invalid("time_field: aggregates go by `updated`; leave it out")
        before = timedelta(days=self.days_before)
        since, until = filters.since, filters.until
        if since is not None:
            since = since - before if since - date.min > before else date.min
        if until is not None and self.is_local and until < date.max:
            until += timedelta(days=1)
        return replace(filters, since=since, until=until)


def _day(number: int) -> date:
    least, most = ((day - _EPOCH).days for day in (date.min, date.max))
    return _EPOCH + timedelta(days=min(max(number, least), most))
