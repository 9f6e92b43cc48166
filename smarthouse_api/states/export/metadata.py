"""Two documents about an export: a dictionary for CKAN's `package_create`, and a Frictionless `datapackage.json`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

import orjson

from config.groups import ExportSettings
from smarthouse_api.arrow.formats import FORMATS, Format
from smarthouse_api.arrow.readable import REPLACEMENT
from smarthouse_api.arrow.times import time_text
from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.export.archive import Written
from smarthouse_api.states.export.columns import COLUMNS, Column
from smarthouse_api.states.export.licences import Licence, licence
from smarthouse_api.states.query import Filters

KEYWORDS: Final = ("smart home", "home-assistant", "time series")
UNFILTERED: Final = "all"
_MOST_NOTED: Final = 40
_AUTHORITY: Final = "http://publications.europa.eu/resource/authority"
SHA256: Final = "http://spdx.org/rdf/terms#checksumAlgorithm_sha256"
TITLE: Final = "Smart-home states"
AGGREGATE_TITLE: Final = "Smart-home states by intervals"
HOMES_TITLE: Final = "Figures of many smart homes together"
_OF_HOMES: Final = (
    "One row is one kind of thing in one interval of {asked.every} in UTC: its numbers in one unit, or one of its words, as at"
    " least {asked.least_homes} homes have it that agreed to the terms. Each home counts once, by its own mean, in which each"
    " entity weighs as much as the time in which it is known. A state is held until the entity's next one, and at most for"
    " {asked.hold}. A word that few homes had is put together with another. Figures are blurred: each home's is moved by 0.3 to"
    " 0.7 of the deviation between homes, and the result is rounded to the standard error. The error that comes of both is"
    " about six tenths of the standard error that a mean of so many homes has anyway. What all homes have alike is left out."
)
_TAG: Final = re.compile(r"[\w \-.]{2,100}")
_NOT_IN_NAME: Final = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Since:
    """Says after which version of a dataset the rows of an export came. note: what has changed since, in words. days: spans of
    days whose aggregates take the place of those that the version has.
    """

    version: str
    note: str | None = None
    days: tuple[tuple[date, date], ...] = ()

    @property
    def replaced(self) -> list[str]:
        """Write the days: `2026-03-01` or `2026-03-01/2026-03-04`; the last span may have no end: `2026-03-08/..`."""
        ends = (("" if last == first else f"/{'..' if last == date.max else last}") for first, last in self.days)
        return [f"{first}{end}" for (first, _), end in zip(self.days, ends, strict=True)]


@dataclass(frozen=True, slots=True)
class ReleasedAs:
    """Says as what the release of a month is kept. stem: what its files' names begin with. is_open: no key is needed for it."""

    month: str
    version: str
    stem: str
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """Gives the documents the facts of one export, and the texts that several of them contain.

    id: unique for each export. rows: number in each file. filters: those that were applied, which may differ from the request.
    first, last: the least and the greatest time of the rows. is_open: anyone may download exports.
    incomplete: in words, which rows are missing. aggregation: if the rows are aggregates. columns: of the rows.
    since: if they are those that came after a version. consents: homes of the installation, by the version of the terms that
    they agreed to; empty if none ever did. is_kept: the file is kept for a while, by the id as its version. month: of which
    it is the release, which is kept for good.
    """

    id: str
    generated_at: datetime
    rows: int
    filters: Filters
    settings: ExportSettings
    first: datetime | None = None
    last: datetime | None = None
    is_open: bool = True
    incomplete: str | None = None
    aggregation: Aggregation | None = None
    columns: Mapping[str, Column] = field(default_factory=lambda: COLUMNS)
    since: Since | None = None
    consents: Mapping[str, int] = field(default_factory=dict)
    is_kept: bool = False
    month: str | None = None

    @property
    def title(self) -> str:
        if self.aggregation is None:
            return TITLE
        return HOMES_TITLE if self.aggregation.least_homes else AGGREGATE_TITLE

    @property
    def meaning(self) -> str:
        """Say what a row is."""
        if self.aggregation is None:
            return "One row is one state change."
        if self.aggregation.least_homes:
            return _OF_HOMES.format(asked=self.aggregation)
        clock = "by the clock of its home" if self.aggregation.is_local else "in UTC"
        is_long = self.aggregation.layout == "long"
        each = "entity" if is_long else "home"
        more = "" if is_long else " Each measured thing has a column: an entity's numbers in one unit, or one of its words."
        return (
            f"One row is one {each} in one interval of {self.aggregation.every} {clock}.{more} A state is held until the"
            f" entity's next one, and at most for {self.aggregation.hold}: after that, nothing is known. An interval in which"
            " nothing is known and nothing changes has no row."
        )

    def covered(self, between: str) -> str | None:
        """Write the time that the rows cover, from the first to the last; None without rows."""
        return None if self.first is None or self.last is None else f"{time_text(self.first)}{between}{time_text(self.last)}"

    @property
    def name(self) -> str:
        """A name that CKAN and Frictionless both accept: lower-case letters, digits, - and _, at most 100."""
        return _NOT_IN_NAME.sub("-", f"smarthouse-extract-{self.generated_at:%Y-%m-%d}-{self.id}".lower())[:100]

    @property
    def keywords(self) -> list[str]:
        """Search terms for the export; a type that CKAN would refuse as a tag is left out."""
        return list(dict.fromkeys((*KEYWORDS, *filter(_TAG.fullmatch, self.filters.types))))

    @property
    def notes(self) -> str:
        told = list(self.columns.items())
        columns = "\n".join(f"- `{name}`: {column.description}" for name, column in told[:_MOST_NOTED])
        if len(told) > _MOST_NOTED:
            columns += f"\n- and {len(told) - _MOST_NOTED} more, see `datapackage.json`"
        if self.aggregation is None:
            came = f" They entered the data lake after version {self.since.version}." if self.since else ""
            return f"State changes of smart homes, one row for each, {self.rows} rows.{came} Times are UTC.\n\n{columns}"
        return f"States of smart homes by intervals, {self.rows} rows. Times are UTC. {self.meaning}\n\n{columns}"


