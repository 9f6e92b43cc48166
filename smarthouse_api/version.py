"""The version of this program: the package's."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version


@cache
def own_version() -> str:
    """Return the version of this program."""
    return version("smarthouse-api")
