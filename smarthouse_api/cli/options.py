"""What options and arguments of several commands take: durations, sizes, JSON files."""

from __future__ import annotations

from typing import IO, Any, Final

import click
import msgspec

from smarthouse_api.measures import NO_DURATION, NO_SIZE, read_duration, read_size
from smarthouse_api.states.payload.repair import words_of

_MOST_UUID_BYTES: Final = 1000

json_lines_option = click.option("--json", "as_json", is_flag=True, help="One JSON object for each line instead of a table.")
"""Lets a list be printed for programs."""


def seconds(_: click.Context, __: click.Parameter, given: str | None) -> float | None:
    """Read an option that is a duration, such as 90d, in seconds."""
    if given is None:
        return None
    if (found := read_duration(given)) is None:
        raise click.BadParameter(NO_DURATION)
    return found


def home_uuid(file: IO[bytes]) -> str:
    """Read a home's UUID from a file that an option names: alone, or as the header that curl reads from there.

    The error repeats nothing of it: it is a secret.
    """
    from smarthouse_api.errors import Invalid
    from smarthouse_api.states.homes import normalised_uuid

    try:
        text = file.read(_MOST_UUID_BYTES).decode("ascii", errors="replace")
        return normalised_uuid(text.strip().removeprefix("Home-UUID:").strip())
    except Invalid as fault:
        raise click.BadParameter(f"the file: {fault.detail}") from None


def octets(_: click.Context, __: click.Parameter, given: str | None) -> int | None:
    """Read an option that is a size, such as 64MB, in bytes."""
    if given is None:
        return None
    if (found := read_size(given)) is None:
        raise click.BadParameter(NO_SIZE)
    return found


def json_object(_: click.Context, __: click.Parameter, given: IO[bytes] | None) -> dict[str, Any] | None:
    """Read the JSON object in a file that an option or argument names."""
    if given is None:
        return None
    text = given.read()
    try:
        found = msgspec.json.decode(text)
    except RecursionError as fault:
        raise click.BadParameter(f"the file is not JSON: {fault}") from None
    except ValueError as fault:
        raise click.BadParameter(f"the file is not JSON: {words_of(fault, text)}") from None
    if not isinstance(found, dict):
        raise click.BadParameter("the file must hold a JSON object")
    return found
