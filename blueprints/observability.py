"""Observability: every request gets an id, a line in the log and a count in the metrics."""

from __future__ import annotations

import logging
import re
import time
import uuid
from functools import cache, lru_cache
from urllib.parse import quote

from flask import Flask, Response, g, request
from prometheus_client import Counter, Histogram

_UUID = re.compile("-?".join(f"[0-9a-f]{{{digits}}}" for digits in (8, 4, 4, 4, 12)), re.IGNORECASE)
_KEY = re.compile(r"shk_\w*")
HYPHENATED = re.compile("-".join(f"[0-9a-f]{{{digits}}}" for digits in (8, 4, 4, 4, 12)), re.IGNORECASE)
"""A UUID as it is written. Without hyphens, it cannot be told from the random ids that we and proxies make."""

_PART_DIGITS = 6
"""A random id has so many digits of a given home by chance in one of 20,000; it is replaced then."""

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_PART_OF_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-|[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_NO_HEXADECIMAL = re.compile(r"[^0-9a-f]", re.ASCII)
_SANE_ID = re.compile(r"(?!.*shk_)[A-Za-z0-9._-]{1,128}", re.ASCII)
"""What may be logged: no key, and no part of one."""

REQUESTS = Counter("smarthouse_requests_total", "Requests answered.", ["route", "method", "status"])
FAILURES = Counter("smarthouse_failed_requests_total", "Requests answered with 5xx.", ["status"])
SECONDS = Histogram("smarthouse_request_seconds", "Time to the first byte of an answer.", ["route", "method"])

log = logging.getLogger("smarthouse.access")


def register(app: Flask) -> None:
    """Have `app` number, log and count its requests."""
    app.before_request(_begin)
    app.after_request(_end)


@cache
def _begin_counts() -> None:
    """Have counts of failures begin at 0: Prometheus sees no increase in a series that begins with the first failure.

    Once a process answers requests: before, there may be no folder for the metrics.
    """
    for status in (500, 503):
        FAILURES.labels(status)


def _begin() -> None:
    _begin_counts()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _SANE_ID.fullmatch(given) and not _names_the_home(given) else uuid.uuid4().hex
    g.began_at = time.monotonic()


def _end(response: Response) -> Response:
    seconds = max(time.monotonic(), g.get("due_at", 0.0)) - g.began_at
    route = request.url_rule.rule if request.url_rule else "none"
    response.headers["X-Request-ID"] = g.request_id
    method = request.method if request.method in _METHODS else "other"
    REQUESTS.labels(route, method, response.status_code).inc()
    SECONDS.labels(route, method).observe(seconds)
    if response.status_code >= 500:
        FAILURES.labels(response.status_code).inc()
    # The path, never the query or a header: those hold what a client may not want kept.
    path = masked(request.path[:512])
    log.info(
        "%s %s %d %.1fms %s",
        *(request.method, path, response.status_code, seconds * 1000, g.request_id),
        extra={"request": g.request_id, "method": method, "path": path, "status": response.status_code, "seconds": seconds},
    )
    return response


def _names_the_home(request_id: str) -> bool:
    """Tell whether the id is a UUID or holds a part of the home's, with any punctuation. No log and no answer may hold it."""
    digits = _NO_HEXADECIMAL.sub("", request_id.lower())
    for given in request.headers.get("Home-UUID", "").lower().split(","):
        home = _NO_HEXADECIMAL.sub("", given)
        if any(home[first : first + _PART_DIGITS] in digits for first in range(len(home) - _PART_DIGITS + 1)):
            return True
    return _PART_OF_UUID.search(request_id.lower()) is not None


@lru_cache(1000)
def masked(path: str) -> str:
    """Write a path, or a part of a query, on one line, without any UUID or key that a client put there."""
    return _UUID.sub("{uuid}", _KEY.sub("{key}", quote(path)))
