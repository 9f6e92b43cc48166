"""Has archives made beside the requests that ask for them: a large one takes longer than proxies wait for an answer.

1. The first who asks begins the making, in a thread. Who asks meanwhile waits for the same.
2. Each waits for a while, and only a few for the same. Then the answer is to ask again, and the making goes on.
3. A fault is told to those who wait, or else to the next who asks. Who asks after that begins anew.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Final

from smarthouse_api.coordination.leased_answers import Slots
from smarthouse_api.errors import Unavailable, own_copy

_MOST_WAITING: Final = 2
"""For one archive: who asks again and again holds no more of the threads that answer requests."""

_MOST_FAULTS: Final = 100
_CROWDED: Final = "This worker makes as many archives as it can at once; ask again"
_UNDER_WAY: Final = "The archive is being made, which takes a while; ask again"


class Making:
    """Has archives made for clients, each by the tag of its home's UUID. at_once: how many this process has made at a time."""

    def __init__(self, make: Callable[[str, str], None], at_once: int) -> None:
        self._make, self._slots, self._waiting = make, Slots(at_once, _CROWDED), Counter[str]()
        self._turn = threading.Lock()
        self._begun = dict[str, Future[None]]()

    def wait_for(self, tag: str, seconds: float, owner: str = "") -> None:
        """Return once the archive is made. Raises what its making raised, and `Unavailable` if that takes longer.

        owner: the client, for whom it is made if it is not being made.
        """
        with self._waits(tag):
            future = self._future(tag, owner)
            try:
                fault = future.exception(seconds)
            except TimeoutError:
                raise Unavailable(_UNDER_WAY) from None
            with self._turn:
                if self._begun.get(tag) is future:
                    del self._begun[tag]
        if isinstance(fault, Exception):
            raise own_copy(fault)

    @contextmanager
    def _waits(self, tag: str) -> Iterator[None]:
        with self._turn:
            if self._waiting[tag] >= _MOST_WAITING:
                raise Unavailable(_UNDER_WAY)
            self._waiting[tag] += 1
        try:
            yield
        finally:
            with self._turn:
                self._waiting[tag] -= 1
                self._waiting += Counter()  # drops those for which nobody waits

    def _future(self, tag: str, owner: str) -> Future[None]:
        with self._turn:
            if (future := self._begun.get(tag)) is None:
                with ExitStack() as ending:
                    ending.enter_context(self._slots)
                    future = self._begun[tag] = Future()
                    asked = tag, owner, future, ending.pop_all()
                threading.Thread(target=self._run, args=asked, name="making an archive", daemon=True).start()
            return future

    def _run(self, tag: str, owner: str, future: Future[None], ending: ExitStack) -> None:
        fault = None
        try:
            with ending:
                self._make(tag, owner)
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
