"""Heat maps: rows of cells, darker for more. Neighbours of one tone are one rectangle, or a year would be a megabyte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from smarthouse_api.plots.axes import named_columns
from smarthouse_api.plots.svg import Drawing, box, marks, path, texts_at_left, texts_below

_TONES: Final = 5
_MIDDLE: Final = 3
_ROW_PIXELS: Final = 15
_MARGIN: Final = 0.08
_ALIKE: Final = 1.5
"""Counts that differ by no more than this factor all have the middle tone."""


def heat(sentence: str, columns: Sequence[str], names: Sequence[str], counts: Sequence[Sequence[int | None]]) -> Drawing:
    """Draw a cell for each count; None and 0 stay empty. sentence: what the plot tells. names: of the rows."""
    width, pixels = max(1, len(columns)), max(1, len(counts)) * _ROW_PIXELS
    there = [count for row in counts for count in row if count]
    runs: dict[int, list[str]] = {tone: [] for tone in range(_TONES + 1)}
    for place, row in enumerate(counts):
        for tone, first, end in _runs(row, min(there, default=1), max(there, default=1)):
            runs[tone].append(box(first, place + _MARGIN, end, place + 1 - _MARGIN))
    drawn = [path(f"tone{tone}", steps) for tone, steps in runs.items() if steps]
    labels = [((place + 0.5) / len(names), name) for place, name in enumerate(names)]
    return Drawing(
        marks(sentence, width, max(1, len(counts)), pixels, drawn),
        texts_at_left(labels, pixels),
        texts_below(named_columns(columns)),
    )


def _runs(row: Sequence[int | None], least: int, greatest: int) -> Iterator[tuple[int, int, int]]:
    """Put neighbours of one tone together: the tone, the first column, and the one after the last."""
    place = 0
    for tone, some in groupby(_tone(count, least, greatest) for count in row):
        count = len(list(some))
        yield tone, place, place + count
        place += count


def _tone(count: int | None, least: int, greatest: int) -> int:
    if not count:
        return 0
    if greatest <= least * _ALIKE:
        return _MIDDLE
    return min(_TONES, 1 + int(_TONES * count / (greatest + 1)))
