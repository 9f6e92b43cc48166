"""Remember which parts of a state store this process found damaged, and tell which of them still are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from backends.ports import Part, PartDamaged, StateStore

_MOST: Final = 1000

Made = TypeVar("Made")


class DamagedParts:
    """Collects what this process met, of one store."""

    def __init__(self) -> None:
        self._met = dict[Part, None]()
        self._thread = threading.local()

    @contextmanager
    def reading_around(self) -> Iterator[None]:
        """Have `whole` leave damaged parts out, in this thread, instead of raising."""
        self._thread.reads_around = True
        try:
            yield
        finally:
            self._thread.reads_around = False

    def whole(self, make: Callable[[Any], Made], rows: Iterable[Any]) -> list[Made]:
        """Make something of each row. make: raises `PartDamaged` for a damaged one."""
        if not getattr(self._thread, "reads_around", False):
            return [make(row) for row in rows]
        found = list[Made]()
        for row in rows:
            with suppress(PartDamaged):
                found.append(make(row))
        return found

    def fault(self, part: Part) -> PartDamaged:
        """Note a damaged part; the fault to be raised."""
        if len(self._met) < _MOST:
            self._met[part] = None
        return PartDamaged(part)

    def left(self, store: StateStore) -> list[Part]:
        """Read each again, and list those that are damaged still. Raises `StoreUnavailable`."""
        for part in list(self._met):
            self._met.pop(part, None)
            try:
                if part.sequence is None:
                    store.get(part.space, part.name)
                else:
                    store.read(part.space, part.name, part.sequence - 1, 1)
            except PartDamaged:
                pass  # it is noted again
            except ValueError:
                self._met[part] = None  # its name is damaged
            except BaseException:
                self._met[part] = None
                raise
        return list(self._met)
