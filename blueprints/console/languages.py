"""The languages of the console, and how numbers, sizes and days are written in them.

The catalogues are read as translators write them: nothing is compiled when the package is built.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from babel.dates import format_skeleton
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import Flask, request
from flask_babel import Babel, Domain, format_date, format_decimal, get_locale, gettext
from markupsafe import Markup

from blueprints.console.json_texts import pretty
from smarthouse_api.arrow.times import DAY_US, time_of
from smarthouse_api.plots.axes import whole_steps

CATALOGUES: Final = Path(__file__).parent / "translations"
LANGUAGES: Final = ("en", "pt", "de")
_STEPS: Final = {"day": "MMMd", "week": "MMMd", "month": "yMMM", "year": "y", "century": "y"}
_UNITS: Final = ("kB", "MB", "GB", "TB", "PB")


class CatalogueDomain(Domain):  # type: ignore[misc]
    """Finds the words of a language in the catalogue that its translators wrote."""

    def get_translations(self) -> NullTranslations:
        return _catalogue(str(get_locale()))


class Languages(Babel):  # type: ignore[misc]
    """Translates by the catalogues of the console."""

    @property
    def domain_instance(self) -> Domain:
        return CatalogueDomain()


def register(app: Flask) -> None:
    """Have `app` translate templates and texts into the language of the browser."""
    Languages(app, locale_selector=language)
    filters = {"count": count_text, "value": value_text, "size": size_text, "day": day_text, "us_day": us_day_text}
    app.jinja_env.filters.update(filters, us_time=time_element, pretty=pretty, coded=coded)


def language() -> str:
    """Choose the language of the current request."""
    return request.accept_languages.best_match(LANGUAGES) or LANGUAGES[0]


@lru_cache(len(LANGUAGES))
def _catalogue(name: str) -> NullTranslations:
    path = CATALOGUES / f"{name}.po"
    if not path.exists():
        return NullTranslations()
    compiled = BytesIO()
    with path.open("rb") as written:
        write_mo(compiled, read_po(written, locale=name))
    compiled.seek(0)
    return Translations(compiled)


def count_text(count: int) -> str:
    """Write a whole number."""
    return str(format_decimal(count, "#,##0"))


def value_text(value: float | None) -> str:
    """Write a measured value, in six digits at most; nothing for none."""
    return "" if value is None else str(format_decimal(float(f"{value:.6g}"), "#,##0.######"))


def size_text(size: float) -> str:
    """Write a number of bytes as people say it."""
    if size < 1000:
        return str(gettext("%(count)s bytes", count=count_text(int(size))))
    for unit in _UNITS:
        size /= 1000
        if size < 1000 or unit == _UNITS[-1]:
            break
    return f"{format_decimal(size, '#,##0.0' if size < 100 else '#,##0')} {unit}"


def coded(text: str) -> Markup:
    """Show what stands between backticks as code."""
    code, parts = Markup("<code>{}</code>"), text.split("`")
    return Markup().join(code.format(part) if place % 2 else part for place, part in enumerate(parts))


def day_text(day: date | str | None) -> str:
    """Write a day."""
    return "" if day is None else str(format_date(_read(day), "medium"))


def us_day_text(us: int) -> str:
    """Write the day of a time in microseconds since 1970."""
    return day_text(time_of(us).date())


def column_text(day: str, step: str) -> str:
    """Write the name of a column of days. step: what it is, such as a week."""
    return str(format_skeleton(_STEPS[step], datetime.fromisoformat(day), locale=get_locale()))


def time_element(us: int) -> Markup:
    """Write a time in UTC; the page's script puts the reader's own time before it. us: in microseconds since 1970."""
    at = time_of(us)
    return Markup('<time datetime="{}" data-local>{} UTC</time>').format(f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{at:%Y-%m-%d %H:%M:%S}")


def time_name(at: datetime, *, is_short: bool) -> str:
    """Write the name of a time on an axis. is_short: its hour, else its day."""
    return f"{at:%H:%M}" if is_short else str(format_skeleton("MMMd", at, locale=get_locale()))


def axis_names(begin: int, end: int) -> list[tuple[int, str]]:
    """Name whole hours and days of an axis of time: a midnight by the day that begins. All in microseconds since 1970."""
    return [(at, time_name(time_of(at), is_short=at % DAY_US != 0)) for at in whole_steps(begin, end)]


def _read(day: date | str) -> date:
    return date.fromisoformat(day) if isinstance(day, str) else day


def as_context() -> dict[str, Any]:
    """Give templates the language of the page."""
    return {"language": str(get_locale())}
