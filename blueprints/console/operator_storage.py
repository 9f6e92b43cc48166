"""The operator's page of storage: what uses the space, since when, what is free, and what the quotas allow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from flask import Blueprint, Response
from flask_babel import gettext

from blueprints.console.languages import count_text, size_text, time_element
from blueprints.console.operator_overview import trend_of
from blueprints.console.operator_sessions import operator_page, required
from blueprints.console.trends import Trend
from blueprints.current_request import house
from smarthouse_api.access.sessions import Session
from smarthouse_api.status.figures import FREE, STORED
from smarthouse_api.status.report import Quota, Report

_LAKE: Final = "lake"
_STATE: Final = "state"


class Used(NamedTuple):
    """Tells what uses space. objects: None where nothing counts them. is_part: of the row above."""

    title: str
    bytes: int
    objects: int | None
    share: float
    is_part: bool = False


def add_storage(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of the operator."""

    @blueprint.get("/operator/storage")
    def operator_storage() -> Response:
        """Tell what uses the space, and how it grew in the last month."""
        return _storage(required(), "month")

    @blueprint.get("/operator/storage/day")
    def operator_storage_day() -> Response:
        """Tell the same, and how it grew in the last day."""
        return _storage(required(), "day")


def _storage(session: Session, span: str) -> Response:
    report, trend = house().status.report(), trend_of(span)
    titles = _titles()
    drawn = [
        (titles.get(kind, kind), trend.line(f"{STORED}{kind}", size_text))
        for kind in sorted(trend.names(STORED), key=lambda kind: [*titles, kind].index(kind))
        if not trend.is_idle(f"{STORED}{kind}")
    ]
    census = report.storage
    return operator_page(
        "console/operator_storage.html",
        session,
        used=list(_used(report, titles)),
        counted=None if census is None else time_element(round(census.at * 1e6)),
        now=time_element(round(report.at * 1e6)),
        free=list(_free(report, trend)),
        floor=house().settings.growth.free_bytes,
        quotas=[(title, _quota(report.quotas[name])) for name, title in _quotas().items() if name in report.quotas],
        span=span,
        figures=drawn,
    )


def _titles() -> dict[str, str]:
    """Name the kinds of what is stored."""
    return {
        "raw uploads": gettext("Uploads as they came"),
        _LAKE: gettext("Lake"),
        "packets": gettext("Packets of streams"),
        "export jobs": gettext("Files of export jobs"),
        "homes' archives": gettext("Archives of homes"),
        "releases": gettext("Figures of many homes together"),
        "damaged files": gettext("Damaged files, set aside"),
        "others": gettext("Other objects"),
        _STATE: gettext("State store"),
    }


def _used(report: Report, titles: dict[str, str]) -> Iterator[Used]:
    """Tell what uses the space, as it was when the objects were counted."""
    kinds = {} if report.storage is None else report.storage.kinds
    state = report.state_bytes if report.storage is None else report.storage.state_bytes
    total = sum(one.bytes for one in kinds.values()) + (state or 0) or 1
    for kind, one in sorted(kinds.items(), key=lambda item: [*titles, item[0]].index(item[0])):
        yield Used(titles.get(kind, kind), one.bytes, one.objects, one.bytes / total)
        if kind == _LAKE and report.storage is not None and (rows := report.storage.rows) is not None:
            live, files = min(rows.bytes, one.bytes), min(rows.objects, one.objects)
            yield Used(gettext("files with its rows"), live, files, live / total, is_part=True)
            left, rest = one.bytes - live, one.objects - files
            yield Used(gettext("log, and files that are no longer needed"), left, rest, left / total, is_part=True)
    if state is not None:
        yield Used(titles[_STATE], state, None, state / total)


def _free(report: Report, trend: Trend) -> Iterator[tuple[str, str, str]]:
    """Tell what is free in each store, and what will be left of it."""
    floor = house().settings.growth.free_bytes
    for name, title in (("state", gettext("State store")), ("objects", gettext("Object store"))):
        size, pace = report.free_bytes.get(name), trend.pace(f"{FREE}{name}")
        if size is None:
            yield title, gettext("unknown: the store does not tell"), ""
        elif size <= floor:
            yield title, size_text(size), gettext("Below the floor: nothing new is taken.")
        elif pace is not None and pace < 0:
            days = int((size - floor) / -pace)
            told = gettext("At the pace of this time it lasts %(days)s days, down to the floor.", days=count_text(days))
            yield title, size_text(size), told if days < 3650 else ""
        else:
            yield title, size_text(size), ""


def _quotas() -> dict[str, str]:
    return {
        "uploads": gettext("Uploads of all homes"),
        "home": gettext("Uploads of the home with the most"),
        "records": gettext("Records of all collections"),
        "collection": gettext("Records of the collection with the most"),
    }


def _quota(quota: Quota) -> str:
    if quota.most is None:
        return str(gettext("%(used)s, without a quota", used=size_text(quota.used)))
    share = count_text(int(100 * quota.used / quota.most))
    told = gettext("%(used)s of %(most)s, %(share)s %%", used=size_text(quota.used), most=size_text(quota.most), share=share)
    return str(told)
