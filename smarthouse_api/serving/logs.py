"""The log: records go to the standard error, as lines of text or as JSON."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Final

from pythonjsonlogger.orjson import OrjsonFormatter

TEXT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"


class JsonFormatter(OrjsonFormatter):
    """Writes each record as one JSON object: `time` (UTC), `level`, `logger`, `message`, and what the record brings along."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, *_: Any, **__: Any) -> None:
        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        super().__init__("{asctime}{levelname}{name}{message}", style="{", rename_fields=names)


def log_to_stderr(level: str, format: str = "text") -> None:
    """Write log records of at least this level to the standard error. format: `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # No line names its thread, and finding the name costs as much as writing the line.
    logging.logThreads = logging.logMultiprocessing = False
    # Its warnings of retries name the home that an object belongs to.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
