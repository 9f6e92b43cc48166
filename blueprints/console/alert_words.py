"""Alerts in words: what is wrong, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from flask import url_for
from flask_babel import gettext, ngettext

from blueprints.console.languages import count_text, size_text
from blueprints.console.trends import age_text
from smarthouse_api.status.alerts import Alert


class Told(NamedTuple):
    """Tells an alert. what: is wrong. advice: what to do. command: for it. link: to the page that says more."""

    is_critical: bool
    what: str
    advice: str
    command: str | None = None
    link: str | None = None


_Words = tuple[str, str, str | None, str | None]


def told(alert: Alert) -> Told:
    """Put an alert into the reader's words."""
    return Told(alert.is_critical, *_WORDS[alert.kind](alert))


def _not_ready(alert: Alert) -> _Words:
    what = gettext("The installation cannot be served: %(names)s.", names=alert.name)
    return what, gettext("Read what is under “NOT READY” below. Homes get 503 meanwhile."), None, None


def _nobody(_: Alert) -> _Words:
    what = gettext("No process keeps house: nothing reaches the lake, and nothing is erased.")
    return what, gettext("Start one, or set SMARTHOUSE_HOUSEKEEPING=api."), "smarthouse worker", None


def _waits(alert: Alert) -> _Words:
    what = gettext("An upload has waited %(time)s for the lake.", time=age_text(alert.value))
    advice = gettext("Look for “a chore failed” among the faults below. Nothing is lost: uploads are durable.")
    return what, advice, None, None


def _overdue(alert: Alert) -> _Words:
    what = gettext("The bytes of a forgotten home have not been erased for %(time)s.", time=age_text(alert.value))
    return what, gettext("The home is hidden. Look for “erase homes” among the faults below."), None, None


def _errors(alert: Alert) -> _Words:
    what = ngettext(
        "An error of %(num)s kind was logged within 15 minutes.",
        "Errors of %(num)s kinds were logged within 15 minutes.",
        int(alert.value),
    )
    return what, gettext("The faults below name them."), None, None


def _versions(alert: Alert) -> _Words:
    what = gettext("Processes of several versions run: %(names)s.", names=alert.name)
    return what, gettext("Restart the older ones, unless you are exchanging them now."), None, None


def _room(alert: Alert) -> _Words:
    store = {"state": gettext("state store"), "objects": gettext("object store")}[alert.name]
    what = gettext("The %(store)s has %(size)s free.", store=store, size=size_text(alert.value))
    return (
        what,
        gettext("See what takes up the room. Forgetting and deleting still work."),
        None,
        url_for("Operator.operator_storage"),
    )


def _quota(alert: Alert) -> _Words:
    what = gettext("A quota is nearly reached: %(share)s %%.", share=count_text(int(100 * alert.value)))
    return what, gettext("What would pass a quota is refused."), None, url_for("Operator.operator_storage")


def _few(alert: Alert) -> _Words:
    what = ngettext(
        "%(count)s home has sent nothing for a day: more than half of all.",
        "%(count)s homes have sent nothing for a day: more than half of all.",
        int(alert.value),
        count=count_text(int(alert.value)),
    )
    return what, gettext("The silent ones are listed first."), None, url_for("Operator.operator_homes")


def _damaged(alert: Alert) -> _Words:
    what = ngettext("%(num)s file is damaged or missing.", "%(num)s files are damaged or missing.", int(alert.value))
    return what, gettext("This names them:"), "smarthouse verify", url_for("Operator.operator_verify")


def _problems(alert: Alert) -> _Words:
    what = ngettext("The last verify found %(num)s problem.", "The last verify found %(num)s problems.", int(alert.value))
    return what, gettext("Repair what it names, then run it again:"), "smarthouse verify", url_for("Operator.operator_verify")


def _backup(_: Alert) -> _Words:
    what = gettext("There is no backup of the last two days.")
    return what, gettext("Make one, and let a timer make more:"), "smarthouse backup /path/to/backups", None


def _letters(alert: Alert) -> _Words:
    what = ngettext(
        "%(num)s record was refused by its schema within an hour.",
        "%(num)s records were refused by their schemas within an hour.",
        int(alert.value),
    )
    return what, gettext("The dead letters say why."), None, url_for("Operator.operator_collections")


_WORDS: Final[Mapping[str, Callable[[Alert], _Words]]] = {
    "NotReady": _not_ready,
    "NobodyKeepsHouse": _nobody,
    "UploadsWait": _waits,
    "ErasureOverdue": _overdue,
    "ServerErrors": _errors,
    "MixedVersions": _versions,
    "LittleRoom": _room,
    "QuotaNearlyReached": _quota,
    "FewUploads": _few,
    "DamagedFiles": _damaged,
    "VerifyFoundProblems": _problems,
    "BackupOld": _backup,
    "DeadLetters": _letters,
}
