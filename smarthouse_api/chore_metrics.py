"""What a housekeeper counts for Prometheus: the time of each chore, and its failures.

Import it only once the process is set up: the metrics library looks then whether several processes add up.
"""

from __future__ import annotations

from prometheus_client import Counter

SECONDS = Counter("smarthouse_chore_seconds_total", "Time that housekeepers spent on each chore.", ["chore"])
FAILURES = Counter("smarthouse_chore_failures_total", "Chores that failed and are tried again.", ["chore"])
