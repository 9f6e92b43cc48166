"""Collections in a house, on every pair of stores, and what the tests of them ask again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from smarthouse_api.collections.accepting import Accepted
from smarthouse_api.collections.catalogue import SavedCollection
from smarthouse_api.collections.model import TOPIC, Collection, TopicEntry, define
from smarthouse_api.house import House

NUMBERS = {"type": "object", "properties": {"value": {"type": "number"}}, "required": ["value"]}
"""A schema that asks for a number."""


@dataclass
class Keeper:
    """A house, and whoever defines its collections and fills them."""

    house: House

    def create(self, id_: str = "meters", **members: Any) -> Collection:
        return self.created(id_, **members).collection

    def created(self, id_: str = "meters", **members: Any) -> SavedCollection:
        return self.house.collections.catalogue.create(define({"id": id_, **members}))

    def accept(self, collection: Collection, *records: Any, **options: Any) -> Accepted:
        return self.house.collections.accepting.accept(collection, list(records), **options)

    def entries(self, collection: Collection) -> list[TopicEntry]:
        logged = self.house.state.read(collection.space, TOPIC)
        return [msgspec.json.decode(one.value, type=TopicEntry) for one in logged]

    def records(self, collection: Collection) -> list[Any]:
        """What the topic holds."""
        return [msgspec.json.decode(record) for entry in self.entries(collection) for record in entry.records]

    def dead_letters(self, collection: Collection) -> dict[str, Any]:
        """Id -> record, of what is set aside."""
        return {one.id: one.record for one in self.house.collections.dead_letters.list(collection)}


@pytest.fixture
def keeper(house: House) -> Keeper:
    return Keeper(house)
