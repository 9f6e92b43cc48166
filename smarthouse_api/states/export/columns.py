"""The columns of exports in words: what each means, and its type in Table Schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from smarthouse_api.states.aggregates.wide_columns import WideColumn


@dataclass(frozen=True, slots=True)
class Column:
    """Describes a column of an export: its meaning in words, and its type in Table Schema."""

    title: str
    type: str
    description: str
    required: bool = False


COLUMNS: Final[Mapping[str, Column]] = MappingProxyType(
    {
        "home": Column("Home", "string", "Pseudonym of the home. It cannot be turned back into the home's id.", required=True),
        "entity_id": Column("Entity", "string", "Home Assistant's id of the entity; its name may be replaced by a pseudonym."),
        "type": Column("Type", "string", "Home Assistant's domain of the entity, such as sensor or light.", required=True),
        "state": Column(
            "State",
            "string",
            "The state as text; `redacted` where it may not be published. It may be empty. A text of more than 131,072 "
            "characters is cut, and ends in `…`.",
        ),
        "value": Column("Value", "number", "The state as a number; null where it is not a finite number."),
        "unit": Column("Unit", "string", "Unit of measurement of the state; null where the entity has none that is known."),
        "device_class": Column(
            "Device class", "string", "Home Assistant's device class; null where the entity has none that is known."
        ),
        "last_changed": Column("Last changed", "datetime", "When the state last changed, UTC; null where unknown."),
        "last_updated": Column(
            "Last updated", "datetime", "When state or attributes were last written, UTC; null where unknown."
        ),
        "received": Column("Received", "date", "The day on which the record arrived at the data lake, UTC.", required=True),
        "utc_offset": Column(
            "UTC offset", "integer", "Minutes by which the home's clock was ahead of UTC; null where the upload did not tell."
        ),
        "time": Column(
            "Time",
            "datetime",
            "The record's own time: last_updated, else last_changed, else the day of its arrival.",
            required=True,
        ),
        "attributes": Column(
            "Attributes",
            "object",
            "The entity's attributes that may be published: an object, or its JSON text. `{}` if they are longer than that.",
        ),
    }
)
"""The columns of an export's rows, in their order: the only place that describes them."""

AGGREGATE_COLUMNS: Final[Mapping[str, Column]] = MappingProxyType(
    {
        **{name: COLUMNS[name] for name in ("home", "entity_id", "type", "unit", "device_class")},
        "start": Column("Start", "datetime", "When the interval begins, UTC.", required=True),
        "end": Column("End", "datetime", "When the interval ends, UTC; the end itself is not in it.", required=True),
        "utc_offset": Column(
            "UTC offset",
            "integer",
            "Minutes by which the home's clock was ahead of UTC at the start; null without clock=local.",
        ),
        "mean": Column(
            "Mean", "number", "The mean of the numbers, each weighted by the time for which it was held; null without numbers."
        ),
        "min": Column("Least", "number", "The least number that was held; null without numbers."),
        "max": Column("Greatest", "number", "The greatest number that was held; null without numbers."),
        "last": Column("Last", "number", "The last number that was held; null without numbers."),
        "known": Column(
            "Known",
            "number",
            "The share of the interval in which the state is known, from 0 to 1: the rest is a gap.",
            required=True,
        ),
        "changes": Column("Changes", "integer", "The number of state changes in the interval; null for statistics."),
        "shares": Column(
            "Shares", "object", "For each word, the share of the interval in which it was the state; null without words."
        ),
        "source": Column(
            "Source",
            "string",
            "`states`, or `statistics` if the row is made of long-term statistics that Home Assistant had made.",
            required=True,
        ),
        "sum": Column(
            "Sum", "number", "What a meter has counted at the end, by its statistics: it does not fall if it begins anew."
        ),
        "change": Column("Change", "number", "By how much a meter has grown in the interval, if its statistics tell that."),
    }
)
"""The columns of aggregates, in their order."""

HOMES_COLUMNS: Final[Mapping[str, Column]] = MappingProxyType(
    {
        **{name: AGGREGATE_COLUMNS[name] for name in ("start", "end", "type")},
        "device_class": COLUMNS["device_class"],
        "unit": COLUMNS["unit"],
        "state": Column(
            "State", "string", "The word that a share is of; `*` for several, if few homes had one; null for numbers."
        ),
        "homes": Column("Homes", "integer", "The number of homes that tell something in the interval.", required=True),
        "mean": Column(
            "Mean", "number", "The mean of the homes' own means, blurred and rounded to its standard error; null for words."
        ),
        "deviation": Column(
            "Deviation",
            "number",
            "The standard deviation of the homes' own means, blurred and rounded likewise; null for words.",
        ),
        "share": Column(
            "Share",
            "number",
            "The mean of the homes' own shares of the known time in which the word was the state, blurred and rounded likewise;"
            " null for numbers.",
        ),
    }
)
"""The columns of aggregates of many homes together, in their order."""

_FIGURES: Final = {
    "mean": "The mean of the numbers, each weighted by the time for which it was held",
    "min": "The least number that was held",
    "max": "The greatest number that was held",
    "last": "The last number that was held",
    "known": "The share of the interval in which the state is known, from 0 to 1",
    "changes": "The number of state changes in the interval",
    "sum": "What a meter has counted at the end of the interval, by its statistics",
    "change": "By how much a meter has grown in the interval, by its statistics",
    "share": "The share of the interval in which the state was this word; null where nothing is known",
}


def wide_descriptions(columns: Iterable[WideColumn]) -> Mapping[str, Column]:
    """Describe the columns of the wide layout."""
    first = {name: AGGREGATE_COLUMNS[name] for name in ("home", "start", "end", "utc_offset", "source")}
    return MappingProxyType(first | {one.name: _described(one) for one in columns})


def _described(column: WideColumn) -> Column:
    of = (
        f"`{column.entity_id}`" + (f", in {column.unit}" if column.unit else "") + (f", `{column.word}`" if column.word else "")
    )
    type_ = "integer" if column.figure == "changes" else "number"
    return Column(f"{column.entity_id} {column.word or column.figure}", type_, f"{_FIGURES[column.figure]}: {of}.")
