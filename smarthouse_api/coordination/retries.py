"""Changes that are planned on what was seen, and tried again when another went first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from backends.ports import Conflict
from smarthouse_api.errors import Unavailable

_ATTEMPTS: Final = 100

Answer = TypeVar("Answer")


def until_settled(act: Callable[[], Answer], what: str) -> Answer:
    """What `act` gives, which looks and then commits, as often as that ends in a `Conflict`.

    what: is being changed. Raises `Unavailable` when others always go first, and whatever else `act` raises.
    """
    for _ in range(_ATTEMPTS):
        with suppress(Conflict):
            return act()
    raise Unavailable(f"This {what} is being changed from too many sides; repeat the request")
