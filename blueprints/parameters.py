"""Query parameters: the fields and the schema that the APIs share."""

from __future__ import annotations

import re
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, pre_load, validate

LARGEST: Final = 2**63 - 1
ACCEPTED_TIMES: Final = "use YYYY-MM-DD or an RFC 3339 time such as 2026-03-01T00:00:00Z"
AT_LEAST_ONE: Final = validate.Range(1, error="must be at least 1.")
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)


def is_whole(text: str, maximum: int = LARGEST) -> bool:
    """Tell whether a text is a whole number from 0 to `maximum`, written only in digits."""
    return _DIGITS.fullmatch(text) is not None and int(text) <= maximum


class WholeNumberField(fields.Field[int]):
    """Reads a parameter that is a whole number from 0 to `maximum`, and documents it."""

    def __init__(self, description: str, example: int | None, maximum: int = LARGEST, **options: Any) -> None:
        noted = {"type": "integer", "format": "int64", "minimum": 0, "maximum": maximum, "description": description}
        missing = f"is missing; give a whole number from 0 to {maximum}."
        super().__init__(
            metadata=noted if example is None else {**noted, "example": example},
            error_messages={"required": missing},
            **options,
        )
        self._maximum = maximum

    def _deserialize(self, value: str, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not is_whole(value, self._maximum):
            raise ValidationError(f"{value[:40]!r} is not a whole number from 0 to {self._maximum}, written in digits.")
        return int(value)


class QuerySchema(Schema):
    """Refuses a query that gives a parameter different values; the same value may stand in it repeatedly."""

    @pre_load
    def once(self, data: Any, **_: Any) -> Any:
        repeated = [name for name in self.fields if len(set(data.getlist(name))) > 1]
        if repeated:
            raise ValidationError({name: ["is given with different values; give it once."] for name in repeated})
        return data
