"""SVG as text: elements, paths, and the drawing that a page puts together.

A drawing stretches to the width of its page, and its texts must not: so marks and texts are elements of their own. Marks have
coordinates of the data. Texts stand at shares of the width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

SIDEWAYS: Final = 16
"""The height of a line of texts, in pixels."""


@dataclass(frozen=True)
class Drawing:
    """Holds the parts of a plot: what is drawn, and the texts at its left and below it. Each is an `svg` element."""

    marks: str
    left: str
    below: str


def element(name: str, *inner: str, **attributes: object) -> str:
    """Write an element. inner: elements that are written already. In the names of attributes, `_` stands for `-`.

    An underscore at the end is only for names that Python keeps to itself, such as `class_`.
    """
    told = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for key, value in attributes.items())
    return f"<{name}{told}>{''.join(inner)}</{name}>" if inner else f"<{name}{told}/>"


def text(words: str, **attributes: object) -> str:
    """Write a text. words: as they are, whatever they hold."""
    return element("text", escape(words), **attributes)


def marks(name: str, width: float, height: float, pixels: int, inner: Iterable[str], **attributes: object) -> str:
    """Write what is drawn, in coordinates of the data. name: a sentence for those who cannot see it. pixels: its height."""
    return element(
        "svg",
        *inner,
        class_="marks",
        role="img",
        aria_label=name,
        viewBox=f"0 0 {number(width)} {number(height)}",
        preserveAspectRatio="none",
        height=pixels,
        width="100%",
        **attributes,
    )


def texts_below(labels: Sequence[tuple[float, str]]) -> str:
    """Write texts below a drawing. labels: each with its place, a share of the width."""
    told = []
    for place, words in labels:
        anchor = "start" if place < 0.04 else "end" if place > 0.96 else "middle"
        told.append(text(words, x=f"{number(100 * place)}%", y=12, text_anchor=anchor))
    return element("svg", *(told or [""]), class_="below", aria_hidden="true", width="100%", height=SIDEWAYS)


def texts_at_left(labels: Sequence[tuple[float, str]], pixels: int) -> str:
    """Write texts at the left of a drawing of so many pixels. labels: each with its place from above, a share of the height."""
    told = []
    for place, words in labels:
        height = min(max(place * pixels + 4, 10), pixels - 2)
        told.append(text(words, x="100%", y=number(height), text_anchor="end"))
    return element("svg", *(told or [""]), class_="left", aria_hidden="true", width="100%", height=pixels)


def path(class_: str, steps: Iterable[str]) -> str:
    """Write a path."""
    return element("path", class_=class_, d="".join(steps))


def box(left: float, top: float, right: float, bottom: float) -> str:
    """Write a rectangle as steps of a path."""
    return f"M{number(left)} {number(top)}H{number(right)}V{number(bottom)}H{number(left)}Z"


def number(value: float) -> str:
    """Write a coordinate, in as few digits as can be seen."""
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"
