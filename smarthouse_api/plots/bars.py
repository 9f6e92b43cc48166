"""Bars: a number for each column of days."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from smarthouse_api.plots.axes import Scale, named_columns
from smarthouse_api.plots.svg import Drawing, box, marks, number, path, texts_at_left, texts_below

_HEIGHT: Final = 100.0
_PIXELS: Final = 132
_LEAST: Final = 1.5
"""The height of a bar that would be too low to be seen."""


def bars(
    sentence: str,
    names: Sequence[str],
    counts: Sequence[int],
    write: Callable[[float], str],
    unknown: Collection[int] = (),
    **data: object,
) -> Drawing:
    """Draw a bar for each count; a column without one stays empty.

    sentence: what the plot tells. names: of the columns. write: writes a count. unknown: columns whose count is not known: they
    are shaded. data: attributes of the drawing.
    """
    scale = Scale.of(0, max([*counts, 1]), 2)
    steps = [
        box(column + 0.08, _HEIGHT - max(_LEAST, _HEIGHT * count / scale.high), column + 0.92, _HEIGHT)
        for column, count in enumerate(counts)
        if count
    ]
    grid = [f"M0 {number(_HEIGHT * scale.from_above(tick))}H{len(counts)}" for tick in scale.ticks]
    shades = [box(column, 0, column + 1, _HEIGHT) for column in unknown]
    drawn = [*([path("tone0", shades)] if shades else []), path("grid", grid), path("bar", steps)]
    labels = [(scale.from_above(tick), write(tick)) for tick in scale.ticks if tick == int(tick)]
    return Drawing(
        marks(sentence, max(1, len(counts)), _HEIGHT, _PIXELS, drawn, **data),
        texts_at_left(labels, _PIXELS),
        texts_below(named_columns(names)),
    )
