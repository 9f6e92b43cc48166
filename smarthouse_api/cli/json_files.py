"""JSON files that options and arguments name."""

from __future__ import annotations

from typing import IO, Any

import click
import msgspec


def json_object(_: click.Context, __: click.Parameter, given: IO[bytes] | None) -> dict[str, Any] | None:
    """Reads the JSON object in a file that an option or argument names."""
    if given is None:
        return None
    try:
        found = msgspec.json.decode(given.read())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise click.BadParameter(f"the file is not JSON: {fault}") from None
    if not isinstance(found, dict):
        raise click.BadParameter("the file must hold a JSON object")
    return found
