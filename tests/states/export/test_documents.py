"""The documents for people and for search engines say what the rows are."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from dataclasses import replace
from typing import Any

import pytest

from config.groups import ExportSettings
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.states.export.archive import Member, archive
from smarthouse_api.states.export.columns import COLUMNS
from smarthouse_api.states.export.coverage import Coverage
from smarthouse_api.states.export.documents import documents
from smarthouse_api.states.export.json_ld import CONDITIONS, json_ld
from smarthouse_api.states.export.licences import LICENCES, licence
from smarthouse_api.states.export.readme import readme
from smarthouse_api.states.export.shapes import STATE_CHANGES
from smarthouse_api.states.query import Filters
from tests.states.export.rows import TIMES, batch, row
from tests.states.export.test_metadata import EXTRACT, FILES, NOW

STEM = "smarthouse_extract_2026-03-01"


def licensed(ckan_id: str):
    return replace(EXTRACT, settings=ExportSettings(license=ckan_id))


def test_four_documents_follow_the_files():
    members = [Member(f"{STEM}.csv", [b"a\n"])]
    data = b"".join(archive(members, modified_at=NOW, trailer=lambda files: documents(EXTRACT, files, STEM)))
    found = zipfile.ZipFile(io.BytesIO(data))
    assert found.namelist()[1:] == [f"{STEM}_metadata.json", "datapackage.json", "README.md", "dataset.jsonld"]
    digest = hashlib.sha256(b"a\n").hexdigest()
    assert all(digest in found.read(name).decode() for name in found.namelist()[1:])


def test_the_readme_tells_every_column_filter_and_file_and_asks_that_nobody_be_identified():
    text = readme(EXTRACT, FILES, STEM)
    assert all(f"| `{name}` | {column.type} | {column.description} |" in text for name, column in COLUMNS.items())
    assert all(file.name in text and file.sha256 in text for file in FILES)
    assert '| units | ["°C","a,b"] |' in text
    assert CONDITIONS in text
    assert "An institute (2026). Smart-home states: 68 rows, 2026-01-01T08:00:00.000000Z to 2026-02-28T09" in text


def test_the_readme_has_no_place_that_was_left_open():
    assert not re.findall(r"\{[a-z_]+\}", readme(EXTRACT, FILES, STEM))


@pytest.mark.parametrize("hostile", ["a|b", "a\nb", "{author}"])
def test_a_filter_does_not_break_the_readmes_table(hostile):
    text = readme(replace(EXTRACT, filters=Filters(units=(hostile,))), FILES, STEM)
    line = next(line for line in text.splitlines() if line.startswith("| units |"))
    assert len(re.findall(r"(?<!\\)\|", line)) == 3


@pytest.mark.parametrize("ckan_id", LICENCES)
def test_the_readme_says_the_licence_in_words(ckan_id):
    text = readme(licensed(ckan_id), FILES, STEM)
    assert LICENCES[ckan_id].words in text
    assert (LICENCES[ckan_id].url or "") in text


def test_a_licence_that_is_not_in_the_table_goes_by_its_id():
    assert licence("https://example.org/terms").url == "https://example.org/terms"
    assert (licence("other-closed").open_id, licence("other-closed").url) == ("other-closed", None)


def test_the_json_ld_is_a_dataset_of_schema_org():
    found = json.loads(json.dumps(json_ld(licensed("cc-by"), FILES)))
    assert (found["@context"]["@vocab"], found["@context"]["sc"]) == ("https://schema.org/", "https://schema.org/")
    assert found["@type"] == "sc:Dataset"
    assert found["license"] == LICENCES["cc-by"].url
    assert found["temporalCoverage"] == "2026-01-01T08:00:00.000000Z/2026-02-28T09:00:00.000000Z"
    assert [one["name"] for one in found["variableMeasured"]] == list(COLUMNS)
    kinds = [one.media_type for one in FORMATS.values() if one.name != "parquet"]
    assert [one["encodingFormat"] for one in found["distribution"]] == [*kinds, "application/x-parquet"]
    assert 50 <= len(found["description"]) <= 5000


def test_the_json_ld_claims_no_licence_before_one_was_chosen():
    assert "license" not in json_ld(EXTRACT, FILES)


def test_the_coverage_is_of_all_batches():
    coverage = Coverage()
    times = [row(last_changed=time, last_updated=time, time=time) for time in (TIMES[4], TIMES[2], TIMES[3])]
    found = list(coverage.noted([batch(), *map(batch, times)]))
    assert [len(one) for one in found] == [0, 1, 1, 1]
    assert (coverage.first, coverage.last) == (TIMES[2], TIMES[4])


def test_no_batch_covers_no_time():
    coverage = Coverage()
    assert list(coverage.noted([])) == []
    assert (coverage.first, coverage.last) == (None, None)


def test_the_readmes_recipe_for_pandas_reads_texts_numbers_times_and_nulls(tmp_path, monkeypatch):
    absent = dict.fromkeys(("value", "unit", "device_class", "last_changed", "last_updated", "utc_offset"))
    rows = [row(state="007", value=7.0, utc_offset=-300), row(state="NA", **absent)]
    (tmp_path / f"{STEM}.csv").write_bytes(b"".join(FORMATS["csv"].write(STATE_CHANGES.source(iter([batch(*rows)])))))
    monkeypatch.chdir(tmp_path)
    recipe = re.search(r"^import pandas.*?^\)$", readme(EXTRACT, FILES, STEM), re.DOTALL | re.MULTILINE)
    found: dict[str, Any] = {}
    exec(recipe[0], found)
    read = found["rows"]
    assert list(read["state"]) == ["007", "NA"]
    assert [list(read[name].isna()) for name in absent] == [[False, True]] * len(absent)
    assert {name: read[name].dtype.kind for name in ("value", "utc_offset")} == {"value": "f", "utc_offset": "f"}
    assert {read[name].dtype.kind for name in ("last_changed", "last_updated", "received", "time")} == {"M"}
