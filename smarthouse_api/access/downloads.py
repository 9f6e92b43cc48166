"""Downloads: who took which rows, where rows are opened by a key. An operator has to be able to say so for years.

In the state store, space `downloads`: a document for each download, which expires by itself. It names a key and no home.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from backends.ports import StateStore, StoreError
from smarthouse_api.access.keys import KeyRecord

_SPACE: Final = "downloads"
_DAY_SECONDS: Final = 86400.0
_COUNTED: Final = ("homes", "entities")
"""Parameters whose values are counted and not kept: a pseudonym would stay here after its home was forgotten."""

log = logging.getLogger(__name__)


class Download(msgspec.Struct, frozen=True):
    """Tells of one download. at: when it ended, in seconds since 1970. key, name: the key's id, and its owner's name then.

    path, query: what was asked for, without the values of `homes` and `entities`. rows: how many were sent; of a kept file,
    those that it has. is_whole: whether all bytes that were asked for were sent. request: the id that logs have too. is_part:
    only a part of a kept file was asked for.
    """

    at: float
    key: str
    name: str
    path: str
    query: str
    rows: int
    is_whole: bool
    request: str
    is_part: bool = False


_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Download).decode


class Downloads:
    """Keeps a note of each download for so many days. 0: keeps none."""

    def __init__(self, state: StateStore, kept_days: int) -> None:
        self._state, self._kept_seconds = state, kept_days * _DAY_SECONDS

    def note(
        self, key: KeyRecord, path: str, query: str, rows: int, request: str, *, is_whole: bool, is_part: bool = False
    ) -> None:
        """Note a download that has ended. Never fails: the bytes are sent, and the log has the same line."""
        if not self._kept_seconds:
            return
        one = Download(time.time(), key.id, key.name, path, query, rows, is_whole, request, is_part)
        try:
            self._state.put(_SPACE, f"{one.at:017.6f}/{key.id}/{request}", _encode(one), ttl_seconds=self._kept_seconds)
        except StoreError as fault:
            log.warning("a download is in the log only: %s", fault)

    def since(self, at: float, key: str | None = None) -> Iterator[Download]:
        """List the downloads that ended at a time, in seconds since 1970, or later. key: only those of the key with this id."""
        after = f"{at:017.6f}"
        while page := self._state.scan(_SPACE, after=after):
            found = (_decode(document.value) for _, document in page)
            yield from (one for one in found if key in (None, one.key))
            after = page[-1][0]


def named(query: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Give the parameters of a download as they may be kept: with the number of values in place of those that name homes."""
    counts = dict[str, int]()
    for name, value in query:
        if (plain := name.removesuffix("[]")) in _COUNTED:
            counts[plain] = counts.get(plain, 0) + len(value.split(","))
        else:
            yield name, value
    yield from ((name, f"({count})") for name, count in counts.items())
