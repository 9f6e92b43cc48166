"""`python -m smarthouse_api.cli`: the same as `smarthouse`."""

from __future__ import annotations

from smarthouse_api.cli import main

if __name__ == "__main__":
    main(prog_name="smarthouse")
