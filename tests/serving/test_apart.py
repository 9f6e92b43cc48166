"""Exports that are made in a process of their own: what comes of them, and of the process."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from smarthouse_api.serving.apart import Apart
from tests.programs import run
from tests.serving.apart_program import PIECE, PIECES

Told = tuple[list[Any], list[Any], str, list[Any]]

pytestmark = pytest.mark.skipif(not Apart.is_possible(), reason="exports are made apart on Linux only")


@pytest.fixture(scope="module")
def program() -> Told:
    asked = ["whole", "nothing", "refused", "faulty", "breaks", "dies", "whole", "closes", "busy"]
    done = run([sys.executable, "-m", "tests.serving.apart_program", *asked], capture_output=True, text=True, check=True)
    exports, worked, processes, alone = map(json.loads, done.stdout.splitlines())
    return exports, processes, done.stderr, [*worked, alone]


def test_what_the_other_process_says_is_what_comes(program: Told) -> None:
    whole, nothing, refused, faulty, breaks, dies, again, closes, busy = program[0]
    assert whole == again
    assert whole == {"name": "whole", "incomplete": "some rows", "rows": PIECES, "sent": PIECES * len(PIECE), "whole": True}
    assert nothing == {"none": True}
    assert refused == {
        "fault": "Invalid",
        "told": "from: it is no day",
        "detail": "from: it is no day",
        "title": "Bad",
        "reason": "DAY",
        "rows": None,
    }
    assert faulty["fault"] == "RuntimeError"
    assert "secret" not in faulty["told"]
    assert (breaks["fault"], breaks["told"], breaks["rows"]) == ("StoreUnavailable", "the lake: it is gone", PIECES // 2 - 1)
    assert "Unavailable: The process that made the export has ended" in f"{dies['fault']}: {dies['told']}"
    assert dies["rows"] < PIECES
    assert (closes["sent"], closes["whole"]) == (len(PIECE), False)
    assert (busy["fault"], busy["told"]) == ("Unavailable", "ask later"), "a fault that cannot be made anew elsewhere"


def test_a_death_is_logged_and_an_export_that_nobody_reads_is_closed(program: Told) -> None:
    assert "signal 9 has ended the process" in program[2]
    assert "ZeroDivisionError: a secret" in program[2]  # for the operator
    assert "closed" in program[2]


def test_one_process_of_low_priority_makes_them_and_ends_when_idle(program: Told) -> None:
    first, second, third, fallen_back, own = program[1]
    assert first == second != third, "one process for the exports of a while"
    assert first.endswith(" 19")
    assert str(own) not in first
    assert fallen_back == f"{own} 0", "without the keeper, the worker makes them"
    assert "made in the worker from now on" in program[2]


def test_jobs_are_worked_on_there_until_the_time_is_over(program: Told) -> None:
    over, died, again, alone = program[3]
    assert (over, again, alone) == (True, True, False), "without the keeper, the worker works on them"
    assert died == "Unavailable: The process that made the export has ended; ask again"
