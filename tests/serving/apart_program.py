"""Opens exports apart as a worker does, in a process of a single thread, and prints what came of each, in JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from typing import Any

from backends.ports import StoreUnavailable
from smarthouse_api.errors import Invalid, TooMany
from smarthouse_api.serving.apart import Apart, Opened

PIECES = 40
PIECE = bytes(1 << 16)


class Made:
    """An export of `PIECES` pieces that does what its name says."""

    def __init__(self, what: str) -> None:
        self.file_name, self.incomplete, self.is_whole, self.rows, self._what = what, "some rows", False, 0, what

    def __iter__(self) -> Iterator[bytes]:
        for self.rows in range(1, PIECES + 1):
            if self.rows == PIECES // 2 and self._what == "breaks":
                raise StoreUnavailable("the lake: it is gone")
            if self.rows == PIECES // 2 and self._what == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            yield PIECE

    def close(self) -> None:
        if self._what == "closes":
            sys.stderr.write("closed\n")
            sys.stderr.flush()


def open_(what: str, *, where: bool = False) -> Opened | None:
    if what == "nothing":
        return None
    if what == "refused":
        raise Invalid("from: it is no day", "Bad", reason="DAY")
    if what == "busy":
        raise TooMany("ask later", 7)
    if what == "faulty":
        raise ZeroDivisionError("a secret")
    return Made(f"{os.getpid()} {os.nice(0)}" if where else what)


def told(apart: Apart, what: str, **options: Any) -> dict[str, Any]:
    """Open an export, read it, and tell what came."""
    sent, opened = 0, None
    try:
        if (opened := apart.open(what, **options)) is None:
            return {"none": True}
        with closing(opened):
            for chunk in opened:
                sent += len(chunk)
                if what == "closes":
                    break
    except Exception as fault:
        return {"fault": type(fault).__name__, "told": str(fault), **vars(fault), "rows": getattr(opened, "rows", None)}
    return {
        "name": opened.file_name,
        "incomplete": opened.incomplete,
        "rows": opened.rows,
        "sent": sent,
        "whole": opened.is_whole,
    }


def work(is_over: Callable[[], bool]) -> bool:
    """Work until the time is over; whether the process is one of low priority."""
    sys.stderr.write(f"works in {os.getpid()}\n")
    sys.stderr.flush()
    while not is_over():
        time.sleep(0.01)
    return os.nice(0) > 0


def worked(apart: Apart, how: str) -> Any:
    """Have it work, and tell what came. dies: the process is killed meanwhile."""
    pid, asked = told(apart, "one", where=True)["name"].split()[0], 0

    def is_over() -> bool:
        nonlocal asked
        asked += 1
        if how == "dies":
            os.kill(int(pid), signal.SIGKILL)
            return False
        return asked > 1

    try:
        return apart.work(is_over)
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"


def tell(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")


def main() -> None:
    apart = Apart(open_, work, nullcontext, idle_seconds=0.3)
    tell([told(apart, what) for what in sys.argv[1:]])
    tell([worked(apart, how) for how in ("over", "dies", "over")])
    first, second = (told(apart, "one", where=True)["name"] for _ in range(2))
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{first.split()[0]}") and time.monotonic() < deadline:
        time.sleep(0.05)
    third = told(apart, "one", where=True)["name"]
    os.kill(apart._keeper, signal.SIGKILL)
    os.waitpid(apart._keeper, 0)
    os.kill(int(third.split()[0]), signal.SIGKILL)
    time.sleep(0.1)
    tell([first, second, third, told(apart, "one", where=True)["name"], os.getpid()])
    tell(apart.work(lambda: True))


if __name__ == "__main__":
    main()
