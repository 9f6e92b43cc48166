"""`dataset.jsonld` is a Croissant document by which a library for machine learning loads the rows."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.ckan.servers import HERE, INSTALLED
from tests.conftest import HOME, payload, state
from tests.servers import missing

LOAD = """
import json, sys
import mlcroissant
dataset = mlcroissant.Dataset(jsonld="dataset.jsonld")
shown = lambda value: value.decode() if isinstance(value, bytes) else str(value)
rows = [{name: shown(value) for name, value in one.items()} for one in dataset.records("rows")]
json.dump({"rows": rows, "told": [str(one) for one in dataset.metadata.ctx.issues.errors]}, sys.stdout)
"""


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client(export_license="cc-by")


@pytest.mark.parametrize("query", ["formats=csv,json", "formats=parquet", "formats=csv&every=1d&layout=wide"])
def test_the_rows_are_loaded_by_their_description(client: FlaskClient, tmp_path: Path, query: str) -> None:
    if not INSTALLED.exists():
        missing(f"mlcroissant is missing: {HERE / 'install.sh'}")
    sent = [state("sensor.a", f"{n}.5", f"2026-03-01T0{n}:00:00Z", unit_of_measurement="°C") for n in range(3)]
    client.post("/api/ingest/data", data=payload(*sent), headers={"Home-UUID": HOME})
    answer = client.get(f"/api/export/dataset?{query}")
    assert answer.status_code == 200, answer.text
    zipfile.ZipFile(io.BytesIO(answer.data)).extractall(tmp_path)
    loaded = subprocess.run([str(INSTALLED), "-c", LOAD], cwd=tmp_path, capture_output=True, timeout=60)
    assert loaded.returncode == 0, loaded.stderr.decode()[-2000:]
    told = json.loads(loaded.stdout)
    assert told["told"] == []
    if "every" in query:
        assert len(told["rows"]) == 2, "the last state is held into the next day"
        with next(tmp_path.glob("*.csv")).open() as file:
            written = list(csv.DictReader(file))
        numbers = [name for name in written[0] if name not in ("home", "start", "end", "utc_offset", "source")]
        assert numbers
        assert [[float(one[f"rows/{name}"]) for name in numbers] for one in told["rows"]] == [
            [float(one[name]) for name in numbers] for one in written
        ]
    else:
        assert [row["rows/state"] for row in told["rows"]] == ["0.5", "1.5", "2.5"]
