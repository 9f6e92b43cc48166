"""The operator's pages of homes: which upload, what one of them sent, and a home forgotten."""

from __future__ import annotations

import re
from typing import Final

from flask import Blueprint, Response, url_for
from flask_babel import gettext
from markupsafe import Markup

from blueprints.console.given import lines_of
from blueprints.console.languages import time_element
from blueprints.console.operator_sessions import operator_form, operator_page, required
from blueprints.console.receipts import told_receipt
from blueprints.console.sessions import led_to
from blueprints.current_request import house
from smarthouse_api.access.sessions import Session
from smarthouse_api.erasure.checking import is_for
from smarthouse_api.errors import Invalid, NotFound

_PSEUDONYM: Final = re.compile("home_[0-9a-f]{16}", re.ASCII)
_SILENT_SECONDS: Final = 2 * 86400.0
_HOMES: Final = 100
_UPLOADS: Final = 50


def add_homes(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of the operator."""

    @blueprint.get("/operator/homes")
    def operator_homes() -> Response:
        """List the homes that upload, silent ones first."""
        return _homes(required(), 1)

    @blueprint.get("/operator/homes/page/<int:number>")
    def operator_homes_page(number: int) -> Response:
        """List further homes."""
        return _homes(required(), number)

    @blueprint.get("/operator/homes/<pseudonym>")
    def operator_homes_one(pseudonym: str) -> Response:
        """List the uploads of a home, the newest first."""
        return _home(required(), pseudonym, 1)

    @blueprint.get("/operator/homes/<pseudonym>/page/<int:number>")
    def operator_homes_one_page(pseudonym: str, number: int) -> Response:
        """List earlier uploads of a home."""
        return _home(required(), pseudonym, number)

    @blueprint.post("/operator/homes/forget")
    def forget_known_home() -> Response:
        """Erase the home whose pseudonym was typed, as its owner's request would."""
        session, form = operator_form()
        word = form.get("word", "").strip()
        if not _PSEUDONYM.fullmatch(word) or form.get("home", word) != word:  # it is not repeated: it may be the home's UUID
            raise Invalid(gettext("Type the pseudonym of a home, such as home_77c45e93dece0b05. Nothing was done."))
        return led_to(".operator_forgotten", session, pseudonym=word, receipt_id=house().forget_known(word))

    @blueprint.get("/operator/homes/<pseudonym>/forgotten/<receipt_id>")
    def operator_forgotten(pseudonym: str, receipt_id: str) -> Response:
        """Tell that a home is forgotten, and show the receipt."""
        session, read = required(), house().receipts.read(receipt_id)
        if not is_for(read, house().bound(pseudonym)):
            raise NotFound(gettext("There is no such receipt of this home."))
        return operator_page("console/operator_forgotten.html", session, pseudonym=pseudonym, **told_receipt(read))


def _homes(session: Session, number: int) -> Response:
    page, count = house().states.known_homes.silent_first((number - 1) * _HOMES, _HOMES)
    last_page = _pages(number, count, _HOMES)
    told = [(one, _time(one.kept.last_us) or "", (one.silent_seconds or 0.0) > _SILENT_SECONDS) for one in page]
    return operator_page(
        "console/operator_homes.html",
        session,
        homes=told,
        count=count,
        number=number,
        last_page=last_page,
        more=lambda other: url_for(".operator_homes_page", number=other),
    )


def _home(session: Session, pseudonym: str, number: int) -> Response:
    if not _PSEUDONYM.fullmatch(pseudonym):
        raise NotFound(gettext("There is no such home."))
    one = house().states.known_homes.find(pseudonym)
    listed = house().states.uploads.listed(one.home.key, (number - 1) * _UPLOADS, _UPLOADS)
    return operator_page(
        "console/operator_home.html",
        session,
        home=one,
        first=_time(one.kept.first_us),
        last=_time(one.kept.last_us),
        uploads=lines_of(listed.uploads),
        listed=listed,
        number=number,
        last_page=_pages(number, listed.count, _UPLOADS),
        more=lambda other: url_for(".operator_homes_one_page", pseudonym=pseudonym, number=other),
        expired=house().states.counts.expired(one.home.key),
    )


def _pages(number: int, count: int, size: int) -> int:
    """Count the pages. Raises `NotFound` if there are not so many."""
    pages = max(1, -(-count // size))
    if not 1 <= number <= pages:
        raise NotFound(gettext("There are only %(count)s pages.", count=pages))
    return pages


def _time(at_us: int | None) -> Markup | None:
    return None if at_us is None else time_element(at_us)
