"""A release that is kept, for tests of what answers with one: to make it takes homes that agreed for a week."""

from __future__ import annotations

import msgspec

from smarthouse_api.house import House
from smarthouse_api.states.jobs.sums import Summing
from smarthouse_api.states.releases import SPACE, Release

MONTH = "2026-03"


def keep_release(house: House) -> None:
    """Keep a release of `MONTH`, as the documents' examples name it."""
    release, summing = Release(MONTH, "1h", "0" * 32, 5, 0.0, rows=1, size_bytes=3), Summing()
    house.objects.put(release.file, summing.passing([b"zip"]))
    house.objects.put(release.sums, [summing.blocks()])
    house.state.put(SPACE, f"release/{release.month}", msgspec.json.encode(release))
