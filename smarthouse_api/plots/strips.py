"""Strips: what a word was, over time, in colours that a legend names. What is not known stays empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from smarthouse_api.plots.svg import Drawing, box, element, marks, path, texts_at_left, texts_below

_HEIGHT: Final = 10.0
_PIXELS: Final = 44
_SWATCH: Final = 12
COLOURS: Final = 6
"""Words with a colour of their own; all others share the last one."""


class Lasting(NamedTuple):
    """Says which word it was, by its number, from one time to another."""

    word: int
    begin: float
    end: float


def strip(
    sentence: str,
    lasting: Sequence[Lasting],
    span: tuple[float, float],
    names: Sequence[tuple[float, str]],
    data: Mapping[str, object] = MappingProxyType({}),
) -> Drawing:
    """Draw a rectangle for as long as each word lasted.

    span: the ends of the axis. names: places on the axis, with texts. data: attributes of the drawing.
    """
    first, last = span
    width = last - first or 1.0
    steps: dict[int, list[str]] = {}
    for one in lasting:
        ends = (100 * (at - first) / width for at in (one.begin, one.end))
        left, right = (min(max(end, 0.0), 100.0) for end in ends)
        steps.setdefault(min(one.word, COLOURS - 1), []).append(box(left, 0, max(right, left + 0.1), _HEIGHT))
    drawn = [path("tone0", [box(0, 0, 100, _HEIGHT)]), *(path(f"word{word}", found) for word, found in sorted(steps.items()))]
    return Drawing(
        marks(sentence, 100, _HEIGHT, _PIXELS, drawn, **data),
        texts_at_left([], _PIXELS),
        texts_below([((at - first) / width, name) for at, name in names]),
    )


def swatch(word: int) -> str:
    """Write the colour of a word, for a legend."""
    colour = element("rect", class_=f"word{min(word, COLOURS - 1)}", width=_SWATCH, height=_SWATCH)
    return element("svg", colour, width=_SWATCH, height=_SWATCH, aria_hidden="true")
