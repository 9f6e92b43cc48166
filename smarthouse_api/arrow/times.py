"""Times: what the lake keeps them as, and the span that they may have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import pyarrow as pa

TIMESTAMP: Final = pa.timestamp("us", tz="UTC")

DAY_US: Final = 86_400_000_000
"""A day in microseconds."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

FIRST_US: Final = -62_135_596_800_000_000
LAST_US: Final = 253_402_300_799_999_999
"""The years 1 to 9999, in microseconds since 1970."""
