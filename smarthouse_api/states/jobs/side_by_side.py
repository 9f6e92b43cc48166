"""Several pieces of work at once, each in a thread, while the one who wants their results looks after them all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import Connection
from typing import Final, Generic, TypeVar

LOOK_SECONDS: Final = 0.2

Result = TypeVar("Result")
Look = Callable[[], None]
"""Is called several times a second while something is waited for. What it raises ends the waiting."""


class Ended(Exception):
    """Says to a piece of work that nobody wants it any more."""


class Places:
    """Shares the places for work in this process among those who have some to do. count: of the places.

    hire: gives a connection to another process that helps; None if there is none.
    """

    def __init__(self, count: int) -> None:
        self.count, self._sharing, self._changing = count, 0, threading.Lock()
        self.hire: Callable[[], Connection | None] = lambda: None
        self._here = threading.Lock()

    @contextmanager
    def here(self) -> Iterator[bool]:
        """Do a piece of work. Tells whether no other thread of this process does one now: two would wait for each other."""
        is_first = self._here.acquire(blocking=False)
        try:
            yield is_first
        finally:
            if is_first:
                self._here.release()

    @property
    def share(self) -> int:
        """How many pieces of work each of them may do at once now: one at least, though they may be more than the places."""
        return max(1, self.count // max(1, self._sharing))

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Be one of them."""
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    def _change(self, by: int) -> None:
        with self._changing:
            self._sharing += by


def side_by_side(work: Iterable[Callable[[Callable[[], None]], Result]], places: Places, look: Look) -> Generator[Result]:
    """Do pieces of work in threads, as many at once as a share of the places, and yield what each returns once it is done.

    work: begun in their order. Each is given a function to call now and then, which raises `Ended` if it is to end. look: is
    called several times a second, by the one who takes the results. What it raises, or a piece of work, ends them all. So does
    closing this iterator, which waits until none of them is under way.
    """
    ended, left = threading.Event(), iter(work)
    running, done = set[Future[Result]](), set[Future[Result]]()

    def check() -> None:
        if ended.is_set():
            raise Ended

    with places.shared(), ThreadPoolExecutor(places.count, thread_name_prefix="side-by-side") as threads:
        try:
            while True:
                free = max(0, places.share - len(running))
                running |= {threads.submit(one, check) for one in islice(left, free)}  # before the results have their time
                for one in done:
                    yield one.result()
                if not running:
                    return
                done, running = wait(running, LOOK_SECONDS, FIRST_COMPLETED)
                if not done:
                    look()
        finally:
            ended.set()


class Beside(Generic[Result]):
    """Waits for what a thread does beside this one."""

    def __init__(self, future: Future[Result]) -> None:
        self._future = future

    def check(self) -> None:
        """Raise what went wrong, if something did."""
        if self._future.done():
            self._future.result()

    def result(self, look: Look) -> Result:
        """Wait for what is returned. Raises what goes wrong."""
        while not wait([self._future], LOOK_SECONDS).done:
            look()
        return self._future.result()


@contextmanager
def beside(act: Callable[[], Result], end: Callable[[], None]) -> Iterator[Beside[Result]]:
    """Have a thread do something. end: has it end; is called at the end of the context, which waits for the thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="beside") as thread:
        try:
            yield Beside(thread.submit(act))
        finally:
            end()
