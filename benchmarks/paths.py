"""Where the benchmarks keep what they make: a folder inside the repository, on the disk that `./var` would be on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
OUT: Final = ROOT / "benchmarks" / "out"


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A folder under `OUT` that is gone afterwards."""
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{prefix}-", dir=OUT, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
