"""Declare settings: each function gives a dataclass field that knows its default, how to read its text, and what it is for.

variable: the setting's variable if that is not the group's prefix and the field's name.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from limits import parse
from marshmallow import ValidationError, fields, validate

_HOST = re.compile(r"\.?[^\s.:/\\*?#@\[\]A-Z_][^\s:/\\*?#@\[\]A-Z_]*(:[0-9]{1,5})?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_DEFAULT_PORT = re.compile(r"http://.*:80|https://.*:443")


class _CommaSeparated(fields.String):
    """Reads text separated by commas, as a tuple."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        return tuple(word.strip() for word in text.split(",") if word.strip())


def _setting(field: fields.Field[Any], default: Any, doc: str, variable: str | None = None, *, repr: bool = True) -> Any:
    metadata = {"field": field, "doc": doc, "variable": variable}
    return dataclasses.field(default=default, metadata=metadata, repr=repr)


def text(default: str, doc: str, *, minimum_length: int = 0) -> Any:
    rule = validate.Length(min=minimum_length) if minimum_length else None
    return _setting(fields.String(validate=rule), default, doc)


def words(default: tuple[str, ...], doc: str) -> Any:
    return _setting(_CommaSeparated(), default, doc)


def hosts(doc: str) -> Any:
    """Declare names of hosts, none by default. One that begins with a dot stands for itself and all names below it."""
    return _setting(_CommaSeparated(validate=_are_hosts), (), doc)


def _are_hosts(given: tuple[str, ...]) -> None:
    if faulty := [name for name in given if not _is_host(name)]:
        choices = "lake.example.org, .example.org with all names below it, or an IPv4 address"
        raise ValidationError(f"{faulty[0]!r} is not a host that can be named; write {choices}, in small letters.")


def _is_host(name: str) -> bool:
    try:
        name.removeprefix(".").partition(":")[0].encode("idna")  # as Werkzeug does at each request
    except UnicodeError:
        return False
    return _HOST.fullmatch(name) is not None


def origins(doc: str, *also: str) -> Any:
    """Declare origins of web pages, as browsers send them, such as `https://host`. also: other words that are accepted."""

    def check(given: tuple[str, ...]) -> None:
        for one in given:
            if one not in also and (not _ORIGIN.fullmatch(one) or _DEFAULT_PORT.fullmatch(one)):
                choices = " or ".join(("one such as https://app.example or http://192.168.1.5:3000", *also))
                raise ValidationError(f"{one!r} is not an origin that can be named; write {choices}, as browsers send it.")

    return _setting(_CommaSeparated(validate=check), (), doc)


def secret_url(default: str, doc: str) -> Any:
    """Declare a URL that may hold a password, and so is never shown."""
    return _setting(fields.String(), default, doc, repr=False)


def count(default: int, doc: str, minimum: int = 1, maximum: int | None = None, *, variable: str | None = None) -> Any:
    return _setting(fields.Integer(validate=validate.Range(min=minimum, max=maximum)), default, doc, variable)


def duration(
    default: float, doc: str, minimum: float = 0.0, maximum: float | None = None, *, above_minimum: bool = False
) -> Any:
    """Declare a time in seconds, or in the unit that its name ends in. above_minimum: the minimum itself is refused."""
    rule = validate.Range(min=minimum, max=maximum, min_inclusive=not above_minimum)
    return _setting(fields.Float(validate=rule), default, doc)


def switch(default: bool, doc: str) -> Any:
    return _setting(fields.Boolean(), default, doc)


def choice(default: str, doc: str, *choices: str) -> Any:
    return _setting(fields.String(validate=validate.OneOf(choices)), default, doc)


def rate(default: str, doc: str) -> Any:
    """Declare a rate in the notation of `limits`, such as `600/minute`; empty for no limit."""
    return _setting(fields.String(validate=_is_rate), default, doc)


def _is_rate(given: str) -> None:
    try:
        amount = parse(given).amount if given else 1
    except ValueError:
        amount = 0
    if amount < 1:
        raise ValidationError(f"{given!r} is not a rate; write one such as 600/minute, or nothing for no limit.")
