"""The log: log records go to the standard error."""

from __future__ import annotations

import logging
import sys


def log_to_stderr(level: str) -> None:
    """Write log records of at least this level to the standard error."""
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    # No line names its thread, and finding the name costs as much as writing the line.
    logging.logThreads = logging.logMultiprocessing = False
    # Its warnings of retries name the home that an object belongs to.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    # Its debug log shows the state of every connection, headers included.
    logging.getLogger("flask_cors").setLevel(logging.WARNING)
