"""Parts of a dataset, given once they are noted."""

from __future__ import annotations

import threading

from smarthouse_api.states.jobs.noted_parts import NotedParts
from smarthouse_api.states.jobs.side_by_side import Ended


def test_who_waits_for_a_part_ends_once_nobody_wants_the_file() -> None:
    parts, ended = NotedParts(1), threading.Event()

    def wait() -> None:
        try:
            list(parts)
        except Ended:
            ended.set()

    threading.Thread(target=wait, daemon=True).start()
    assert not ended.wait(0.05)
    parts.end()
    assert ended.wait(10)
