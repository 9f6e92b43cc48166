"""Where log records go."""

from __future__ import annotations

import logging
import sys


def log_to_stderr(level: str) -> None:
    """Write log records of at least this level to the standard error."""
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    # No line says in which thread it was written, and finding that out costs as much as writing it.
    logging.logThreads = logging.logMultiprocessing = False
    # Its warnings of what it repeats name whom an object belongs to.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    # Its debug log shows the state of every connection, headers included.
    logging.getLogger("flask_cors").setLevel(logging.WARNING)
