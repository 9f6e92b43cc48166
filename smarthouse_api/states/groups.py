"""Strict privacy: a type and unit is published on a day only if enough homes have it on that day, whatever the filters are.

Only enrolled homes count: those that consented a number of days ago, and have sent data on as many. So nobody opens what is
closed by a hundred homes made up this hour, or dated long ago.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date

import numpy as np
import pyarrow as pa
from sqlglot import exp

from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.lake.planning import day_number
from smarthouse_api.states.query import within
from smarthouse_api.states.records.rules import sun_pattern
from smarthouse_api.states.selects import OWN_TIME, visible

Groups = frozenset[tuple[int, str, str | None]]
"""Days (counted since 1970), types, and units as they are compared."""


def select_groups(
    span: tuple[date, date], hidden: Iterable[str], agreed: Collection[str], min_homes: int, enrolled_days: int
) -> exp.Select:
    """Select the groups of the days of `span` that at least `min_homes` enrolled homes have: `own_day`, `type`, `unit_nfkc`.

    agreed: the homes that consented long enough ago. enrolled_days: on how many days one must have sent data. Rows that are not
    published for what they tell of the sun do not count: nearly every home has some.
    """
    home, enrolled = exp.column("home"), select_enrolled(agreed, enrolled_days)
    tells_the_sun = exp.RegexpLike(this=exp.Lower(this=exp.column("entity_id")), expression=exp.Literal.string(sun_pattern()))
    number, kind = day_number(OWN_TIME), exp.column("type")
    unit = exp.Coalesce(this=exp.column("unit_nfkc"), expressions=[exp.column("unit")])
    return (
        exp.select(number.as_("own_day"), kind, unit.as_("unit_nfkc"))
        .from_("states")
        .where(home.isin(query=enrolled), *within(OWN_TIME, *span), *visible(hidden), exp.not_(tells_the_sun))
        .group_by(number, kind, unit)
        .having(exp.Count(this=exp.Distinct(expressions=[home])) >= min_homes)
    )


def select_enrolled(agreed: Collection[str], enrolled_days: int) -> exp.Select:
    """Select the enrolled homes: `home`. agreed: those that consented long enough ago. enrolled_days: as above."""
    home = exp.column("home")
    arrivals = exp.Count(this=exp.Distinct(expressions=[day_number(exp.column("received"))]))
    has_agreed = home.isin(*sorted(agreed)) if agreed else exp.false()
    return exp.select(home).from_("states").where(has_agreed).group_by(home).having(arrivals >= enrolled_days)


def of_groups(rows: pa.RecordBatch, groups: Groups) -> pa.RecordBatch:
    """Leave out the rows that are of none of the groups.

    rows: `time`, and `type` and `unit_nfkc`, which are dictionary-encoded.
    """
    days, day = np.unique(rows.column("time").cast(pa.int64()).to_numpy() // DAY_US, return_inverse=True)
    kinds, units = rows.column("type"), rows.column("unit_nfkc")
    # A null has the place after the last.
    unit = units.indices.fill_null(len(units.dictionary)).to_numpy()
    pairs = (day * len(kinds.dictionary) + kinds.indices.to_numpy()) * (len(units.dictionary) + 1) + unit
    found, place = np.unique(pairs, return_inverse=True)
    named = [*units.dictionary.to_pylist(), None]
    rest, unit_of = np.divmod(found, len(named))
    day_of, kind_of = np.divmod(rest, max(1, len(kinds.dictionary)))
    names = kinds.dictionary.to_pylist()
    chosen = [
        (int(days[d]), names[k], named[u]) in groups
        for d, k, u in zip(day_of.tolist(), kind_of.tolist(), unit_of.tolist(), strict=True)
    ]
    return rows.filter(pa.array(np.array(chosen, np.bool_)[place]))
