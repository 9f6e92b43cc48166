"""Fewer set-ups: cases within one test, and cases that need not be tried on every pair of stores."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest

Test = Callable[..., None]

on_disk: Any = pytest.mark.parametrize("environment", ["embedded_pair"], indirect=True)
"""For a test of what no store takes part in: the embedded pair of stores is enough."""


def each(names: str, values: Iterable[Any]) -> Callable[[Test], Test]:
    """Call a test with one value after the other, as `pytest.mark.parametrize` does, but with the same fixtures for all.

    So a value must do with what the ones before have left. names: of its parameters, with commas between them.
    """
    wanted, cases = _split(names), list(values)

    def going_through(test: Test) -> Test:
        @functools.wraps(test)
        def all_of_them(**fixtures: Any) -> None:
            for case in cases:
                given = dict(zip(wanted, _together(wanted, case), strict=True))
                try:
                    test(**fixtures, **given)
                except Exception as fault:
                    fault.add_note(f"with {given!r:.2000}")
                    raise

        signature = inspect.signature(test)
        left = [one for name, one in signature.parameters.items() if name not in wanted]
        all_of_them.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return all_of_them

    return going_through


def on_disk_and_servers(names: str, on_disk: Iterable[Any], on_servers: Iterable[Any]) -> Any:
    """Try cases on the embedded pair of stores, and some of them on servers, which are dear: those that say something of them.

    names: of the test's parameters, with commas between them.
    """
    wanted = _split(names)
    pairs = (("embedded_pair", on_disk), ("production_pair", on_servers))
    cases = [(pair, *_together(wanted, case)) for pair, some in pairs for case in some]
    return pytest.mark.parametrize(("environment", *wanted), cases, indirect=["environment"])


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",")]


def _together(names: list[str], case: Any) -> tuple[Any, ...]:
    return (case,) if len(names) == 1 else tuple(case)
