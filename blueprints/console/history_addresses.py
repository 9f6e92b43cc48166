"""Addresses of the owner's page: the entity, the days or a part of them, and where the buttons lead.

Logs, proxies and browsers keep addresses, and an entity's id may name a person. So an address has a token in its place.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from flask import url_for
from flask_babel import gettext
from werkzeug.datastructures import MultiDict

from smarthouse_api.access.sessions import Session
from smarthouse_api.arrow.times import DAY_US, EPOCH, FIRST_US, LAST_US, QUERY, microseconds, read_time, time_of
from smarthouse_api.errors import Invalid

_PARAMETERS: Final = ("entity", "days", "until", "from", "to", "page")
_SPANS: Final = (1, 7, 30, 90, 365, 3650)
_LEAST_PART_US: Final = 60_000_000
_TOKEN_DIGITS: Final = 20
_MOST_PAGES: Final = 10_000


@dataclass(frozen=True)
class AskedHistory:
    """Names the entity to show by its token, and the days: so many, the last one included.

    until: None for the last days that have states. part: a part of the days instead, from one time to another, in microseconds
    since 1970. page_number: of the list of uploads.
    """

    entity: str | None = None
    days: int = 7
    until: date | None = None
    part: tuple[int, int] | None = None
    page_number: int = 1

    def page(self, anchor: str = "history", **changes: Any) -> str:
        """Return the address of the page with some of it changed."""
        asked = replace(self, **changes)
        told: dict[str, object] = {"entity": asked.entity}
        if asked.part is None:
            told |= {"days": asked.days, "until": asked.until}
        else:
            told |= dict(zip(("from", "to"), map(_minute_text, asked.part), strict=True))
        told |= {"page": asked.page_number} if asked.page_number > 1 else {}
        query = urlencode({name: value for name, value in told.items() if value is not None})
        return f"{url_for('Console.home')}?{query}#{anchor}"


def entity_token(session: Session, entity_id: str) -> str:
    """Name an entity in the addresses of a session, so that nobody can tell its id by them."""
    return hmac.digest(session.token.encode(), b"entity\0" + entity_id.encode(), "sha256").hex()[:_TOKEN_DIGITS]


def asked_history(given: MultiDict[str, str]) -> AskedHistory:
    """Read what is asked for. Raises `Invalid`."""
    if unknown := [name for name in given if name not in _PARAMETERS or len(given.getlist(name)) > 1]:
        raise Invalid(
            f"{unknown[0][:40]}: is not a parameter here, or is repeated; the parameters are {', '.join(_PARAMETERS)}"
        )
    days, until, page = given.get("days", "7"), given.get("until"), given.get("page", "1")
    if days not in map(str, _SPANS):
        raise Invalid(f"days: is one of {', '.join(map(str, _SPANS))}")
    if not (page.isascii() and page.isdecimal() and 0 < int(page[:9]) <= _MOST_PAGES):
        raise Invalid(f"page: must be a whole number from 1 to {_MOST_PAGES}")
    return AskedHistory(given.get("entity"), int(days), None if until is None else _day(until), _part(given), int(page))


def _part(given: MultiDict[str, str]) -> tuple[int, int] | None:
    """Read which part of the days is asked for. Raises `Invalid`."""
    ends = [given.get(name) for name in ("from", "to")]
    if ends == [None, None]:
        return None
    try:
        since, until = (microseconds(_time(end)) for end in ends if end is not None)
    except (ValueError, OverflowError):
        raise Invalid("from, to: must both be times, such as 2026-03-01T12:30Z") from None
    if until - since < _LEAST_PART_US:
        raise Invalid("to: must be a minute or more after from")
    return since, until


def _time(text: str) -> datetime:
    """Read a time that says how far from UTC it is. Raises `ValueError`, `OverflowError`."""
    read = datetime.fromisoformat(text)
    if read.tzinfo is None:
        raise ValueError("there is no offset")
    return read.astimezone(UTC)


def _day(text: str) -> date:
    try:
        read = read_time(text, QUERY)
    except ValueError:
        read = None
    if read is None or not read.is_day:
        raise Invalid("until: must be a day that exists, as YYYY-MM-DD")
    return read.local.date()


def span_of(asked: AskedHistory) -> tuple[int, int]:
    """Return the first and the last microsecond that is asked for."""
    if asked.part is not None:
        return asked.part
    until = asked.until or date.max
    since = until - timedelta(days=min(asked.days - 1, until.toordinal() - 1))
    return _start_us(since), _start_us(until) + DAY_US - 1


def moves(here: AskedHistory) -> dict[str, str]:
    """Return where the buttons lead, by their titles."""
    return _moves_of_days(here) if here.part is None else _moves_of_part(here, *here.part)


def _moves_of_days(here: AskedHistory) -> dict[str, str]:
    until, place = here.until or date.max, _SPANS.index(here.days)
    return {
        gettext("Earlier"): here.page(until=max(date.min, until - timedelta(days=min(here.days, until.toordinal() - 1)))),
        gettext("Closer"): here.page(days=_SPANS[max(0, place - 1)]),
        gettext("Wider"): here.page(days=_SPANS[min(len(_SPANS) - 1, place + 1)]),
        gettext("Later"): here.page(until=until + timedelta(days=min(here.days, date.max.toordinal() - until.toordinal()))),
    }


def _moves_of_part(here: AskedHistory, since: int, until: int) -> dict[str, str]:
    length = until - since
    quarter = length // 4 if length > 2 * _LEAST_PART_US else 0
    ends = {
        gettext("Earlier"): (since - length, until - length),
        gettext("Closer"): (since + quarter, until - quarter),
        gettext("Wider"): (since - length // 2, until + length // 2),
        gettext("Later"): (since + length, until + length),
    }
    there = {title: part for title, part in ends.items() if part[0] >= FIRST_US and part[1] <= LAST_US}
    last = time_of(until).date()
    return {
        **{title: here.page(part=part) for title, part in there.items()},
        gettext("Whole days"): here.page(part=None, until=last),
    }


def _minute_text(us: int) -> str:
    return f"{time_of(us):%Y-%m-%dT%H:%MZ}"


def _start_us(day: date) -> int:
    return (day.toordinal() - EPOCH.toordinal()) * DAY_US
