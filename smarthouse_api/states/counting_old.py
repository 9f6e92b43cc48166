"""Counting what earlier versions stored: each of their receipts is counted once, even if processes die.

A commit adds some receipts to the counts and marks them as counted. So a process that dies leaves whole steps, and two that
count at once do each step once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from backends.ports import ABSENT, Change, Conflict, Document, Put, StateStore
from smarthouse_api.states.counts import COUNTED, Counts, Kept, first_put, last_put, total
from smarthouse_api.states.homes import SPACE, Home, Homes
from smarthouse_api.states.raw import RawUploads
from smarthouse_api.states.receipts import StoredReceipt, changed_receipt, receipt_name, stored_receipt

_AT_ONCE: Final = 500
_Receipts = list[tuple[str, Document, StoredReceipt]]


class CountingOld:
    """Counts the receipts of earlier versions, home by home. It goes on where the last turn ended."""

    def __init__(self, state: StateStore, raw: RawUploads, homes: Homes, counts: Counts) -> None:
        self._state, self._raw, self._homes, self._counts = state, raw, homes, counts
        self._left: list[Home] | None = None
        self._is_done = False

    def run(self, is_over: Callable[[], bool]) -> None:
        """Count what is not counted yet, until that is done or the turn is over. A conflict ends the turn."""
        for _ in self.steps():
            if is_over():
                return

    def steps(self) -> Iterator[int]:
        """Count the receipts that are not counted yet, some in each step; how many."""
        if self._is_done or self._state.get(SPACE, COUNTED) is not None:
            self._is_done = True
            return
        if self._left is None:
            self._left = list(self._homes.everyone())
        while self._left:
            try:
                yield from self._count(self._left[-1])
            except Conflict:  # the home uploads or is forgotten: look again
                name = self._left[-1].name
                self._left[-1:] = [home for home in self._homes.everyone() if home.name == name]
            else:
                self._left.pop()
            yield 0
        self._state.put(SPACE, COUNTED, b"")
        self._is_done = True

    def _count(self, home: Home) -> Iterator[int]:
        found = self._state.scan_all(SPACE, receipt_name(home.key, ""))
        receipts = [(name, document, stored_receipt(document.value)) for name, document in found]
        new = [one for one in receipts if one[2].bytes is None]
        if not new:
            return
        there = {raw.id: (info.size_bytes, raw.arrival(info)) for raw, info in self._raw.of(home.key)}
        if arrivals := [at for _, at in there.values()]:  # first: a home whose receipts are all counted is not looked at again
            self._note_times(home, min(arrivals), max(arrivals))
        for start in range(0, len(new), _AT_ONCE):
            some = new[start : start + _AT_ONCE]
            self._mark(home, some, {id_: size for id_, (size, _) in there.items()})
            yield len(some)

    def _mark(self, home: Home, receipts: _Receipts, sizes: dict[str, int]) -> None:
        puts, counted = list[Put](), list[Kept]()
        for name, document, receipt in receipts:
            size = sizes.get(receipt.id, 0)  # 0: it is lost
            puts.append(Put(name, changed_receipt(document.value, bytes=size)))
            counted.append(Kept(size, 1, receipt.records + (receipt.statistics or 0)))
        expect = {home.name: home.version} | {name: document.version for name, document, _ in receipts}
        self._state.commit(SPACE, Change(expect, tuple(puts), adds=self._counts.old(home.key, total(counted))))

    def _note_times(self, home: Home, first_us: int, last_us: int) -> None:
        puts, expect = [], {home.name: home.version}
        for put, is_better in ((first_put(home.key, first_us), min), (last_put(home.key, last_us), max)):
            found = self._state.get(SPACE, put.key)
            expect[put.key] = ABSENT if found is None else found.version
            if found is None or is_better(int(found.value), int(put.value)) != int(found.value):
                puts.append(put)
        if puts:
            self._state.commit(SPACE, Change(expect, tuple(puts)))
