"""What a home has uploaded, as its owner sees it: how much arrived each day, and what became of each upload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

from flask_babel import gettext

from blueprints.console.figures import arrivals_figure
from blueprints.console.history_addresses import AskedHistory
from blueprints.console.languages import time_element
from blueprints.current_request import house
from smarthouse_api.arrow.times import time_of
from smarthouse_api.errors import NotFound
from smarthouse_api.states.contents.answers import Axis
from smarthouse_api.states.homes import Home
from smarthouse_api.states.listed_uploads import MOST_READ, ListedUpload

_ON_A_PAGE: Final = 20
_MOST_COLUMNS: Final = 62


def given_part(home: Home | None, asked: AskedHistory) -> dict[str, Any]:
    """List the uploads of a home, the newest first, and draw what arrived each day. Raises `NotFound` for a page too many."""
    if home is None:
        return {"uploads": ()}
    listed = house().states.uploads.listed(home.key, 0, MOST_READ)
    number, pages = asked.page_number, max(1, -(-len(listed.uploads) // _ON_A_PAGE))
    if number > pages:
        raise NotFound(gettext("There are only %(count)s pages.", count=pages))
    shown = listed.uploads[(number - 1) * _ON_A_PAGE : number * _ON_A_PAGE]
    return {
        "uploads": lines_of(shown),
        "is_list_cut": listed.is_cut,
        "arrivals": _arrivals(listed.uploads),
        "number": number,
        "last_page": pages,
        "more": lambda other: asked.page("uploads", page_number=other),
    }


def _arrivals(uploads: Sequence[ListedUpload]) -> Any:
    """Draw how many states and periods of statistics arrived each day, until today; None if no time is known."""
    records, counts = Counter[date](), Counter[date]()
    for one in uploads:
        if one.received_us is not None:
            day = time_of(one.received_us).date()
            records[day] += one.records + one.statistics
            counts[day] += 1
    if not counts:
        return None
    axis = Axis.of({*counts, datetime.now(UTC).date()}, _MOST_COLUMNS)
    told = [[0, 0] for _ in range(axis.count)]
    for day, count in counts.items():
        place = told[axis.place(day)]
        place[0] += records[day]
        place[1] += count
    return arrivals_figure(axis.days, axis.step, [one[0] for one in told], [one[1] for one in told])


def lines_of(uploads: Sequence[ListedUpload]) -> list[tuple[ListedUpload, str, list[str]]]:
    """Tell when each upload came, and what became of it, in the reader's language."""
    return [(one, "–" if one.received_us is None else time_element(one.received_us), _notes(one)) for one in uploads]


def _notes(upload: ListedUpload) -> list[str]:
    notes = list[str]()
    if upload.is_waiting:
        notes.append(gettext("waits for the lake"))
    if upload.is_lacking:
        notes.append(gettext("damaged or missing"))
    if upload.is_expired:
        notes.append(gettext("expired: its bytes were deleted for their age"))
    if not notes and not upload.detail:
        is_there = upload.records or upload.statistics
        notes.append(gettext("in the lake") if is_there else gettext("nothing in it was recognised"))
    return notes
