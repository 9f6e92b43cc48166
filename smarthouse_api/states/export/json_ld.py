"""The description of an export as a schema.org Dataset, which search engines for datasets read.

It is also a Croissant 1.0 document, by which libraries for machine learning load the rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from smarthouse_api.arrow.times import time_text
from smarthouse_api.states.export.archive import Written
from smarthouse_api.states.export.citation import citation
from smarthouse_api.states.export.licences import licence
from smarthouse_api.states.export.metadata import Extract, format_of

CONDITIONS: Final = "Do not try to find out who lives in a home, and do not join the data with other data for that purpose."


_CROISSANT: Final = "http://mlcommons.org/croissant/"
_TERMS: Final = (
    *(
        "citeAs",
        "column",
        "equivalentProperty",
        "extract",
        "field",
        "fileObject",
        "fileProperty",
        "fileSet",
        "format",
        "includes",
    ),
    *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated"),
    *("replace", "samplingRate", "separator", "source", "subField", "transform"),
)
_CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": _CROISSANT,
    "rai": f"{_CROISSANT}RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
} | {term: f"cr:{term}" for term in _TERMS}
_DATA_TYPES: Final = {
    "boolean": "sc:Boolean",
    "date": "sc:Date",
    "datetime": "sc:DateTime",
    "integer": "sc:Integer",
    "number": "sc:Float",
}
"""Types of Table Schema -> types of Croissant. The others are texts there."""

_MEDIA_TYPES: Final = {"parquet": "application/x-parquet"}
"""As Croissant names them, where it goes by another name than the registered one."""

_LOADABLE: Final = ("parquet", "csv")
"""Formats from which Croissant takes a column by its name, the best first."""


def json_ld(extract: Extract, files: Iterable[Written]) -> dict[str, Any]:
    """Describe an export in JSON-LD. `temporalCoverage` is the time of its rows; `contentSize` is in bytes, as unzipped."""
    files, made_at = list(files), time_text(extract.generated_at)
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": f"{_CROISSANT}1.0",
        "name": extract.title,
        "identifier": extract.name,
        "version": extract.id,
        "citeAs": citation(extract),
        "description": extract.notes,
        "license": licence(extract.settings.license).url,
        "creator": {"@type": "Organization", "name": extract.settings.author},
        "dateCreated": made_at,
        "datePublished": made_at,
        "temporalCoverage": extract.covered("/"),
        "keywords": extract.keywords,
        "isAccessibleForFree": True,
        "conditionsOfAccess": CONDITIONS,
        "inLanguage": "en",
        "variableMeasured": [
            {"@type": "PropertyValue", "name": name, "description": column.description}
            for name, column in extract.columns.items()
        ],
        "distribution": [_download(file) for file in files],
        "recordSet": _records(extract, files) or None,
    }
    return {name: value for name, value in described.items() if value is not None}


def _download(file: Written) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.name,
        "name": file.name,
        "description": format_of(file).description,
        "contentUrl": file.name,
        "encodingFormat": _MEDIA_TYPES.get(format_of(file).name, format_of(file).media_type),
        "contentSize": f"{file.size} B",
        "sha256": file.sha256,
    }


def _records(extract: Extract, files: Iterable[Written]) -> list[dict[str, Any]]:
    """Say which file holds the rows of one part of the time, and where in it each column is."""
    by_format: dict[str, list[Written]] = {}
    for file in files:
        by_format.setdefault(format_of(file).name, []).append(file)
    chosen = next((by_format[name] for name in _LOADABLE if name in by_format), [])
    return [_record_set(extract, file, "rows" if len(chosen) == 1 else file.name.rpartition(".")[0]) for file in chosen]


def _record_set(extract: Extract, file: Written, name: str) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": extract.meaning,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": f"{name}/{column}",
                "description": described.description,
                "dataType": _DATA_TYPES.get(described.type, "sc:Text"),
                "source": {"fileObject": {"@id": file.name}, "extract": {"column": column}},
            }
            for column, described in extract.columns.items()
        ],
    }
