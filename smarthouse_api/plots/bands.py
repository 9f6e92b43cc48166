"""Bands: a line, and a band around it, with gaps where nothing is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from smarthouse_api.plots.axes import Scale
from smarthouse_api.plots.svg import Drawing, marks, number, path, texts_at_left, texts_below

_HEIGHT: Final = 100.0
_PIXELS: Final = 180


class Point(NamedTuple):
    """Tells one place of the line and its band."""

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
) -> Drawing:
    """Draw a line through the middles, and a band from the lows to the highs.

    span: the ends of the axis. longest: points that are farther apart are not joined. names: places on the axis, with texts.
    """
    first, last = span
    width = last - first or 1.0
    scale = Scale.of(min((one.low for one in points), default=0), max((one.high for one in points), default=1))

    def height(value: float) -> str:
        return number(_HEIGHT * scale.from_above(value))

    def along(at: float) -> str:
        return number(100 * (at - first) / width)

    areas, lines = [], []
    for run in _runs(points, longest):
        upper = "L".join(f"{along(one.at)} {height(one.high)}" for one in run)
        lower = "L".join(f"{along(one.at)} {height(one.low)}" for one in reversed(run))
        areas.append(f"M{upper}L{lower}Z")
        lines.append("M" + "L".join(f"{along(one.at)} {height(one.middle)}" for one in run) + ("h0.4" if len(run) == 1 else ""))
    grid = [f"M0 {height(tick)}H100" for tick in scale.ticks]
    drawn = [path("grid", grid), path("band", areas), path("line", lines)]
    return Drawing(
        marks(sentence, 100, _HEIGHT, _PIXELS, drawn),
        texts_at_left([(scale.from_above(tick), write(tick)) for tick in scale.ticks], _PIXELS),
        texts_below([((at - first) / width, name) for at, name in names]),
    )


def _runs(points: Sequence[Point], longest: float) -> Iterator[list[Point]]:
    """Part the points where two neighbours are too far apart."""
    run = list(points[:1])
    for before, after in pairwise(points):
        if after.at - before.at > longest:
            yield run
            run = []
        run.append(after)
    if run:
        yield run
