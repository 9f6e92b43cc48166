"""Clocks: into which intervals time is divided, in UTC or as the clock of each home goes.

A home's clock is known from its rows: each may tell by how many minutes the clock was ahead of UTC. Between two rows that
differ, it was changed at a full hour, as clocks are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
from sqlglot import exp

from smarthouse_api.lake.planning import day_number
from smarthouse_api.states.records.placement import Numbers
from smarthouse_api.states.records.sorting import distinct

MINUTE_US: Final = 60_000_000
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US


@dataclass(frozen=True)
class Timeline:
    """Tells the offsets of one home's clock, in microseconds. changes: when each begins; the first holds before, too."""

    changes: list[int] = field(default_factory=lambda: [0])
    offsets: list[int] = field(default_factory=lambda: [0])

    def at(self, us: int) -> int:
        """Return the offset at a time."""
        return self.offsets[max(0, bisect_right(self.changes, us) - 1)]

    def all_at(self, us: Numbers) -> Numbers:
        """Return the offset at each of some times."""
        found: Numbers = np.array(self.offsets, np.int64)[np.maximum(np.searchsorted(self.changes, us, "right") - 1, 0)]
        return found

    def within(self, every: int) -> Timeline:
        """Return by how much intervals begin earlier than in UTC."""
        return Timeline(self.changes, [offset % every for offset in self.offsets])

    def begin(self, index: int, every: int) -> int:
        """Return when an interval of the home's clock begins, in UTC. index: counted since 1970 on that clock."""
        local = index * every
        for offset in dict.fromkeys(self.offsets):
            if self.at(local - offset) == offset:
                return local - offset
        # The clock was set forward over the moment: the interval begins with the change.
        return next((change for change in self.changes if change + self.at(change) > local), local - self.offsets[-1])


class Clock:
    """Divides time into intervals of one length. timelines: of the homes whose clocks are heeded, by pseudonym; others: UTC.

    Days are as long as a home's clock says. Shorter intervals begin when its clock shows a full one; an hour that comes twice
    is two intervals.
    """

    def __init__(self, every: int, timelines: Mapping[str, Timeline] | None = None) -> None:
        self.every, self.is_local = every, timelines is not None
        self._shown = timelines or {}
        self._timelines = self._shown if every >= DAY_US else {home: line.within(every) for home, line in self._shown.items()}
        self._utc = Timeline()

    def changes_within(self, begin: int, end: int) -> list[int]:
        """List when the clock of any home changes, between two times."""
        found = {change for line in self._timelines.values() for change in line.changes[1:] if begin < change < end}
        return sorted(found)

    def offsets(self, homes: Iterable[str], at: int) -> Numbers:
        """Return the offset of each home's clock at a time, in microseconds."""
        return np.array([self._of(home).at(at) for home in homes], np.int64)

    def indexes(self, homes: Sequence[str], home: Numbers, at: Numbers) -> Numbers:
        """Return the intervals that hold some times. home: places in `homes`."""
        offset = np.zeros(len(at), np.int64)
        for place in np.unique(home).tolist() if self.is_local else ():
            of_home = home == place
            offset[of_home] = self._of(homes[place]).all_at(at[of_home])
        index: Numbers = (at + offset) // self.every
        return index

    def shown(self, homes: Sequence[str], home: Numbers, at: Numbers) -> Numbers:
        """Return by how much the clocks of homes are ahead of UTC at some times, in microseconds. home: places in `homes`."""
        ahead = np.zeros(len(at), np.int64)
        for place in np.unique(home).tolist():
            line, of_home = self._shown.get(homes[place], self._utc), home == place
            ahead[of_home] = line.all_at(at[of_home])
        return ahead

    def bounds(self, homes: Sequence[str], home: Numbers, indexes: Numbers) -> tuple[Numbers, Numbers]:
        """Return when intervals begin and end, in UTC. home: places in `homes`."""
        if not self.is_local:
            return indexes * self.every, (indexes + 1) * self.every
        if not len(indexes):
            return indexes, indexes
        least, width = int(indexes.min()), int(indexes.max() - indexes.min()) + 2
        pairs, place = distinct(home * width + indexes - least)
        both = [
            (line.begin(index, self.every), line.begin(index + 1, self.every))
            for line, index in ((self._of(homes[pair // width]), pair % width + least) for pair in pairs.tolist())
        ]
        begin, end = np.array(both, np.int64).T
        return begin[place], end[place]

    def _of(self, home: str) -> Timeline:
        return self._timelines.get(home, self._utc)


def select_offsets(wanted: Iterable[exp.Condition]) -> exp.Select:
    """Select for each home, own day and offset when it is first and last told: `home`, `utc_offset`, `first`, `last`."""
    home, offset, time = exp.column("home"), exp.column("utc_offset"), exp.column("time")
    number = day_number(time)
    return (
        exp.select(home, offset, exp.Min(this=time).as_("first"), exp.Max(this=time.copy()).as_("last"))
        .from_("states")
        .where(exp.not_(exp.Is(this=offset, expression=exp.null())), *wanted)
        .group_by(home, number, offset)
    )


def timelines_of(told: Iterable[pa.RecordBatch]) -> dict[str, Timeline]:
    """Make the timelines of homes, by internal keys. told: what `select_offsets` finds."""
    seen = dict[str, list[tuple[int, int, int]]]()
    for batch in told:
        first, last = (batch.column(name).cast(pa.int64()).to_pylist() for name in ("first", "last"))
        for home, offset, begin, end in zip(
            batch.column("home").to_pylist(), batch.column("utc_offset").to_pylist(), first, last, strict=True
        ):
            seen.setdefault(home, []).append((begin, end, offset * MINUTE_US))
    return {home: _timeline(sorted(some)) for home, some in seen.items()}


def _timeline(told: list[tuple[int, int, int]]) -> Timeline:
    changes, offsets, until = [told[0][0]], [told[0][2]], told[0][1]
    for begin, end, offset in told[1:]:
        if offset != offsets[-1]:
            hour = begin - begin % HOUR_US
            changes.append(hour if hour > until else begin)
            offsets.append(offset)
        until = max(until, end)
    return Timeline(changes, offsets)
