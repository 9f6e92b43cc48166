"""The program `smarthouse`. Loading its commands takes a second, in which Ctrl-C ends it as at any other time."""

from __future__ import annotations

import sys
from typing import Final

_STOPPED: Final = 130
"""The exit code of what Ctrl-C stopped, as shells expect it."""


def main() -> None:
    """Run the command that the arguments name."""
    try:
        from smarthouse_api.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Stopped\n")
        sys.exit(_STOPPED)
