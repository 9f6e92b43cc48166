"""The columns of aggregates in the wide layout: one for each measured thing, named so that every format and reader takes it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import pyarrow as pa

from smarthouse_api.errors import Invalid
from smarthouse_api.states.aggregates.asked import FIGURES, SHARE
from smarthouse_api.states.aggregates.intervals import METER, UNKNOWN
from smarthouse_api.states.records.rows import folded_unit

_SPELT: Final = {
    "°": "deg",
    "%": "percent",
    "μ": "u",
    "/": "_per_",
    "€": "euro",
    "$": "dollar",
    "£": "pound",
    "¥": "yen",
    "¢": "cents",
    "Ω": "ohms",
}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")
_FIRST: Final = re.compile(r"[A-Za-z_]")


class WideColumn(NamedTuple):
    """Names a column: a figure of an entity's numbers in one unit, or the share of one word.

    unit: as units are compared; None without one. word: for shares alone.
    """

    entity_id: str
    unit: str | None
    figure: str
    word: str | None = None

    @property
    def name(self) -> str:
        """Letters, digits, `_`, `-` and dots: `sensor.kitchen_temperature.mean.degC`, `binary_sensor.door.share.on`."""
        name = ".".join(filter(None, (safe(self.entity_id), self.figure, safe(self.unit or ""), safe(self.word or ""))))
        return name if _FIRST.match(name) else f"_{name}"


def safe(text: str) -> str:
    """Spell a text so that it can be a part of a name in XML. Where that loses something, a digest tells texts apart."""
    spelt = "".join(_SPELT.get(letter, letter) for letter in text)
    name = _UNSAFE.sub("_", spelt)
    return name if name == spelt else f"{name}_{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"


def wide_columns(columns: Iterable[WideColumn], most: int) -> tuple[WideColumn, ...]:
    """List different columns, in the order of their entities. Raises `Invalid` for more than `most`."""
    found = set[WideColumn]()
    for column in columns:
        found.add(column)
        if len(found) > most:
            raise Invalid(
                f"layout: there would be more than {most} columns, one for each measured thing; choose homes, entities, types, "
                "units, days or figures, or take the long layout"
            )
    return tuple(sorted(found, key=_place))


def _place(column: WideColumn) -> tuple[str, str, int, str]:
    return column.entity_id, column.unit or "", FIGURES.index(column.figure), column.word or ""


def columns_of_states(told: Iterable[pa.RecordBatch], figures: Sequence[str]) -> Iterator[WideColumn]:
    """Yield the columns of published rows. told: those that tell which entity has which unit and words. figures: `FIGURES`."""
    for batch in told:
        entity, unit, state = (batch.column(name).cast(pa.string()).to_pylist() for name in ("entity_id", "unit", "state"))
        is_number = batch.column("value").is_valid().to_pylist()
        words = (None if number else word for number, word in zip(is_number, state, strict=True))
        for of_entity, of_unit, word in set(zip(entity, unit, words, strict=True)):
            yield from _of_thing(of_entity, of_unit and folded_unit(of_unit), word, figures)


def columns_of_statistics(told: Iterable[pa.Table], figures: Sequence[str]) -> Iterator[WideColumn]:
    """Yield the columns of published periods. told: periods that tell which entity has which unit and values."""
    for table in told:
        for figure in figures:
            if (name := _VALUE_OF.get(figure)) is not None:
                some = table.filter(table[name].is_valid())
                entity, unit = (some[column].cast(pa.string()).to_pylist() for column in ("entity_id", "unit"))
                for of_entity, of_unit in set(zip(entity, unit, strict=True)):
                    yield WideColumn(of_entity, of_unit and folded_unit(of_unit), figure)


_VALUE_OF: Final = {"known": "start", "last": "state", **{name: name for name in ("mean", "min", "max", *METER)}}
"""The value of a period that each figure is made of."""


def _of_thing(entity: str, unit: str | None, word: str | None, figures: Sequence[str]) -> Iterator[WideColumn]:
    if word in UNKNOWN:
        return
    for figure in figures:
        if figure == SHARE:
            if word is not None:
                yield WideColumn(entity, unit, figure, word)
        elif figure not in METER and (word is None or figure in ("known", "changes")):
            yield WideColumn(entity, unit, figure)
