"""A store's URL taken apart: what follows `://` is a path, letter by letter; what follows `?` are the backend's options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import parse_qsl


def path_and_options(url: str, defaults: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The absolute path that `url` names and its options over `defaults`; raises `ValueError` for an option not in them."""
    place, _, query = url.partition("://")[2].partition("?")
    if not place:
        raise ValueError(f"{url!r} names no path")
    options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    if unknown := sorted(options.keys() - defaults.keys()):
        raise ValueError(f"unknown option {', '.join(unknown)} in {url!r}; there are {', '.join(sorted(defaults))}")
    return os.path.abspath(place), {**defaults, **options}


def chosen(options: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """The option `name`; raises `ValueError` unless it is one of `choices`."""
    if options[name] not in choices:
        raise ValueError(f"{name}={options[name]!r} in a store's URL; it is one of {', '.join(choices)}")
    return options[name]
