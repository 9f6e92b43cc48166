"""UUIDs in texts. A home's UUID erases the home, so no text that may be exported holds one."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.states.records.rules import REDACTED

UUID_PATTERN: Final = "(?i)[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}"
"""With underscores too: Home Assistant writes them for hyphens where it makes an id of a name."""


def without_uuids(texts: pa.StringArray) -> pa.StringArray:
    """Put `redacted` in the place of each UUID. The service cannot tell the home's own from others: it keeps none."""
    return pc.replace_substring_regex(texts, UUID_PATTERN, REDACTED)
