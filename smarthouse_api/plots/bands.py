"""Bands: a line, and a band around it, with gaps where nothing is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isnan
from types import MappingProxyType
from typing import Final, NamedTuple

from smarthouse_api.plots.axes import Scale
from smarthouse_api.plots.svg import Drawing, marks, number, path, texts_at_left, texts_below

_HEIGHT: Final = 100.0
_PIXELS: Final = 180


class Point(NamedTuple):
    """Tells one place of the line and its band. A middle that is not a number says that nothing is known from there on."""

    at: float
    low: float
    middle: float
    high: float


def band(
    sentence: str,
    points: Sequence[Point],
    span: tuple[float, float],
    longest: float,
    names: Sequence[tuple[float, str]],
    write: Callable[[float], str],
    *,
    is_stepped: bool = False,
    data: Mapping[str, object] = MappingProxyType({}),
    is_from_zero: bool = False,
) -> Drawing:
    """Draw a line through the middles, and a band from the lows to the highs.

    span: the ends of the axis. longest: points that are farther apart are not joined. names: places on the axis, with texts.
    is_stepped: each middle lasts until the next one. is_from_zero: the scale begins at 0. data: attributes of the drawing.
    """
    first, last = span
    width = last - first or 1.0
    known = [one for one in points if not isnan(one.middle)]
    least = 0 if is_from_zero else min((one.low for one in known), default=0)
    scale = Scale.of(least, max((one.high for one in known), default=1))

    def height(value: float) -> str:
        return number(_HEIGHT * scale.from_above(value))

    def along(at: float) -> str:
        return number(100 * (at - first) / width)

    areas, lines = [], []
    for run in _runs(points, longest):
        if any(one.low < one.high for one in run):
            upper = "L".join(f"{along(one.at)} {height(one.high)}" for one in run)
            lower = "L".join(f"{along(one.at)} {height(one.low)}" for one in reversed(run))
            areas.append(f"M{upper}L{lower}Z")
        places = [(along(one.at), height(one.middle)) for one in run]
        joined = _stepped(places) if is_stepped else "".join(f"L{x} {y}" for x, y in places[1:])
        lines.append(f"M{places[0][0]} {places[0][1]}{joined or 'h0.4'}")
    grid = [f"M0 {height(tick)}H100" for tick in scale.ticks]
    drawn = [path("grid", grid), path("band", areas), path("line", lines)]
    return Drawing(
        marks(sentence, 100, _HEIGHT, _PIXELS, drawn, **data),
        texts_at_left([(scale.from_above(tick), write(tick)) for tick in scale.ticks], _PIXELS),
        texts_below([((at - first) / width, name) for at, name in names]),
    )


def _stepped(places: Sequence[tuple[str, str]]) -> str:
    """Write steps from one place to the next. What stays the same is one step."""
    steps, height = list[str](), places[0][1]
    for x, y in places[1:]:
        if y != height:
            steps.append(f"H{x}V{y}")
            height = y
    if len(places) > 1 and places[-1][1] == places[-2][1]:
        steps.append(f"H{places[-1][0]}")
    return "".join(steps)


def _runs(points: Sequence[Point], longest: float) -> Iterator[list[Point]]:
    """Part the points where two neighbours are too far apart, and where one is not known."""
    run = list[Point]()
    for one in points:
        if run and (isnan(one.middle) or one.at - run[-1].at > longest):
            yield run
            run = []
        if not isnan(one.middle):
            run.append(one)
    if run:
        yield run