def ckan_package(extract: Extract, files: Iterable[Written]) -> dict[str, Any]:
    """Describe an export as CKAN's `package_create` takes it. The publisher adds `owner_org`, if the CKAN asks for one.

    A resource's `url` is the file's name in the zip, since older CKANs refuse an empty one; uploading the file replaces it.
    `hash` is SHA-256 in hexadecimal, as `hash_algorithm` says by the name that DCAT-AP knows. ckanext-dcat finds the licence
    at the resources, by the URL of its text, and the rest that DCAT-AP asks for in the extras.
    """
    files = list(files)
    made_at, terms = _naive(extract.generated_at), licence(extract.settings.license).url
    return {
        "name": extract.name,
        "title": extract.title,
        "notes": extract.notes,
        "author": extract.settings.author,
        "license_id": extract.settings.license,
        "tags": [{"name": keyword} for keyword in extract.keywords],
        "extras": [{"key": key, "value": value} for key, value in (facts(extract, files) | _dcat(extract)).items()],
        "resources": [
            {
                "name": file.name,
                "description": format_of(file).description,
                "url": file.name,
                "format": format_of(file).name.upper(),
                "mimetype": format_of(file).media_type,
                "size": file.size,
                "hash": file.sha256,
                "hash_algorithm": SHA256,
                "created": made_at,
                "last_modified": made_at,
            }
            | ({"license": terms} if terms else {})
            for file in files
        ],
    }


def _dcat(extract: Extract) -> dict[str, str]:
    """Write the extras that ckanext-dcat reads. Its lists are JSON."""
    made_at, right = time_text(extract.generated_at), "PUBLIC" if extract.is_open else "RESTRICTED"
    period = {"temporal_start": extract.first, "temporal_end": extract.last}
    return {name: time_text(time) for name, time in period.items() if time is not None} | {
        "issued": made_at,
        "modified": made_at,
        "language": _listed([f"{_AUTHORITY}/language/ENG"]),
        "theme": _listed([f"{_AUTHORITY}/data-theme/ENER"]),
        "access_rights": f"{_AUTHORITY}/access-right/{right}",
        "publisher_name": extract.settings.author,
        "creator_name": extract.settings.author,
    }


