"""Whether the service can work: one check for each thing that it depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from backends.ports import StoreError, StoreUnfit
from smarthouse_api.errors import Unavailable


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
        except StoreUnfit as fault:
            told[check.name], failed = f"unfit: {fault}", True
        except StoreError as fault:
            told[check.name], failed = f"unavailable: {type(fault).__name__}", True
        except Unavailable as fault:
            told[check.name] = f"warning: {fault}"
    return told, failed
