"""Works on export jobs in one process after the other: each kills itself with signal 9 in the phase that it is given."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from backends.ports import Change
from config.settings import Settings
from smarthouse_api.house import House
from smarthouse_api.states import planning

Fits = Callable[[Any], bool]


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def die_after_commit(house: House, fits: Callable[[Change], bool]) -> None:
    """Die after the commit of a change that fits."""
    commit = house.state.commit

    def commit_and_die(space: str, change: Change) -> Any:
        done = commit(space, change)
        if space == "jobs" and fits(change):
            die()
        return done

    house.state.commit = commit_and_die  # type: ignore[method-assign]


def die_in_put(house: House, fits: Callable[[str], bool], count: int = 1) -> None:
    """Die in the middle of an object whose name fits; of so many."""
    put, left = house.objects.put, [count]

    def put_and_die(name: str, chunks: Any, **options: Any) -> int:
        left[0] -= fits(name)
        return put(name, first_of(chunks) if fits(name) and not left[0] else chunks, **options)

    house.objects.put = put_and_die  # type: ignore[method-assign]


def first_of(chunks: Any) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        die()


def is_part(name: str) -> bool:
    return not name.endswith(("/zip", "/sums"))


PHASES: dict[str, Callable[[House], None]] = {
    "part": lambda house: die_in_put(house, is_part, 3),
    "file": lambda house: die_in_put(house, lambda name: name.endswith("/zip")),
    "done": lambda house: die_after_commit(house, lambda change: b'"done"' in b"".join(put.value for put in change.puts)),
}


def work(phase: str) -> None:
    planning.MAX_SORTED_ROWS = 8
    house = House(Settings.from_env(dict(os.environ)))
    PHASES[phase](house)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:  # until the lease of the one before has expired
        if not house.states.jobs.maker.work():
            time.sleep(0.02)


def main() -> None:
    for phase in sys.argv[1:]:
        if (child := os.fork()) == 0:  # with the libraries loaded, and before any thread
            try:
                work(phase)
            finally:
                os._exit(1)
        ended = os.waitpid(child, 0)[1]
        sys.stdout.write(f"{phase} ended by signal {os.WTERMSIG(ended)}\n")


if __name__ == "__main__":
    main()
