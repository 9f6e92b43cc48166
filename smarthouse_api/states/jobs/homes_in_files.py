"""Which homes have rows in the file of a dataset, so that a forget removes only files that hold the home.

In the state store, in the space of the jobs: `homes/<version>`, digests of the homes' internal keys, some bytes each, one after
the other. They grow in the commit that notes a part, and stay until the file goes. They are digests of the version, too: nobody
can compare those of two files.

1. A part says whether the homes of all its rows are among them. If one part does not, nobody knows, and any forget of a home
   with rows on the same days removes the file.
2. What is published of one home must not depend on another one. So nobody knows where groups of homes decide what is published,
   nor of the wide layout, whose columns may tell of a home without a row.
3. The documents in a file tell what was asked for. So a file that was asked for by entities, or by the home's pseudonym, goes
   with the home.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import pyarrow as pa

from smarthouse_api.states.jobs.model import Dataset
from smarthouse_api.states.records.privacy import home_name

DIGEST_BYTES: Final = 8
_MOST_BYTES: Final = 32_768 * DIGEST_BYTES


class HomesOfRows:
    """Names the homes of published rows of one dataset. names: digests of homes, by their pseudonyms; None to name none."""

    def __init__(self, names: Mapping[str, bytes] | None) -> None:
        self._names = names

    @classmethod
    def of(cls, dataset: Dataset, privacy: str, secret: bytes, keys: Callable[[], Iterable[str]]) -> HomesOfRows:
        """Name those of a dataset. secret: of its pseudonyms. keys: gives the internal keys of all homes."""
        asked = dataset.request.aggregation
        if privacy == "strict" or (asked is not None and asked.layout != "long"):
            return cls(None)
        return cls({home_name(secret, key): digest_of_home(dataset.version, key) for key in keys()})

    def named(self, pseudonyms: Iterable[str]) -> bytes | None:
        """Return the digests of homes, in order; None if one is not known."""
        if self._names is None:
            return None
        found = [self._names.get(name) for name in pseudonyms]
        return None if None in found else _together(one for one in found if one is not None)


def digest_of_home(version: str, key: str) -> bytes:
    """Name a home in the file of one dataset. key: the home's internal one."""
    return hashlib.sha256(f"{version}/{key}".encode()).digest()[:DIGEST_BYTES]


def homes_in(batch: pa.RecordBatch) -> set[str]:
    """Return the pseudonyms in published rows."""
    homes = batch.column("home")
    if isinstance(homes, pa.DictionaryArray):
        homes = homes.dictionary.take(homes.indices.unique())
    return set(homes.unique().to_pylist())


def joined(before: bytes, more: bytes) -> bytes | None:
    """Join digests; None for too many."""
    found = _together([*_each(before), *_each(more)])
    return found if len(found) <= _MOST_BYTES else None


def holds(value: bytes, version: str, keys: Iterable[str]) -> bool:
    """Tell whether one of some homes is among the digests. keys: their internal ones."""
    found = set(_each(value))
    return any(digest_of_home(version, key) in found for key in keys)


def _together(digests: Iterable[bytes]) -> bytes:
    return b"".join(sorted(set(digests)))


def _each(value: bytes) -> Iterable[bytes]:
    return (value[place : place + DIGEST_BYTES] for place in range(0, len(value), DIGEST_BYTES))
