"""Retries: a change is planned on what was seen, and tried again if another process went first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from backends.ports import Conflict
from smarthouse_api.errors import Unavailable

_ATTEMPTS: Final = 100

Answer = TypeVar("Answer")


def until_settled(act: Callable[[], Answer], what: str) -> Answer:
    """Retry `act`, which looks and then commits, until it ends without a `Conflict`; its result.

    what: the thing that is changed, for the message. Raises `Unavailable` if others always go first, and all that `act` raises.
    """
    for _ in range(_ATTEMPTS):
        with suppress(Conflict):
            return act()
    raise Unavailable(f"This {what} is being changed from too many sides; repeat the request")
