"""Times one by one: as microseconds since 1970, as RFC 3339 text, and read from the texts of clients.

Columns of times are in `time_columns`. This module imports no Arrow, so that a command line that needs none starts at once.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

DAY_US: Final = 86_400_000_000
"""A day in microseconds."""

FIRST_US: Final = -62_135_596_800_000_000
LAST_US: Final = 253_402_300_799_999_999
"""The years 1 to 9999, in microseconds since 1970."""

RECORD: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ]((?:[01]\d|2[0-3]):[0-5]\d)(?:(:[0-5]\d)(\.\d{1,9})?)?"
    r"(?:([Zz])|([+-])([01]\d|2[0-3])(?::?([0-5]\d))?)?)?",
    re.ASCII,
)
"""The form of a time in a record: seconds and offset may be missing, and the offset may be short."""

QUERY: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2})(:\d{2})(\.\d+)?(?:([Zz])|([+ -])(\d{2}):(\d{2})))?", re.ASCII
)
"""The form of a time in a query: a date, or all of RFC 3339. A plus that was not percent-encoded arrives as a space."""

_EPOCH: Final = datetime(1970, 1, 1)
_DAY: Final = timedelta(days=1)
_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """Count a time in microseconds since 1970, UTC. Raises `TypeError` for a time without an offset."""
    return (at - EPOCH) // _MICROSECOND


def time_of(us: int) -> datetime:
    """Return the time that is so many microseconds after 1970, UTC: the inverse of `microseconds`."""
    return EPOCH + timedelta(microseconds=us)


def time_text(at: datetime) -> str:
    """Write a time as RFC 3339 in UTC, always with six digits of microseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_text(at: datetime) -> str:
    """Write a time as RFC 3339 in UTC to the second, for people."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ReadTime(NamedTuple):
    """Keeps a time as a client wrote it, so that its offset, its fraction and a missing clock can still be told.

    local: the time by the text's own clock, to the second. fraction: the fraction of a second as text, dot included. offset:
    of the clock from UTC; None if the text names none. is_day: the text is a date alone.
    """

    local: datetime
    fraction: str
    offset: timedelta | None
    is_day: bool

    @property
    def us(self) -> int:
        """Microseconds since 1970, UTC. A time without an offset is in UTC. Digits beyond the sixth do not count."""
        since = self.local - _EPOCH
        if self.offset:
            since -= self.offset
        whole = (since.days * 86_400 + since.seconds) * 1_000_000
        return whole + int(self.fraction[1:7].ljust(6, "0")) if self.fraction else whole

    def utc(self) -> datetime:
        """Return the time in UTC, to the second, without a zone. Raises `OverflowError` beyond the years 1 to 9999."""
        return self.local - self.offset if self.offset else self.local


def read_time(text: str, form: re.Pattern[str]) -> ReadTime | None:
    """Read the time that a text names; None for a text of another form. Raises `ValueError` for a time that does not exist.

    form: `RECORD` or `QUERY`.
    """
    found = form.fullmatch(text)
    if found is None:
        return None
    day, clock, seconds, fraction, zulu, sign, hours, minutes = found.groups()
    local = datetime.fromisoformat(f"{day}T{clock or '00:00'}{seconds or ':00'}")
    if sign is None:
        return ReadTime(local, fraction or "", timedelta() if zulu else None, clock is None)
    offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
    if offset >= _DAY:
        raise ValueError("an offset is less than a day")
    return ReadTime(local, fraction or "", -offset if sign == "-" else offset, False)
