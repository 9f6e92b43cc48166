"""The states of one entity, as its home's owner sees them: numbers as a line, words as a strip, gaps as gaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from flask_babel import gettext, ngettext
from markupsafe import Markup

from blueprints.console.figures import Figure, figure_of
from blueprints.console.history_addresses import AskedHistory, entity_token, moves, span_of
from blueprints.console.languages import axis_names, count_text, time_element, value_text
from blueprints.current_request import house
from smarthouse_api.access.sessions import Session
from smarthouse_api.archives.looking import MOST_STATES, History
from smarthouse_api.arrow.times import DAY_US, LAST_US, seconds_text, time_of
from smarthouse_api.plots.bands import Point, band
from smarthouse_api.plots.strips import COLOURS, Lasting, strip, swatch
from smarthouse_api.states.homes import Home

_SECOND_US: Final = 1_000_000
_BINS: Final = 300
_MOST_POINTS: Final = 600
_LEAST_GAP_US: Final = 6 * 3_600_000_000
"""A number may stay the same for so long. A gap is longer, and three usual times between states."""
_HELD_US: Final = DAY_US
"""For how long a word lasts at most, if no other state follows."""
_NOT_KNOWN: Final = frozenset({"unknown", "unavailable", ""})
_TABLED: Final = 50


def history_part(home: Home | None, looked: Any, asked: AskedHistory, session: Session) -> dict[str, Any]:
    """Draw the states of the entity that is asked for; of the first one, if none is."""
    found = (one for one in looked.entities if asked.entity in (None, entity_token(session, one.id)))
    if home is None or (entity := next(found, None)) is None:
        return {"entity": None, "is_lost": asked.entity is not None and bool(looked.entities)}
    here = replace(asked, entity=entity_token(session, entity.id), until=asked.until or time_of(entity.last_us).date())
    span = span_of(here)
    history = house().archives.looking.history(home, entity.id, *span)
    ends = [seconds_text(time_of(min(at, LAST_US))) for at in (span[0], span[1] + (here.part is None))]
    told = {"entity": entity, "moves": moves(here), "ends": ends, "is_cut": len(history.words) >= MOST_STATES}
    if not len(history.at):
        return {**told, "history": None, "legend": ()}
    data = {
        "data_from": span[0] // _SECOND_US,
        "data_to": span[1] // _SECOND_US + 1,
        "data_page": here.page(days=7, until=None),
    }
    if np.isfinite(history.values).any():
        return {**told, "history": _numbers(history, span, entity.unit or "", data), "legend": ()}
    return told | _words(history, span, data)


def _numbers(history: History, span: tuple[int, int], unit: str, data: Mapping[str, object]) -> Figure:
    points = _points(history, span)
    known = history.values[np.isfinite(history.values)]
    longest = _longest(history.at)
    sentence = ngettext(
        "%(num)s state; least %(least)s, mean %(mean)s, greatest %(greatest)s %(unit)s. A gap is a gap.",
        "%(num)s states; least %(least)s, mean %(mean)s, greatest %(greatest)s %(unit)s. A gap is a gap.",
        len(history.at),
        least=value_text(float(known.min())),
        mean=value_text(float(known.mean())),
        greatest=value_text(float(known.max())),
        unit=unit,
    )
    width = (span[1] - span[0]) / _BINS
    is_stepped = len(history.at) <= _MOST_POINTS
    drawing = band(
        sentence,
        points,
        span,
        max(longest, 2 * width),
        axis_names(span[0], span[1] + 1),
        value_text,
        is_stepped=is_stepped,
        data=data,
    )
    return figure_of(drawing, sentence, _heads(), _table(history))


def _points(history: History, span: tuple[int, int]) -> list[Point]:
    """Make a point of each number; of each interval, if there are many. A state that is no number parts the line."""
    at, values = history.at, history.values
    if len(at) <= _MOST_POINTS:
        return [Point(float(t), v, v, v) for t, v in zip(at.tolist(), values.tolist(), strict=True)]
    finite = np.isfinite(values)
    at, values = at[finite], values[finite]
    width = (span[1] - span[0] + 1) / _BINS
    place = ((at - span[0]) / width).astype(np.int64)
    bins, first = np.unique(place, return_index=True)
    low, high = np.minimum.reduceat(values, first), np.maximum.reduceat(values, first)
    mean = np.add.reduceat(values, first) / np.diff(np.append(first, len(values)))
    told = zip(bins.tolist(), low.tolist(), mean.tolist(), high.tolist(), strict=True)
    return [Point(span[0] + (number + 0.5) * width, a, b, c) for number, a, b, c in told]


def _words(history: History, span: tuple[int, int], data: Mapping[str, object]) -> dict[str, Any]:
    at, words = history.at.tolist(), history.words
    counted = Counter(word for word in words if word not in _NOT_KNOWN)
    order = {word: number for number, (word, _) in enumerate(counted.most_common())}
    ends = [*at[1:], min(span[1], at[-1] + _HELD_US)]
    lasting = [
        Lasting(order[word], begin, min(end, begin + _HELD_US))
        for word, begin, end in zip(words, at, ends, strict=True)
        if word in order
    ]
    sentence = ngettext("%(num)s state. What is not known is empty.", "%(num)s states. What is not known is empty.", len(at))
    figure = figure_of(
        strip(sentence, lasting, span, axis_names(span[0], span[1] + 1), data), sentence, _heads(), _table(history)
    )
    shown = list(order.items())[: COLOURS - 1]
    legend = [(Markup(swatch(number)), word, count_text(counted[word])) for word, number in shown]  # noqa: S704 - of ours
    if len(order) >= COLOURS:
        rest = sum(counted.values()) - sum(counted[word] for word, _ in shown)
        legend.append((Markup(swatch(COLOURS - 1)), gettext("others"), count_text(rest)))  # noqa: S704
    return {"history": figure, "legend": legend}


def _heads() -> tuple[str, str]:
    return gettext("Time"), gettext("State")


def _longest(at: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    """Tell how long a time between two states is not yet a gap."""
    return max(_LEAST_GAP_US, 3 * float(np.median(np.diff(at)))) if len(at) > 1 else _LEAST_GAP_US


def _table(history: History) -> list[tuple[str, str]]:
    """Write the newest states."""
    newest = list(zip(history.at.tolist(), history.words, strict=True))[-_TABLED:]
    return [(time_element(at), word) for at, word in reversed(newest)]
