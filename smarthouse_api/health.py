"""Whether the service can work: one check for each thing that it depends on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from backends.faults import in_short
from backends.ports import StoreError, StoreUnfit
from smarthouse_api.errors import Unavailable

log = logging.getLogger(__name__)
_logged = dict[str, str]()


@dataclass(frozen=True, slots=True)
class Check:
    """Checks one thing that the service depends on, such as a store.

    ask: gives its condition in a line. A `StoreError` means that the service cannot work; `Unavailable` is only a warning.
    needs_stores: leave this check out if an earlier one has failed, because it would wait for a store in vain.
    """

    name: str
    ask: Callable[[], str]
    needs_stores: bool = False


def conditions(checks: Iterable[Check]) -> tuple[dict[str, str], bool]:
    """Run the checks: each condition in words, by name, and whether one has failed."""
    told, failed = dict[str, str](), False
    for check in checks:
        if check.needs_stores and failed:
            continue
        try:
            told[check.name] = check.ask()
            _logged.pop(check.name, None)
        except StoreUnfit as fault:
            told[check.name], failed = f"unfit: {fault}", True
        except StoreError as fault:
            told[check.name], failed = f"unavailable: {in_short(fault)}; the log says more", True
            _log_once(check.name, str(fault))
        except Unavailable as fault:
            told[check.name] = f"warning: {fault}"
    return told, failed


def _log_once(name: str, fault: str) -> None:
    """Log what failed, unless the last look has logged the same: probes look every few seconds."""
    if _logged.get(name) != fault:
        _logged[name] = fault
        log.warning("%s: %s", name, fault)