def facts(extract: Extract, files: Iterable[Written]) -> dict[str, str]:
    """Write the filters and settings that made an export. No key may be one of CKAN's own fields of a package."""
    filters = extract.filters
    return (
        {
            "date_from": filters.since.isoformat() if filters.since else UNFILTERED,
            "date_to": filters.until.isoformat() if filters.until else UNFILTERED,
            "types": _listed(filters.types),
            "units": _listed(filters.units),
            "device_classes": _listed(filters.device_classes),
            "homes": _listed(filters.homes),
            "entities": _listed(filters.entities),
            "time_field": filters.time_field,
            "formats": _listed([format_of(file).name for file in files]),
            "privacy": extract.settings.privacy,
            "pseudonyms": extract.settings.pseudonyms,
            "rows": str(extract.rows),
            "generated_at": time_text(extract.generated_at),
        }
        | _of_aggregates(extract)
        | ({"consents": orjson.dumps(dict(extract.consents)).decode()} if extract.consents else {})
        | ({"incomplete": extract.incomplete} if extract.incomplete else {})
        | ({"since": extract.since.version} if extract.since else {})
        | ({"since_note": extract.since.note} if extract.since and extract.since.note else {})
        | ({"since_days": _listed(extract.since.replaced)} if extract.since and extract.since.days else {})
    )


def _of_aggregates(extract: Extract) -> dict[str, str]:
    if (asked := extract.aggregation) is None:
        return {}
    clock = "local" if asked.is_local else "utc"
    told = {"every": asked.every, "clock": clock, "hold": asked.hold, "source": asked.source, "layout": asked.layout}
    told |= {"least_homes": str(asked.least_homes)} if asked.least_homes else {}
    return told | ({"figures": _listed(asked.figures)} if asked.figures else {})


def _listed(values: Sequence[str]) -> str:
    """Write values as a JSON array, since a unit may hold a comma."""
    return orjson.dumps([value.replace("\0", REPLACEMENT) for value in values]).decode() if values else UNFILTERED


def data_package(extract: Extract, files: Iterable[Written]) -> dict[str, Any]:
    """Describe an export as a Frictionless data package (version 1).

    CSV, JSON and JSONL are tables with a schema; the others are plain files. `bytes` and `hash` are of the file as unzipped;
    JSON has the hash only.
    """
    resources = [_resource(file, extract.columns) for file in files]
    terms = licence(extract.settings.license)
    tabular = all(resource["profile"] == "tabular-data-resource" for resource in resources)
    described: dict[str, Any] = {
        "profile": "tabular-data-package" if tabular else "data-package",
        "name": extract.name,
        "id": extract.id,
        "title": extract.title,
        "description": extract.notes,
        "created": time_text(extract.generated_at),
        "keywords": extract.keywords,
        "contributors": [{"title": extract.settings.author, "role": "author"}],
        "resources": resources,
    }
    described |= {"consents": dict(extract.consents)} if extract.consents else {}
    return described | ({"licenses": [_terms(terms)]} if terms.open_id else {})


def _terms(terms: Licence) -> dict[str, str]:
    return {"name": terms.open_id or "", "title": terms.title} | ({"path": terms.url} if terms.url else {})


def _resource(file: Written, columns: Mapping[str, Column]) -> dict[str, Any]:
    form = format_of(file)
    resource = {
        "name": form.name,
        "path": file.name,
        "profile": "data-resource",
        "description": form.description,
        "format": form.name,
        "mediatype": form.media_type,
        "bytes": file.size,
        "hash": f"sha256:{file.sha256}",
    }
    if form.is_table:
        resource |= {"profile": "tabular-data-resource", "encoding": "utf-8", "schema": table_schema(columns)}
    else:
        resource["type"] = "file"  # or frictionless guesses a schema for Parquet, and fails on it
    if form.name == "json":
        del resource["bytes"]  # frictionless 5.21 counts none while it parses JSON, and then finds them wrong
    if form.name == "csv":
        resource["dialect"] = {"delimiter": ",", "lineTerminator": "\n", "quoteChar": '"', "doubleQuote": True, "header": True}
    return resource


def table_schema(columns: Mapping[str, Column] = COLUMNS) -> dict[str, Any]:
    """Describe the columns in Table Schema. Its one missing value is the empty text, which CSV cannot tell from a null."""
    fields = []
    for name, column in columns.items():
        field = {"name": name, "type": column.type, "title": column.title, "description": column.description}
        fields.append(field | {"constraints": {"required": True}} if column.required else field)
    return {"fields": fields, "missingValues": [""]}


def format_of(file: Written) -> Format:
    return FORMATS[file.name.rpartition(".")[2]]


def _naive(time: datetime) -> str:
    """Write a time without its offset: CKAN before 2.11 cannot read one, and takes every time for UTC."""
    return time_text(time).removesuffix("Z")
