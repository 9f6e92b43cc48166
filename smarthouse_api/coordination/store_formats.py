"""The format of what is stored. Each of the two stores bears its number, so that no version touches what it does not know.

| format | written by | what is different |
|---|---|---|
| 1 | versions 0.1 and 0.2, which wrote no number | states lie in the lake by their day of arrival |
| 2 | this version | states lie by their own day; see `smarthouse_api.states.records.placement` |
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

from backends.ports import ABSENT, Conflict, NoSuchObject, ObjectStore, StateStore, StoreFull, StoreUnfit

FORMAT: Final = 2
"""The format that this version writes. It reads this and every older one."""

_SPACE: Final = "installation"
_DOCUMENT: Final = "format"
_OBJECT: Final = "installation/format"

log = logging.getLogger(__name__)


class StoreFormats:
    """Keeps this version away from stores of a newer format, and marks stores that it takes over.

    1. A store with a newer number is refused.
    2. A store with an older number, or with none, is marked before anything is brought over. So a version that does not know
       the new format refuses it from then on.
    3. What is to be brought over is told by the data, not by the number: it can be killed at any time and goes on later.
    """

    def __init__(self, state: StateStore, objects: ObjectStore) -> None:
        self._state, self._objects = state, objects
        self._is_settled = False

    def settle(self) -> None:
        """Check both stores, and mark them, once in this process. Raises `StoreUnfit` for a newer format, and
        `StoreUnavailable`.

        A full store is marked later: work without a request, such as forgetting, is what makes room.
        """
        if self._is_settled:
            return
        document = self._state.get(_SPACE, _DOCUMENT)
        there = {"state": 1 if document is None else int(document.value), "object": self._in_objects()}
        for name, number in there.items():
            if number > FORMAT:
                raise StoreUnfit(
                    f"the {name} store has format {number}, and this version reads formats 1 to {FORMAT}; start the version"
                    " that wrote it, or a newer one"
                )
        try:
            if there["state"] < FORMAT:
                self._state.put(_SPACE, _DOCUMENT, b"%d" % FORMAT, expect=ABSENT if document is None else document.version)
            if there["object"] < FORMAT:
                self._objects.put(_OBJECT, [b"%d" % FORMAT])
        except StoreFull:
            log.warning("a store is full, and is marked with its format once it has room")
        except Conflict:
            self.settle()  # another process, perhaps of a newer version, has just marked it
        else:
            self._is_settled = True

    def condition(self) -> str:
        """Give a line for readiness. Raises as `settle`."""
        self.settle()
        return f"format {FORMAT}"

    def _in_objects(self) -> int:
        with suppress(NoSuchObject):
            return int(self._objects.get(_OBJECT))
        return 1
