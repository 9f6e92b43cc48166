"""Starts the service in an add-on: reads the options, gives the data's folder away, and becomes gunicorn as its user."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

DATA: Final = Path("/data")
USER: Final = 10001


def environment(options: Mapping[str, Any], data: Path) -> dict[str, str]:
    """Return the service's settings for the add-on's options. The last ones win: `environment` names any setting."""
    given = dict(line.split("=", 1) for line in options.get("environment", ()))
    return {
        "SMARTHOUSE_ENV": "",
        "SMARTHOUSE_DATA_DIR": str(data / "lake"),
        "SMARTHOUSE_EXPORT_ACCESS": options["export_access"],
        "SMARTHOUSE_INGEST_ACCESS": options["ingest_access"],
        "SMARTHOUSE_CONSENT_REQUIRED": "true" if options["consent_required"] else "false",
        "HOST": "0.0.0.0",  # noqa: S104  in a container, whose ports the Supervisor opens
        "PORT": "8000",
        **given,
    }


def main() -> None:
    """Start. Never returns."""
    told = environment(json.loads((DATA / "options.json").read_text()), DATA)
    lake = DATA / "lake"
    lake.mkdir(exist_ok=True)
    os.chown(lake, USER, USER)
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    os.chdir(Path(__file__).parent)
    os.environ.update(told)
    if not told["SMARTHOUSE_ENV"]:
        del os.environ["SMARTHOUSE_ENV"]
    os.execvp("gunicorn", ["gunicorn", "-c", "python:config.gunicorn", "ingress:app"])  # noqa: S606, S607


if __name__ == "__main__":
    main()
