"""The console's budgets: the Data page and the parts that come later, warm, in processor time; the bytes of a first visit."""

from __future__ import annotations

import re
import time
from typing import Final

from flask.testing import FlaskClient

from benchmarks import kept
from benchmarks.table import Row
from config.settings import Settings
from smarthouse_api.app import create_app

ROUNDS: Final = 9
PAGES: Final = {
    "Data page": ("/console/", 150.0),
    "Data page, filtered": ("/console/?types=sensor&units=%C2%B0C&date_from=2025-06-10&date_to=2025-06-16", 150.0),
    "twenty rows": ("/console/preview", 400.0),
    "a typical day": ("/console/typical?units=%C2%B0C", 400.0),
}
"""What is asked for, and the milliseconds that it may take."""

MOST_KIB: Final = 40.0
_BROWSER: Final = {"Accept-Encoding": "gzip", "Accept": "text/html"}


def measure(size: str) -> list[Row]:
    """The rows for one lake."""
    variables = {"DATA_DIR": str(kept.lake_of(kept.HOMES[size])), "LOG_LEVEL": "error", "EXPORT_RATE_ADDRESS": ""}
    app = create_app(Settings.from_env({f"SMARTHOUSE_{name}": value for name, value in variables.items()}))
    house = app.extensions["smarthouse"]
    try:
        house.states.contents.count(lambda: False)
        client = app.test_client()
        return [*(_row(client, name, *one) for name, one in PAGES.items()), _first_visit(client)]
    finally:
        house.close()


def _row(client: FlaskClient, name: str, path: str, most: float) -> Row:
    found = [_milliseconds(client, path) for _ in range(ROUNDS + 1)][1:]  # the first one warms up
    told = f"{sorted(found)[ROUNDS // 2]:.0f} ms"
    return Row(f"console: {name}, processor time", told, "", found, must=most, ambition=most / 2, low_is_good=True, unit="ms")


def _milliseconds(client: FlaskClient, path: str) -> float:
    began = time.process_time()
    answer = client.get(path, headers=_BROWSER)
    if answer.status_code != 200:
        raise RuntimeError(f"{path} is a {answer.status_code}")
    return 1000 * (time.process_time() - began)


def _first_visit(client: FlaskClient) -> Row:
    """Add up all that a browser fetches that was never here, as it comes over the wire."""
    page = client.get("/console/")
    files = re.findall(r'(?:href|src)="(/console/static/[^"]+)"', page.text)
    parts = [path for path, _ in PAGES.values()]
    size = sum(len(client.get(path, headers=_BROWSER).data) for path in (*files, parts[0], *parts[2:])) / 1024
    return Row(
        "console: bytes of a first visit",
        f"{size:.1f} KiB",
        "",
        [size],
        must=MOST_KIB,
        ambition=25,
        low_is_good=True,
        unit="KiB",
    )
