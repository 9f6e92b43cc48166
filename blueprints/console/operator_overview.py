"""The operator's overview: what is wrong and what to do, the last day or month, and all that the status tells."""

from __future__ import annotations

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from blueprints.console.alert_words import told
from blueprints.console.figures import Figure
from blueprints.console.languages import count_text, size_text, time_element
from blueprints.console.operator_sessions import operator_page, required, signed_in
from blueprints.console.templating import page
from blueprints.console.trends import SPANS, Trend, age_text
from blueprints.current_request import house
from smarthouse_api.access.sessions import Session
from smarthouse_api.status.alerts import alerts
from smarthouse_api.status.figures import FREE, STORED
from smarthouse_api.status.words import parts

_HOUR_SECONDS = 3600


def add_overview(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of the operator."""

    @blueprint.get("/operator")
    def operator() -> ResponseReturnValue:
        """Tell what is wrong, the last day, what the installation holds and what waits; or ask for a key."""
        if (session := signed_in()) is None:
            return page("console/operator_sign_in.html")
        return _overview(session, "day")

    @blueprint.get("/operator/month")
    def operator_month() -> Response:
        """Tell the same, and the last month."""
        return _overview(required(), "month")

    @blueprint.get("/operator/verify")
    def operator_verify() -> Response:
        """Tell what the last verification found."""
        session, last = required(), house().verifying.findings.last()
        at = None if last is None else time_element(round(last.ended * 1e6))
        took = "" if last is None else age_text(last.ended - last.began)
        return operator_page("console/operator_verify.html", session, last=last, at=at, took=took)


def trend_of(span: str) -> Trend:
    """Read the history of a span of time."""
    return Trend(house().history.last(SPANS[span]), SPANS[span])


def _overview(session: Session, span: str) -> Response:
    report = house().status.report()
    trend, day = trend_of(span), trend_of("day")
    found = alerts(report, day.latest_growth("dead_letters", _HOUR_SECONDS))
    figures = [] if trend.is_empty else _figures(trend)
    idle = [title for name, title in _quiet() if trend.is_idle(name)] if figures else []
    return operator_page(
        "console/operator.html",
        session,
        report=report,
        parts=parts(report),
        at=time_element(round(report.at * 1e6)),
        alerts=[told(one) for one in found],
        span=span,
        figures=figures,
        idle=idle,
    )


def _quiet() -> list[tuple[str, str]]:
    """Name the figures that are 0 where all is well: they are drawn only if they are not."""
    return [
        ("waiting_seconds", gettext("Age of the oldest upload that waits for the lake")),
        ("jobs", gettext("Export jobs that wait or run")),
        ("dead_letters", gettext("Dead letters")),
        ("damaged_files", gettext("Damaged files")),
    ]


def _figures(trend: Trend) -> list[tuple[str, Figure]]:
    records = ("records", gettext("State changes"), count_text)
    size = ("bytes", gettext("Size"), size_text)
    told = [
        (gettext("Uploads"), trend.grown("uploads", records, size)),
        (gettext("Homes that sent something within a day"), trend.line("active", _whole)),
    ]
    for name, title in _quiet():
        if not trend.is_idle(name):
            is_age = name == "waiting_seconds"
            told.append((title, trend.line(name, age_text if is_age else _whole, 60 if is_age else 1)))
    told.append((gettext("Warnings and errors that were logged"), trend.grown("logged")))
    told.append((gettext("Stored in all"), trend.line_of(trend.together(STORED, sum), size_text)))
    if trend.names(FREE):
        told.append((gettext("Free, in the store with the least"), trend.line_of(trend.together(FREE, min), size_text)))
    return told


def _whole(value: float) -> str:
    return count_text(round(value))
