"""A store's URL taken apart: `scheme://[user:password@]hosts/path?option=value`, or a path instead of hosts and path.

A fault of a URL that may hold a password is told without repeating any of it: each part of a misspelt one may hold some of
the secret.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """The parts of a URL, letter by letter: nothing is decoded or checked.

    place: all between `://` and `?`. login, hosts and path: the same in parts; the path is without its first slash.
    """

    scheme: str
    place: str = field(repr=False)
    login: str = field(repr=False)
    hosts: str
    path: str
    query: str = field(repr=False)

    @classmethod
    def of(cls, url: str) -> Self:
        scheme, _, rest = url.partition("://")
        place, _, query = rest.partition("?")
        authority, _, path = place.partition("/")
        login, _, hosts = authority.rpartition("@")
        return cls(scheme, place, login, hosts, path, query)

    @property
    def username(self) -> str:
        return self.login.partition(":")[0]

    @property
    def password(self) -> str:
        return self.login.partition(":")[2]

    def options(
        self, defaults: Mapping[str, str], *, unknown: Callable[[str], str], unreadable: str | None = None
    ) -> dict[str, str]:
        """The options over their defaults.

        unknown: says that these names are none. unreadable: says that the query is malformed; else the parser says it. Both
        are raised as `ValueError`.
        """
        try:
            given = dict(parse_qsl(self.query, keep_blank_values=True, strict_parsing=bool(self.query)))
        except ValueError as fault:
            raise ValueError(unreadable or str(fault)) from None
        if names := sorted(given.keys() - defaults.keys()):
            raise ValueError(f"{unknown(', '.join(names))}; there are {', '.join(sorted(defaults))}")
        return {**defaults, **given}


def path_and_options(url: str, defaults: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The absolute path that `url` names, and its options over `defaults`. Raises `ValueError`. Such a URL holds no secret."""
    parts = StoreUrl.of(url)
    if not parts.place:
        raise ValueError(f"{url!r} names no path")
    options = parts.options(defaults, unknown=lambda names: f"unknown option {names} in {url!r}")
    return os.path.abspath(parts.place), options


def chosen(options: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """The option `name`; raises `ValueError` unless it is one of `choices`."""
    if options[name] not in choices:
        raise ValueError(f"{name}={options[name]!r} in a store's URL; it is one of {', '.join(choices)}")
    return options[name]


def seconds(options: Mapping[str, str], name: str, told: str, *, fits: Callable[[float], bool]) -> float:
    """The option `name` as a number of seconds; raises `ValueError` with `told` unless it is one that fits."""
    try:
        number = float(options[name])
    except ValueError:
        number = float("nan")  # which fits nothing
    if not fits(number):
        raise ValueError(told)
    return number
