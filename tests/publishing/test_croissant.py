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
import json, os, sys
import mlcroissant
def load(folder):
    os.chdir(folder)
    dataset = mlcroissant.Dataset(jsonld="dataset.jsonld")
    rows = [{name: shown(value) for name, value in one.items()} for one in dataset.records("rows")]
    return {"rows": rows, "told": [str(one) for one in dataset.metadata.ctx.issues.errors]}
shown = lambda value: value.decode() if isinstance(value, bytes) else str(value)
json.dump(list(map(load, sys.argv[1:])), sys.stdout)
"""


QUERIES = ("formats=csv,json", "formats=parquet", "formats=csv&every=1d&layout=wide")


@pytest.mark.parametrize("environment", ["memory_pair"], indirect=True)
def test_the_rows_are_loaded_by_their_description(make_client: Callable[..., FlaskClient], tmp_path: Path) -> None:
    if not INSTALLED.exists():
        missing(f"mlcroissant is missing: {HERE / 'install.sh'}")
    client = make_client(export_license="cc-by")
    sent = [state("sensor.a", f"{n}.5", f"2026-03-01T0{n}:00:00Z", unit_of_measurement="°C") for n in range(3)]
    client.post("/api/ingest/data", data=payload(*sent), headers={"Home-UUID": HOME})
    folders = [tmp_path / str(number) for number, _ in enumerate(QUERIES)]
    for query, folder in zip(QUERIES, folders, strict=True):
        answer = client.get(f"/api/export/dataset?{query}")
        assert answer.status_code == 200, answer.text
        zipfile.ZipFile(io.BytesIO(answer.data)).extractall(folder)
    loaded = subprocess.run([str(INSTALLED), "-c", LOAD, *folders], capture_output=True, timeout=60)
    assert loaded.returncode == 0, loaded.stderr.decode()[-2000:]
    *states, days = told = json.loads(loaded.stdout)
    assert [one["told"] for one in told] == [[], [], []]
    for one in states:
        assert [row["rows/state"] for row in one["rows"]] == ["0.5", "1.5", "2.5"]
    assert len(days["rows"]) == 2, "the last state is held into the next day"
    with next(folders[-1].glob("*.csv")).open() as file:
        written = list(csv.DictReader(file))
    numbers = [name for name in written[0] if name not in ("home", "start", "end", "utc_offset", "source")]
    assert numbers
    assert [[float(one[f"rows/{name}"]) for name in numbers] for one in days["rows"]] == [
        [float(one[name]) for name in numbers] for one in written
    ]
