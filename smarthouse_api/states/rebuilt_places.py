"""Where rows that are made again lie: the partitions of some days or of a file, and which payloads may have rows there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import reduce
from operator import or_
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.times import DAY_US, microseconds
from smarthouse_api.lake.repairs import Place, Repair, month_end
from smarthouse_api.states.pending import Pending
from smarthouse_api.states.records.placement import FAR, LATE, LATE_DAYS, OWN_DAY, bucket_of, own_day_buckets_of

_EPOCH: Final = date(1970, 1, 1)
_YEAR_2000: Final = date(2000, 1, 1)


def places_of_days(first: date, last: date, *, has_old: bool) -> tuple[Place, ...]:
    """Name the partitions that can hold rows of these days. has_old: an earlier version wrote some."""
    months = first.replace(day=1)
    places = [
        Place("states", first, last, OWN_DAY, LATE - 1),
        Place("states", months, last, LATE, LATE),
        Place("statistics", months, last, 0, OWN_DAY - 1),
    ]
    if has_old:
        places.append(Place("states", first, last, 0, OWN_DAY - 1))
    if first < _YEAR_2000 or last == date.max:  # those whose time cannot be right
        places.append(Place("states", _EPOCH, _EPOCH, FAR, FAR))
    return tuple(places)


def repair_of_file(table: str, id_: str, what: str, file: Mapping[str, Any]) -> Repair:
    """Make a repair of the rows that a damaged file of a table held. file: as the table's log describes it."""
    day, bucket = file["partition.day"], file["partition.bucket"]
    since, until = date.min, date.max
    if table != "states":
        since, until = until, since  # no export of states lacks a row
    elif OWN_DAY <= bucket < LATE:
        since = until = day
    elif bucket == LATE:
        since, until = day, month_end(day)
    oldest = file.get("min.received")
    place = Place(table, day, day, bucket, bucket)
    return Repair(id_, what, "queue", (place,), since, until, oldest_us=None if oldest is None else microseconds(oldest))


def may_hold(place: Place, pending: Pending) -> bool:
    """Tell whether a payload can have rows in a place."""
    day, share = _EPOCH + timedelta(days=pending.received_us // DAY_US), bucket_of(pending.home)
    if place.table == "statistics":
        is_later = day.toordinal() >= place.first.toordinal() - 1
        return pending.statistics != 0 and place.least <= share <= place.most and is_later
    if pending.records == 0:
        return False
    return (
        (place.least <= share <= place.most and place.first <= day <= place.last)
        or (_holds_usual(place, pending.home) and _is_near(day, place))
        or (place.least <= LATE <= place.most and day >= place.first)
        or place.least <= FAR <= place.most
    )


def _holds_usual(place: Place, home: str) -> bool:
    """Tell whether usual rows of a home can lie in a place."""
    return any(place.least <= bucket <= place.most for bucket in own_day_buckets_of(home))


def _is_near(day: date, place: Place) -> bool:
    """Tell whether what arrived on a day can have usual rows of a place's days."""
    return (day.toordinal() >= place.first.toordinal() - 1) and (day.toordinal() <= place.last.toordinal() + LATE_DAYS)


def within(rows: pa.Table, places: Sequence[Place], table: str) -> pa.Table:
    """Leave out the rows that lie in none of the places. What lay in an old place has another by now: then all rows stay.

    Usual rows are to lie with those of their day that are merged already, if these are asked for.
    """
    here = [place for place in places if place.table == table]
    if not places or any(table == "states" and place.most < OWN_DAY for place in here):
        return rows
    if not here:
        return rows.slice(0, 0)
    day, bucket = pc.field("day"), pc.field("bucket")
    chosen = []
    for one in here:
        wanted = (bucket >= one.least) & (bucket <= one.most)
        if table == "states" and one.most >= OWN_DAY:
            homes = [home for home in pc.unique(rows["home"]).to_pylist() if _holds_usual(one, home)]
            is_usual = (bucket >= OWN_DAY) & (bucket < LATE)
            wanted |= is_usual & pc.field("home").isin(pa.array(homes, rows["home"].type))
        chosen.append((day >= pa.scalar(one.first)) & (day <= pa.scalar(one.last)) & wanted)
    return rows.filter(reduce(or_, chosen))
