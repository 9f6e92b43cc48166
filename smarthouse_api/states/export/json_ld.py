"""The description of an export as a schema.org Dataset, which search engines for datasets read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from smarthouse_api.arrow.times import time_text
from smarthouse_api.states.export.archive import Written
from smarthouse_api.states.export.licences import licence
from smarthouse_api.states.export.metadata import Extract, format_of

CONDITIONS: Final = "Do not try to find out who lives in a home, and do not join the data with other data for that purpose."


def json_ld(extract: Extract, files: Iterable[Written]) -> dict[str, Any]:
    """Describe an export in JSON-LD. `temporalCoverage` is the time of its rows; `contentSize` is in bytes, as unzipped."""
    made_at = time_text(extract.generated_at)
    described = {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "name": extract.title,
        "identifier": extract.name,
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
    }
    return {name: value for name, value in described.items() if value is not None}


def _download(file: Written) -> dict[str, Any]:
    return {
        "@type": "DataDownload",
        "name": file.name,
        "description": format_of(file).description,
        "contentUrl": file.name,
        "encodingFormat": format_of(file).media_type,
        "contentSize": f"{file.size} B",
        "sha256": file.sha256,
    }
