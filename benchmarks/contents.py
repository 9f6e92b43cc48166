"""What is in the lake: a question against a scan of the lake for the same, in processor time of one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from sqlglot import exp

from benchmarks import kept, lake
from benchmarks.homes import FIRST_DAY
from benchmarks.layout import FILTERED_DAYS, FILTERED_FROM_DAY
from benchmarks.stores import Stores
from benchmarks.table import Row, ratios
from smarthouse_api.house import House
from smarthouse_api.lake.planning import day_number
from smarthouse_api.states.contents import answers
from smarthouse_api.states.contents.service import Opened
from smarthouse_api.states.query import ExportPart, Filters

ROUNDS: Final = 5
QUESTIONS: Final = 20
"""How often a question is asked in a round: one takes less than the clock of the processor and the rest of a scan can tell."""


def measure(size: str) -> list[Row]:
    """The rows for one lake: each question, and the first one of a process that finds what was counted."""
    with lake.opened(Stores(kept.lake_of(kept.HOMES[size]))) as house:
        house.states.contents.count(lambda: False)
        return [_row(house, name, *one) for name, one in _questions().items()]


def _questions() -> dict[str, tuple[Callable[[Opened], object], exp.Select]]:
    first = FIRST_DAY + timedelta(days=FILTERED_FROM_DAY)
    filters = Filters(first, first + timedelta(days=FILTERED_DAYS - 1), ("sensor",), ("°C",))
    homes, rows = exp.Count(this=exp.Distinct(expressions=[exp.column("home")])), exp.Count(this=exp.Star())
    kind = [exp.column(name) for name in ("type", "unit", "device_class")]
    value = exp.column("value")
    day = day_number(exp.column("time"))
    condition = filters.condition(ExportPart(*filters.span))
    return {
        "estimate": (
            lambda opened: answers.estimate(opened, opened.select(filters), ["csv"]),
            exp.select(rows, homes.copy()).from_("states").where(condition),
        ),
        "facets": (
            lambda opened: answers.facets(
                opened.select(Filters()), dict.fromkeys(answers.FACETS, opened.select(Filters())), with_values=True
            ),
            exp.select(*kind, rows.copy(), homes.copy(), exp.Min(this=value), exp.Max(this=value))
            .from_("states")
            .group_by(*kind),
        ),
        "coverage": (
            lambda opened: answers.coverage_by_home(opened.select(Filters()), b"secret"),
            exp.select(exp.column("home"), day.as_("day"), rows.copy()).from_("states").group_by(exp.column("home"), day),
        ),
    }


def _row(house: House, name: str, tell: Callable[[Opened], object], scan: exp.Select) -> Row:
    ours, theirs = list[float](), list[float]()
    for number in range(ROUNDS + 1):
        asked = _seconds(lambda: [house.states.contents.answer(tell) for _ in range(QUESTIONS)])
        took = asked / QUESTIONS, _seconds(lambda: _scan(house, scan))
        if number:  # the first one warms up
            ours.append(took[0])
            theirs.append(took[1])
    return Row(
        f"{name} of {lake.rows(house) / 1e6:.1f} M states, against a scan",
        f"{1000 * sorted(ours)[ROUNDS // 2]:.1f} ms",
        f"{1000 * sorted(theirs)[ROUNDS // 2]:.1f} ms",
        ratios(ours, theirs),
        must=1 / 7,
        ambition=1 / 50,
        low_is_good=True,
        unit="1/",
    )


def _scan(house: House, query: exp.Select) -> None:
    snapshot = house.states.table.open()
    assert snapshot is not None
    for _ in house.engine.stream(snapshot, query):
        pass


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
