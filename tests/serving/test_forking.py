"""When a process may fork: a real one, whose libraries have threads from the first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import sys
import deltalake, numpy, pyarrow as pa, pyarrow.compute, pyarrow.parquet
from smarthouse_api.serving.forking import Forks
print(Forks.are_possible())
deltalake.write_deltalake(sys.argv[1], pa.table({"number": [1]}))
print(Forks.are_possible())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_a_process_may_fork_until_it_has_opened_the_lake(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path / "table")], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["True", "False"]
