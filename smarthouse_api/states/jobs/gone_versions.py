"""The versions whose files are gone. Each is remembered for a while, since a researcher fetches only what came after it.

1. The newest of each client are remembered, and so many in all. Nobody fills the state store with them, or has others' dropped.
2. A forget tells those that may have held the home, many in one commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Final

from backends.ports import Change, StateStore
from smarthouse_api.states.jobs.book import JobBook, Known
from smarthouse_api.states.jobs.model import SPACE, Dataset

_MOST_OF_A_CLIENT: Final = 200
_MOST: Final = 5000
_AT_ONCE: Final = 200


def told_anew(book: JobBook, gone: Sequence[Known], state: str, told: str) -> None:
    """Note another reason why files are gone. What changes meanwhile is left as it is."""
    for at in range(0, len(gone), _AT_ONCE):
        some = gone[at : at + _AT_ONCE]
        if not book.rebury(some, state, told):
            for one in some:
                book.rebury([one], state, told)


def drop_beyond(store: StateStore, gone: Sequence[Known]) -> None:
    """Drop the oldest versions of clients that have many. Their jobs go too, which could tell nothing any more."""
    counts = Counter(_owner(known.dataset) for known in gone)
    most = _share(counts)
    kept, dropped = Counter[str](), list[Dataset]()
    for dataset in sorted((known.dataset for known in gone), key=_at, reverse=True):
        owner = _owner(dataset)
        if kept[owner] >= most or kept.total() >= _MOST:
            dropped.append(dataset)
        else:
            kept[owner] += 1
    for at in range(0, len(dropped), _AT_ONCE):
        some = dropped[at : at + _AT_ONCE]
        jobs = (f"job/{id_}" for dataset in some for id_, _ in dataset.jobs)
        store.commit(SPACE, Change(deletes=(*(f"gone/{dataset.version}" for dataset in some), *jobs)))


def _share(counts: Counter[str]) -> int:
    """Tell how many versions a client may have: as many for each."""
    return next(
        most for most in count(_MOST_OF_A_CLIENT, -1) if most <= 1 or sum(min(one, most) for one in counts.values()) <= _MOST
    )


def _owner(dataset: Dataset) -> str:
    return dataset.jobs[0][1] if dataset.jobs else ""


def _at(dataset: Dataset) -> float:
    return dataset.finished_at or dataset.at
