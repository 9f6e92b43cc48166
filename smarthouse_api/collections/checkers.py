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

    def _of(self, collection: Collection) -> Checker | None:
        if collection.schema is None:
            return None
        name = collection.key, collection.updated_at
        if (checker := self._compiled.get(name)) is None:
            if len(self._compiled) >= _MOST:
                self._compiled = {}
            checker = self._compiled[name] = compile(collection.schema)
        return checker
