"""Whether the service can work: one check for each thing that it depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from backends.ports import StoreError, StoreUnfit
from smarthouse_api.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Check:
    """Asks one thing for its condition: a line in words, or a `StoreError`, without which the service cannot work.

    `Unavailable` is only a warning. needs_stores: not asked once a check before it has failed, which would wait in vain.
    """

    name: str
    ask: Callable[[], str]
    needs_stores: bool = False


def conditions(checks: Iterable[Check]) -> tuple[dict[str, str], bool]:
    """Each condition in words, by name, and whether one has failed."""
    told, failed = dict[str, str](), False
    for check in checks:
        if check.needs_stores and failed:
            continue
        try:
            told[check.name] = check.ask()
        except StoreUnfit as fault:
            told[check.name], failed = f"unfit: {fault}", True
        except StoreError as fault:
            told[check.name], failed = f"unavailable: {type(fault).__name__}", True
        except Unavailable as fault:
            told[check.name] = f"warning: {fault}"
    return told, failed
