"""Parse what the URLs of all stores share: a path, and the options behind `?`.

No message repeats the value of an option: a part of a misspelt URL may hold some of a password.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from urllib.parse import parse_qsl

_MOST_SECONDS = 1e9


def path_and_options(url: str, defaults: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Parse a URL that holds no secret: its absolute path, with nothing decoded, and its options. Raises `ValueError`."""
    path, _, query = url.partition("://")[2].partition("?")
    if not path:
        raise ValueError(f"{url!r} names no path")
    return os.path.abspath(path), options_of(query, defaults, repr(url))


def options_of(query: str, defaults: Mapping[str, str], url: str) -> dict[str, str]:
    """Read the options over their defaults. url: how a `ValueError` names the URL. A plus stands for itself."""
    known = ", ".join(sorted(defaults))
    try:
        given = dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise ValueError(f"{url} has options that cannot be read; they are name=value, joined by &: {known}") from None
    if given.keys() - defaults.keys():
        raise ValueError(f"{url} has an unknown option; there are {known}")
    return {**defaults, **given}


def chosen(options: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """Read an option that is one of `choices`. Raises `ValueError`."""
    if options[name] not in choices:
        raise ValueError(f"the option {name} of a store's URL must be one of {', '.join(choices)}")
    return options[name]


def seconds(options: Mapping[str, str], name: str, least: float = 0.0, *, above_least: bool = False) -> float:
    """Read an option that is a number of seconds. above_least: `least` itself is refused. Raises `ValueError`."""
    try:
        number = float(options[name])
    except ValueError:
        number = math.nan
    if not least <= number <= _MOST_SECONDS or (above_least and number == least):
        bound = "above" if above_least else "of at least"
        raise ValueError(f"the option {name} of a store's URL must be a number of seconds {bound} {least:g}")
    return number
