"""The pieces of a publication: files of a part of the time each, so that only those are sent again that have changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from smarthouse_api.states.query import Filters

PREFIX: Final = "smarthouse_"
"""How the names of all files begin that are published."""

LENGTHS: Final = ("month", "day", "whole")


@dataclass(frozen=True, slots=True)
class Piece:
    """Tells of one file: its name, its format, and the filters of its rows."""

    name: str
    format: str
    filters: Filters


def pieces(filters: Filters, formats: tuple[str, ...], length: str, days: list[date]) -> Iterator[Piece]:
    """Divide what passes some filters. length: of `LENGTHS`. days: those that have such rows."""
    spans = {_span(day, length) for day in days} if length != "whole" else ({(min(days), max(days))} if days else set())
    for first, last in sorted(spans):
        since, until = max(first, filters.since or first), min(last, filters.until or last)
        for format_ in formats:
            named = f"{PREFIX}{_label(first, length)}.{format_}"
            bounds = (filters.since, filters.until) if length == "whole" else (since, until)
            yield Piece(named, format_, replace(filters, since=bounds[0], until=bounds[1]))


def _span(day: date, length: str) -> tuple[date, date]:
    if length == "day":
        return day, day
    after = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return day.replace(day=1), after - timedelta(days=1)


def _label(first: date, length: str) -> str:
    return {"day": f"{first:%Y-%m-%d}", "month": f"{first:%Y-%m}"}.get(length, "states")
