"""The documents obey the rules of CKAN (its own validators', restated here) and of Frictionless (its own tool)."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from io import BytesIO

import orjson
import pyarrow as pa
import pytest

from config.groups import ExportSettings
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.states.export.archive import Member, Written, archive
from smarthouse_api.states.export.columns import COLUMNS
from smarthouse_api.states.export.licences import LICENCES
from smarthouse_api.states.export.metadata import Extract, ckan_package, data_package, table_schema
from smarthouse_api.states.export.shapes import STATE_CHANGES
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records.schema import ROWS
from tests.states.export.rows import batch, nasty

NOW = datetime(2026, 3, 1, 12, 34, 56, 7, tzinfo=UTC)
EXTRACT = Extract(
    id="0b8d6c9e4f",
    generated_at=NOW,
    rows=68,
    filters=Filters(date(2026, 1, 1), date(2026, 2, 28), types=("sensor", "light"), units=("°C", "a,b")),
    settings=ExportSettings(author="An institute"),
    first=datetime(2026, 1, 1, 8, tzinfo=UTC),
    last=datetime(2026, 2, 28, 9, tzinfo=UTC),
)
FILES = [Written(f"smarthouse_extract_2026-03-01.{name}", 1000, "ab" * 32) for name in FORMATS]

# The fields of a package in CKAN's schema: an extra may not have the name of one.
CKAN_FIELDS = {
    "id",
    "name",
    "title",
    "author",
    "author_email",
    "maintainer",
    "maintainer_email",
    "license_id",
    "notes",
    "url",
    "version",
    "state",
    "type",
    "owner_org",
    "private",
    "resources",
    "tags",
    "tag_string",
    "plugin_data",
    "extras",
    "save",
    "return_to",
    "relationships_as_object",
    "relationships_as_subject",
    "groups",
    "metadata_modified",
}


def package(extract: Extract = EXTRACT) -> dict:
    return ckan_package(extract, FILES)


def extras(extract: Extract = EXTRACT) -> dict[str, str]:
    return {extra["key"]: extra["value"] for extra in package(extract)["extras"]}


def test_every_column_is_described_in_order():
    assert list(COLUMNS) == ROWS.names
    assert all(column.description.endswith(".") and column.title for column in COLUMNS.values())


@pytest.mark.parametrize("export_id", ["0b8d6c9e4f", "A/B c", "é" * 200, "x" * 200])
def test_the_name_is_one_that_ckan_takes(export_id):
    name = package(replace(EXTRACT, id=export_id))["name"]
    assert re.fullmatch(r"[a-z0-9_-]{2,100}", name)
    assert name not in ("new", "edit", "search")


def test_two_exports_have_two_names():
    assert package(replace(EXTRACT, id="1"))["name"] != package(replace(EXTRACT, id="2"))["name"]


def test_tags_are_ones_that_ckan_takes():
    filters = Filters(types=("sensor", "x", "a/b", "sensor", "y" * 101, "düfte"))
    tags = [tag["name"] for tag in package(replace(EXTRACT, filters=filters))["tags"]]
    assert all(re.fullmatch(r"[\w \-.]{2,100}", tag) for tag in tags)
    assert len(tags) == len(set(tags))
    assert {"sensor", "düfte"} <= set(tags)


def test_extras_hold_the_effective_filters_and_what_dcat_asks_for():
    assert extras() == {
        "date_from": "2026-01-01",
        "date_to": "2026-02-28",
        "types": '["sensor","light"]',
        "units": '["°C","a,b"]',
        "device_classes": "all",
        "homes": "all",
        "entities": "all",
        "time_field": "updated",
        "formats": '["csv","json","jsonl","xml","parquet"]',
        "privacy": "standard",
        "pseudonyms": "stable",
        "rows": "68",
        "generated_at": "2026-03-01T12:34:56.000007Z",
        "temporal_start": "2026-01-01T08:00:00.000000Z",
        "temporal_end": "2026-02-28T09:00:00.000000Z",
        "issued": "2026-03-01T12:34:56.000007Z",
        "modified": "2026-03-01T12:34:56.000007Z",
        "language": '["http://publications.europa.eu/resource/authority/language/ENG"]',
        "theme": '["http://publications.europa.eu/resource/authority/data-theme/ENER"]',
        "access_rights": "http://publications.europa.eu/resource/authority/access-right/PUBLIC",
        "publisher_name": "An institute",
        "creator_name": "An institute",
    }


def test_an_export_that_not_anyone_may_download_says_so():
    assert extras(replace(EXTRACT, is_open=False))["access_rights"].endswith("/RESTRICTED")


def test_an_export_without_rows_covers_no_time():
    found = extras(replace(EXTRACT, first=None, last=None))
    assert not {"temporal_start", "temporal_end"} & set(found)


def test_a_filter_of_a_nul_is_told_without_it():
    found = extras(replace(EXTRACT, filters=Filters(units=("a\0",))))
    assert found["units"] == '["a\ufffd"]'


def test_extras_say_so_where_nothing_was_filtered():
    found = extras(replace(EXTRACT, filters=Filters()))
    assert {found[key] for key in ("date_from", "date_to", "types", "units")} == {"all"}


def test_extras_are_pairs_of_strings_with_keys_of_their_own():
    pairs = package()["extras"]
    keys = [pair["key"] for pair in pairs]
    assert all(set(pair) == {"key", "value"} and isinstance(pair["value"], str) for pair in pairs)
    assert len(keys) == len(set(keys))
    assert not CKAN_FIELDS & set(keys)


def test_the_package_has_no_member_that_ckan_does_not_know():
    assert set(package()) <= CKAN_FIELDS


def test_a_resource_says_what_the_file_is():
    assert package()["resources"][0] == {
        "name": "smarthouse_extract_2026-03-01.csv",
        "description": FORMATS["csv"].description,
        "url": "smarthouse_extract_2026-03-01.csv",
        "format": "CSV",
        "mimetype": "text/csv",
        "size": 1000,
        "hash": "ab" * 32,
        "hash_algorithm": "http://spdx.org/rdf/terms#checksumAlgorithm_sha256",
        "created": "2026-03-01T12:34:56.000007",
        "last_modified": "2026-03-01T12:34:56.000007",
    }


def test_times_of_another_offset_are_told_in_utc():
    found = package(replace(EXTRACT, generated_at=NOW.astimezone(timezone(timedelta(hours=5)))))
    assert found["resources"][0]["created"] == "2026-03-01T12:34:56.000007"


def test_the_license_is_the_one_that_was_configured():
    extract = replace(EXTRACT, settings=ExportSettings(license="odc-odbl"))
    assert package(extract)["license_id"] == "odc-odbl"
    assert {resource["license"] for resource in package(extract)["resources"]} == {LICENCES["odc-odbl"].url}
    assert [one["name"] for one in data_package(extract, FILES)["licenses"]] == ["ODbL-1.0"]


@pytest.mark.parametrize("without_text", ["notspecified", "other-closed"])
def test_a_resource_names_no_license_that_has_no_url_since_dcat_takes_nothing_else(without_text):
    extract = replace(EXTRACT, settings=ExportSettings(license=without_text))
    assert package(extract)["license_id"] == without_text
    assert not [resource for resource in package(extract)["resources"] if "license" in resource]


def test_no_license_is_claimed_before_one_was_chosen():
    assert package()["license_id"] == "notspecified"
    assert "licenses" not in data_package(EXTRACT, FILES)


def test_the_data_package_is_tabular_only_where_every_file_is():
    assert data_package(EXTRACT, FILES[:2])["profile"] == "tabular-data-package"
    assert data_package(EXTRACT, FILES)["profile"] == "data-package"


def test_the_schema_describes_every_column():
    assert [field["name"] for field in table_schema()["fields"]] == ROWS.names


def test_a_column_that_may_be_null_or_empty_is_not_required():
    required = {field["name"] for field in table_schema()["fields"] if field.get("constraints")}
    assert required == {"home", "type", "received", "time"}


def unzipped(folder, names) -> None:
    rows = batch(*nasty())

    def trailer(written):
        yield Member("metadata.json", [orjson.dumps(ckan_package(EXTRACT, written))])
        yield Member("datapackage.json", [orjson.dumps(data_package(EXTRACT, written))])

    members = [
        Member(f"extract.{name}", FORMATS[name].write(STATE_CHANGES.source([rows])), FORMATS[name].packed) for name in names
    ]
    data = b"".join(archive(members, modified_at=NOW, trailer=trailer))
    zipfile.ZipFile(BytesIO(data)).extractall(folder)


def test_sizes_and_hashes_are_those_of_the_files(tmp_path):
    unzipped(tmp_path, FORMATS)
    for file in json.loads((tmp_path / "metadata.json").read_text())["resources"]:
        data = (tmp_path / file["url"]).read_bytes()
        assert (file["size"], file["hash"]) == (len(data), hashlib.sha256(data).hexdigest())
    for file in json.loads((tmp_path / "datapackage.json").read_text())["resources"]:
        data = (tmp_path / file["path"]).read_bytes()
        assert file.get("bytes", len(data)) == len(data)
        assert file["hash"] == "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("names", [("csv",), ("csv", "json"), tuple(FORMATS)], ids="+".join)
def test_frictionless_finds_the_unzipped_export_valid(names, tmp_path):
    missing = [name for name in ("frictionless", "ijson", "jsonlines") if importlib.util.find_spec(name) is None]
    if missing and (names != ("csv",) or "frictionless" in missing):
        reason = f"{', '.join(missing)} missing: pip install 'frictionless[json]'"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    unzipped(tmp_path, names)
    command = [sys.executable, "-m", "frictionless", "validate", "datapackage.json", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert [(task["name"], task["errors"]) for task in report["tasks"]] == [(name, []) for name in names]
    assert report["valid"]
    assert done.returncode == 0


def test_frictionless_would_find_a_broken_export(tmp_path):
    if importlib.util.find_spec("frictionless") is None:
        pytest.skip("frictionless missing: pip install frictionless")
    unzipped(tmp_path, ("csv",))
    file = tmp_path / "extract.csv"
    file.write_bytes(file.read_bytes().replace(b"21.57,21.57", b"21.57,often"))
    command = [sys.executable, "-m", "frictionless", "validate", "datapackage.json", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    kinds = {error["type"] for error in json.loads(done.stdout)["tasks"][0]["errors"]}
    assert {"type-error", "hash-count"} <= kinds


def test_the_types_of_the_schema_are_those_of_the_rows():
    kinds = {
        "number": pa.types.is_floating,
        "integer": pa.types.is_integer,
        "datetime": pa.types.is_timestamp,
        "date": pa.types.is_date,
    }
    for field in ROWS:
        assert kinds.get(COLUMNS[field.name].type, pa.types.is_string)(field.type), field.name
