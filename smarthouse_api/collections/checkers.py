"""The schemas of collections, each compiled once in a process."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.schemas import Checker, compile

_MOST: Final = 1000


class Checkers:
    """Checks records against the schema that their collection has now."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[str, datetime], Checker] = {}

    def faults_of(self, collection: Collection, records: list[dict[str, Any]]) -> dict[int, str]:
        """Why records fail, in words, by their index; nothing without a schema."""
        checker = self._of(collection)
        return {} if checker is None else checker.faults_of(records)

    def fault_of(self, collection: Collection, record: dict[str, Any]) -> str | None:
        return self.faults_of(collection, [record]).get(0)

    def _of(self, collection: Collection) -> Checker | None:
        if collection.schema is None:
            return None
        name = collection.key, collection.updated_at
        if name not in self._compiled:
            if len(self._compiled) >= _MOST:
                self._compiled.clear()
            self._compiled[name] = compile(collection.schema)
        return self._compiled[name]
