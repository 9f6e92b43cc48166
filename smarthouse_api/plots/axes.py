"""Axes: round numbers to mark, and which of many columns are named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_ROUND: Final = (1, 2, 5, 10)
_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US
_STEPS_US: Final = tuple(hours * _HOUR_US for hours in (1, 2, 3, 6, 12, 24, 48, 120, 240))


@dataclass(frozen=True)
class Scale:
    """Places numbers between two ends. ticks: round numbers between them, from the least."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def of(cls, low: float, high: float, most: int = 4) -> Scale:
        """Choose round ends around two numbers, and at most so many steps between them."""
        if high <= low:
            low, high = (low - 1, low + 1) if low else (0, 1)
        rough = (high - low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in _ROUND if factor * power >= rough * 0.999)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        ticks = tuple(round(number * step, 10) for number in range(first, last + 1))
        return cls(ticks[0], ticks[-1], ticks)

    def from_above(self, value: float) -> float:
        """Tell how far a number is from the upper end, as a share of the height."""
        return (self.high - value) / (self.high - self.low)


def named_columns(names: Sequence[str], most: int = 5) -> list[tuple[float, str]]:
    """Choose columns to name, evenly. Return their middles, as shares of the width, with the names."""
    count = len(names)
    if count <= most:
        chosen = list(range(count))
    elif count < 2 * most:
        chosen = list(range(0, count, 2))
    else:
        chosen = sorted({round(number * (count - 1) / (most - 1)) for number in range(most)})
    return [((column + 0.5) / count, names[column]) for column in chosen]


def whole_steps(begin: int, end: int, most: int = 4) -> list[int]:
    """Choose places on an axis of time to name: whole hours, or whole days.

    begin, end: of the axis, in microseconds since 1970, both inclusive, as are the places.
    """
    step = next((one for one in _STEPS_US if (end - begin) / one <= most), None)
    if step is None:
        step = -(-(end - begin) // (most * _DAY_US)) * _DAY_US
    return list(range(-(-begin // step) * step, end + 1, step))
