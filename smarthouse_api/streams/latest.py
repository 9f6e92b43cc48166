"""The newest documents of a stream that are named by an index. Stores list documents from the lowest name on only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from backends.ports import Document, StateStore

_FIRST: Final = 1 << 10
_GROWTH: Final = 1 << 4


def newest_documents(
    state: StateStore, space: str, name: Callable[[int], str], before: int, limit: int, end: str = ""
) -> list[tuple[str, Document]]:
    """Return the last documents with an index below `before`, at most `limit`, the last first.

    name: writes where documents of an index begin; the same for all up to its slash. end: the first name that is not wanted, if
    several documents may have an index. The search begins with the indexes just
    below `before`, and takes in ever more. So it reads about as many documents as it returns if they lie evenly.
    """
    reach, low, found = _FIRST, before, deque[tuple[str, Document]]()
    while low and len(found) < limit:
        low = max(before - reach, 0)
        found = deque(_between(state, space, name, low, end or name(before)), limit)
        reach *= _GROWTH
    return list(reversed(found))


def _between(state: StateStore, space: str, name: Callable[[int], str], low: int, end: str) -> Iterator[tuple[str, Document]]:
    prefix, begin = name(0).partition("/")[0] + "/", name(low)
    after = name(low - 1) if low else ""
    while page := state.scan(space, prefix, after):
        for one in page:
            if one[0] >= end:
                return
            if one[0] >= begin:
                yield one
        after = page[-1][0]
