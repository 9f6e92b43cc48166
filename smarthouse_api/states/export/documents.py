"""The documents about an export that come last in its zip, once it is known what the files hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from smarthouse_api.states.export.archive import Member, Written
from smarthouse_api.states.export.json_ld import json_ld
from smarthouse_api.states.export.metadata import Extract, ckan_package, data_package
from smarthouse_api.states.export.readme import readme


def documents(extract: Extract, files: Sequence[Written], stem: str) -> Iterator[Member]:
    """Yield the members. files: those that the zip holds already. stem: their name without its format."""
    yield _json(f"{stem}_metadata.json", ckan_package(extract, files))
    yield _json("datapackage.json", data_package(extract, files))
    yield Member("README.md", [readme(extract, files, stem).encode()])
    yield _json("dataset.jsonld", json_ld(extract, files))


def _json(name: str, document: dict[str, Any]) -> Member:
    return Member(name, [orjson.dumps(document, option=orjson.OPT_INDENT_2)])
