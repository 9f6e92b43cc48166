"""What a worker counts of requests that it cuts, for Prometheus.

Import it only once the process is set up: the metrics library looks then whether several processes add up.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

LATE: Final = "late"
CROWDED: Final = "crowded"

CUT = Counter("smarthouse_cut_requests_total", "Requests that were cut, since they came too slowly or too many.", ["reason"])
for _reason in (LATE, CROWDED):
    CUT.labels(_reason)  # from 0 on: Prometheus sees no increase in a series that begins with the first cuts
