"""Counts the changes of state that wait to be uploaded, and notices new entities, which may be gone before the next upload."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from homeassistant.core import Event, callback

from .progress import Progress


class Waiting:
    """Listens to all changes of state, so it looks at an entity once, until the next upload begins."""

    def __init__(self, progress: Progress, noticed: Callable[[], None]) -> None:
        """noticed: is called when `progress.known` got a new entity."""
        self._progress, self._noticed = progress, noticed
        self._counted: set[str] = set()
        self._passed_over: set[str] = set()
        self._takes: Callable[[str], bool] = lambda _: False

    @callback
    def begin(self, present: Iterable[str], takes: Callable[[str], bool]) -> None:
        """Begin anew with the entities that are uploaded now. takes: decides about others."""
        self._counted, self._passed_over, self._takes = set(present), set(), takes

    @callback
    def count(self, event: Event[Any]) -> None:
        """Count a change of state."""
        entity_id = event.data["entity_id"]
        if event.data["new_state"] is None or entity_id in self._passed_over or self._progress.left is not None:
            return
        if entity_id not in self._counted:
            if not self._takes(entity_id):
                self._passed_over.add(entity_id)
                return
            self._counted.add(entity_id)
            self._progress.known.append(entity_id)
            self._noticed()
        self._progress.waiting += 1
