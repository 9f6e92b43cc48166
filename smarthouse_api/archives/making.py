"""Has archives made beside the requests that ask for them: a large one takes longer than proxies wait for an answer.

1. The first who asks begins the making, in a thread. Who asks meanwhile waits for the same.
2. Each waits for a while. Then the answer is to ask again, and the making goes on.
3. A fault is told to those who wait, or else to the next who asks. Who asks after that begins anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Final

from smarthouse_api.coordination.leased_answers import Slots
from smarthouse_api.errors import Unavailable, own_copy

_WAITING_FOR_EACH_MADE: Final = 2
_MOST_FAULTS: Final = 100
_CROWDED: Final = "This worker makes as many archives as it can at once; ask again"
_UNDER_WAY: Final = "The archive is being made, which takes a while; ask again"


class Making:
    """Has archives made, each by the tag of its home's UUID. at_once: how many this process has made at a time."""

    def __init__(self, make: Callable[[str], None], at_once: int) -> None:
        self._make = make
        self._slots, self._waiting = Slots(at_once, _CROWDED), Slots(_WAITING_FOR_EACH_MADE * at_once, _CROWDED)
        self._turn = threading.Lock()
        self._begun = dict[str, Future[None]]()

    def wait_for(self, tag: str, seconds: float) -> None:
        """Return once the archive is made. Raises what its making raised, and `Unavailable` if that takes longer."""
        with self._waiting:
            future = self._future(tag)
            try:
                fault = future.exception(seconds)
            except TimeoutError:
                raise Unavailable(_UNDER_WAY) from None
            with self._turn:
                if self._begun.get(tag) is future:
                    del self._begun[tag]
        if isinstance(fault, Exception):
            raise own_copy(fault)

    def _future(self, tag: str) -> Future[None]:
        with self._turn:
            if (future := self._begun.get(tag)) is None:
                with ExitStack() as ending:
                    ending.enter_context(self._slots)
                    future = self._begun[tag] = Future()
                    asked = tag, future, ending.pop_all()
                threading.Thread(target=self._run, args=asked, name="making an archive", daemon=True).start()
            return future

    def _run(self, tag: str, future: Future[None], ending: ExitStack) -> None:
        fault = None
        try:
            with ending:
                self._make(tag)
        except Exception as met:
            fault = met
        with self._turn:
            if fault is None:
                self._begun.pop(tag, None)
            self._drop_old_faults()
        if fault is None:
            future.set_result(None)
        else:
            future.set_exception(fault)

    def _drop_old_faults(self) -> None:
        """Drop faults that nobody has asked for, the oldest first."""
        done = [tag for tag, future in self._begun.items() if future.done()]
        for tag in done[: max(0, len(done) - _MOST_FAULTS)]:
            del self._begun[tag]
