"""Declare settings: each function gives a dataclass field that knows its default, how to read its text, and what it is for.

variable: the setting's variable if that is not the group's prefix and the field's name.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from limits import parse
from marshmallow import ValidationError, fields, validate


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
