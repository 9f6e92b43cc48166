"""The nursery of the tests' programs."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.programs import Program

_THREADS = 8
_PROGRAMS = 64


def test_programs_that_threads_begin_at_once_are_not_mistaken_for_each_other() -> None:
    def told(number: int) -> tuple[int, str]:
        command = [sys.executable, "-c", f"import os; print({number}, os.getpid())"]
        with Program(command, stdout=subprocess.PIPE, text=True) as program:
            return program.pid, program.communicate(timeout=60)[0]

    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(told, range(_PROGRAMS)))
    assert [said.split() for _, said in found] == [[str(number), str(pid)] for number, (pid, _) in enumerate(found)]
