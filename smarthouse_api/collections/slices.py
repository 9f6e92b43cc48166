"""All collections, some at a time: there may be thousands, each with its schema."""

from __future__ import annotations

from typing import Final

import msgspec

from backends.ports import StateStore
from smarthouse_api.collections.catalogue import SPACE
from smarthouse_api.collections.model import Collection

_PREFIX: Final = "id/"
_AT_ONCE: Final = 32
_decode = msgspec.json.Decoder(Collection).decode


def next_slice(state: StateStore, after: str) -> tuple[list[Collection], str]:
    """The next collections by id, and after what the ones after them come; empty when there are none.

    after: what an earlier slice gave; empty for the first.
    """
    found = state.scan(SPACE, _PREFIX, after, _AT_ONCE)
    some = [_decode(document.value) for _, document in found]
    return some, found[-1][0] if len(found) == _AT_ONCE else ""
