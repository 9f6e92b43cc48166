"""Write the README's table of settings, and those that compose.yaml passes on, from their classes: `python -m config.table`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from config.settings import PREFIX, Settings, variables

README, COMPOSE = (Path(__file__).parent.parent / name for name in ("README.md", "compose.yaml"))
BEGIN = "<!-- The settings, from config/groups.py: python -m config.table writes them. -->"
END = "<!-- The end of the settings. -->"
NOT_PASSED_ON = frozenset({"env", "data_dir", "state_url", "objects_url", "reload", "housekeeping"})
"""The settings that compose.yaml decides itself, or that mean nothing in a container."""


def written_into(document: str) -> str:
    """Replace the table in `document` by the table as the classes have it now."""
    before, rest = document.split(f"{BEGIN}\n", 1)
    after = rest.split(f"{END}\n", 1)[1]
    rows = "".join(
        f"| `{PREFIX}{name.upper()}` | `{_as_text(variable.of(Settings()))}` | {variable.field.metadata['doc']} |\n"
        for name, variable in variables().items()
    )
    return f"{before}{BEGIN}\n\n| setting | default | meaning |\n|---|---|---|\n{rows}\n{END}\n{after}"


def passed_on_in(document: str) -> str:
    """Replace the settings that `document`, a compose file, passes on as they stand in `.env` by those that exist now."""
    names = "".join(f"  {PREFIX}{name.upper()}:\n" for name in variables() if name not in NOT_PASSED_ON)
    return re.sub(rf"(^  {PREFIX}\w+:\n)+", names, document, count=1, flags=re.MULTILINE)


def _as_text(value: Any) -> str:
    """Write a value as the environment spells it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:.15g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    README.write_text(written_into(README.read_text()))
    COMPOSE.write_text(passed_on_in(COMPOSE.read_text()))
