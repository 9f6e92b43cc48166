"""What a spreadsheet would run as a formula is no cell of a published CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from tests.conftest import HOME, Environment, agree, house_of, payload, state, unzipped

FORMULAS = ("=1+1", "+1+1", "-2+3", "@SUM(1)", '=HYPERLINK("https://example.org","x")', "\t=1", "\r=1")
HOSTILE = [
    one
    for formula in FORMULAS
    for one in (
        state("sensor.kitchen", formula),
        state(f"{formula}.kitchen", "on"),
        state(f"sensor.{formula}", "5", unit_of_measurement="°C"),
        state("sensor.hall", "5", unit_of_measurement=formula, device_class=formula),
        state("climate.hall", formula, hvac_action=formula, preset_mode=formula),
    )
]


@pytest.fixture
def environment(memory_pair: Environment) -> Environment:
    """What is published does not depend on the stores."""
    return memory_pair


@pytest.mark.parametrize("privacy", ["standard", "strict"])
def test_only_a_number_begins_as_a_formula_does(make_client: Callable[..., FlaskClient], privacy: str) -> None:
    client = make_client(export_privacy=privacy, export_min_homes=1, enrolled_after_days=1)
    agree(house_of(client), HOME)
    body = payload(*HOSTILE, state("sensor.cold", "-5.5", unit_of_measurement="°C"))
    assert client.post("/api/ingest/data", data=body, headers={"Home-UUID": HOME}).status_code == 200
    text = unzipped(client.get("/api/export/csv").data)["csv"].decode()
    begun = [cell for line in csv.reader(io.StringIO(text, newline="")) for cell in line if cell[:1] in set("=+-@\t\r")]
    assert begun == ["-5.5", "-5.5"]
