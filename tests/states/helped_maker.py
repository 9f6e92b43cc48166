"""Works on an export job with the help of hands, other processes: first of one that kills its maker, then of ones that die.

It prints who is killed, and whether a process is left.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from config.settings import Settings
from smarthouse_api.house import House
from smarthouse_api.states import planning
from smarthouse_api.states.query import Filters

SECONDS = 20


def tell(what: str) -> None:
    os.write(1, f"{what}\n".encode())


def killing(chunks: Any, victim: str, pid: int) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        tell(f"a hand kills the {victim}")
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)  # until it has died


def work(victim: str) -> None:
    """Work until nothing is left to do. victim: the process that a hand kills in the middle of a part."""
    maker, house = os.getpid(), House(Settings.from_env(dict(os.environ)))
    put = house.objects.put

    def put_and_kill(name: str, chunks: Any, **options: Any) -> int:
        if os.getpid() == maker:
            return put(name, chunks, **options)
        return put(name, killing(chunks, victim, os.getpid() if victim == "hand" else maker), **options)

    house.objects.put = put_and_kill  # type: ignore[method-assign]
    house.part_jobs()
    jobs = house.states.jobs
    if victim == "hand":  # of the job that is there, the maker may have made all parts but one
        jobs.ask(jobs.request(Filters(), ("json",)), "address/other")
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and jobs.figures().running + jobs.figures().waiting:
        if not jobs.maker.work():
            time.sleep(0.02)  # until the lease of the one before has expired
    assert house._hands is not None
    keeper = house._hands._keeper
    os.kill(keeper, signal.SIGKILL)
    os.waitpid(keeper, 0)
    tell(f"without the keeper, there is {house._hands.ask()}")
    for view in jobs.views():
        if view.formats == ("json",):
            jobs.cancel(view.id)
    house.close()


def left(session: int) -> list[str]:
    """The processes of a session that still run."""
    found = list[str]()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ends just now
            state, _, _, of, *_ = path.read_text().rpartition(")")[2].split()
            if int(of) == session and state != "Z":
                found.append(state)
    return found


def main() -> None:
    planning.MAX_SORTED_ROWS = 2
    for victim in sys.argv[1:]:
        if (child := os.fork()) == 0:  # with the libraries loaded, and before any thread
            try:
                os.setsid()
                work(victim)
            finally:
                os._exit(0)
        ended, deadline = os.waitpid(child, 0)[1], time.monotonic() + SECONDS
        while left(child) and time.monotonic() < deadline:
            time.sleep(0.02)
        tell(f"it ended by signal {os.WTERMSIG(ended)}, and {len(left(child))} processes are left")


if __name__ == "__main__":
    main()
