"""How a figure is written: one row for each promise, with its ratio to the baseline of the same run."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import psutil

HEADINGS: Final = ("what", "ours", "baseline", "ratio", "must", "ambition", "met?")
PACKAGES: Final = ("flask", "gunicorn", "msgspec", "orjson", "pyarrow", "deltalake", "duckdb")


@dataclass(frozen=True)
class Row:
    """A figure and its bounds. `figures`: one for each round, judged by their median; `low_is_good` turns the bounds round."""

    what: str
    ours: str
    baseline: str
    figures: Sequence[float]
    must: float | None = None
    ambition: float | None = None
    low_is_good: bool = False
    unit: str = ""

    def cells(self) -> tuple[str, ...]:
        bounds = (self._number(self.must), self._number(self.ambition))
        return (self.what, self.ours, self.baseline, self._figure(), *bounds, self._verdict())

    def _number(self, value: float | None) -> str:
        if value is None:
            return ""
        if self.unit == "1/":
            return f"1/{1 / value:.0f}"
        return f"{value:.{0 if value >= 10 else 2}f}{self.unit and f' {self.unit}'}"

    def _figure(self) -> str:
        middle = self._number(statistics.median(self.figures))
        if len(self.figures) == 1:
            return middle
        return f"{middle} ({self._number(min(self.figures))} to {self._number(max(self.figures))})"

    def _meets(self, bound: float | None) -> bool:
        if bound is None:
            return False
        middle = statistics.median(self.figures)
        return middle <= bound if self.low_is_good else middle >= bound

    def _verdict(self) -> str:
        if self.must is None:
            return ""
        return "ambition" if self._meets(self.ambition) else "must" if self._meets(self.must) else "NO"


def ratios(ours: Iterable[float], baseline: Iterable[float]) -> list[float]:
    """Ours over the baseline, round by round."""
    return [mine / other for mine, other in zip(ours, baseline, strict=True)]


def a_second(rates: Sequence[float], what: str) -> str:
    """The median of rates, with its range."""
    return f"{_short(statistics.median(rates))} {what}/s ({_short(min(rates))} to {_short(max(rates))})"


def _short(number: float) -> str:
    if number >= 1e6:
        return f"{number / 1e6:.2f} M"
    return f"{number / 1e3:.0f} k" if number >= 1e4 else f"{number:.0f}"


def machine() -> str:
    """What the figures were measured on."""
    memory = psutil.virtual_memory().total / 1e9
    cores = f"{psutil.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.machine()}"
    return f"{cores}, Python {platform.python_version()}, {', '.join(filter(None, map(_version, PACKAGES)))}"


def _version(package: str) -> str | None:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


def text(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    written = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines]
    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([written[0], rule, *written[1:]])
