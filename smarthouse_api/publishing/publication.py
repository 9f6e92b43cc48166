"""A publication: brings one dataset of a CKAN portal to what the lake holds now.

It can be broken off at any point: the same call goes on. A piece is left alone if nothing that decides its content has changed
since it was sent, and sent only if its bytes have. Pieces that have no rows any more are removed, so the rows of a forgotten
home leave the portal with the next publication.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from io import BytesIO
from typing import IO, Any, Final

import orjson

from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.publishing.ckan import Portal
from smarthouse_api.publishing.faults import PublishingFault
from smarthouse_api.publishing.pieces import PREFIX, Piece
from smarthouse_api.states.export.archive import Written
from smarthouse_api.states.export.json_ld import CONDITIONS, json_ld
from smarthouse_api.states.export.metadata import SHA256, Extract, ckan_package, data_package

_OWN: Final = "smarthouse_installation"
"""The extra of a package that says which installation it is of."""

_BASIS: Final = "smarthouse_basis"
"""The member of a resource that names all that decided its content. Those below say what it holds."""

_VERSION: Final = "smarthouse_version"
_ROWS: Final = "smarthouse_rows"
_FIRST: Final = "smarthouse_first"
_LAST: Final = "smarthouse_last"
_INCOMPLETE: Final = "smarthouse_incomplete"


@dataclass(frozen=True, slots=True)
class Made:
    """A piece that is made: its bytes, what they are, and what it says of itself.

    file: at its begin. version: of the dataset that it is.
    """

    file: IO[bytes]
    written: Written
    version: str
    rows: int
    first: datetime | None
    last: datetime | None
    incomplete: str | None


Make = Callable[[Piece], AbstractContextManager[Made | None]]
"""Makes a piece; None if it has no rows. Its file is gone after the context."""


@dataclass(slots=True)
class Told:
    """Counts the files that a publication sent, found unchanged and removed, and the rows that are published now."""

    sent: int = 0
    kept: int = 0
    removed: int = 0
    rows: int = 0


class Publication:
    """Publishes one dataset.

    name: the dataset's on the portal. installation: whose it is. basis: names all that decides the content of the pieces,
    but for their own filters. fields: of the package that the publisher chose, such as `owner_org`. terms: the URL of the
    licence's text, if it has one.
    """

    def __init__(
        self, portal: Portal, name: str, installation: str, basis: str, fields: dict[str, Any], terms: str | None
    ) -> None:
        self._portal, self.name, self._installation, self._basis = portal, name, installation, basis
        self._fields, self._terms, self._told = fields, terms, Told()

    def publish(self, wanted: Iterable[Piece], make: Make, extract: Extract) -> Told:
        """Bring the dataset up to date. extract: describes all of it, except for what the pieces tell.

        Raises `PublishingFault`.
        """
        written, described, told = list[Written](), extract, self._told
        told.kept = 0  # what was sent and removed by a call that broke off counts on
        package = self._package(extract)
        there = {one["name"]: one for one in package["resources"] if str(one.get("name")).startswith(PREFIX)}
        for piece in wanted:
            if (one := self._brought(package["id"], piece, there.pop(piece.name, None), make, told)) is not None:
                written.append(_written(one))
                described = _with(described, one)
        for gone in there.values():
            self._portal.remove(gone["id"])
            told.removed += 1
        told.rows = described.rows
        self._describe(package, described, written)
        return told

    def _package(self, extract: Extract) -> dict[str, Any]:
        """Find the dataset on the portal, or create it without any file."""
        if (package := self._portal.package(self.name)) is None:
            return self._portal.create(self._described(extract, []) | {"resources": []})
        owners = [one["value"] for one in package.get("extras", ()) if one["key"] == _OWN]
        if owners != [self._installation]:
            raise PublishingFault(
                f"{self.name}: this installation did not publish the dataset of that name; choose another --name"
            )
        return package

    def _brought(
        self, package_id: str, piece: Piece, there: dict[str, Any] | None, make: Make, told: Told
    ) -> dict[str, Any] | None:
        """Bring one piece to the portal; the fields of its resource, None if it has no rows."""
        basis = hashlib.sha256(f"{self._basis}\0{piece}".encode()).hexdigest()
        if there is not None and there.get(_BASIS) == basis:
            told.kept += 1
            return there
        with make(piece) as made:
            if made is None:
                if there is not None:
                    self._portal.remove(there["id"])
                    told.removed += 1
                return None
            fields = _fields(piece, made, self._terms) | {_BASIS: basis}
            if there is not None and there.get("hash") == made.written.sha256:
                self._portal.patch_resource(there["id"], fields)
                told.kept += 1
            else:
                self._portal.put(package_id, there["id"] if there else None, fields, made.file)
                told.sent += 1
            return fields

    def _describe(self, package: dict[str, Any], extract: Extract, written: list[Written]) -> None:
        """Tell what the files hold together, in the package itself and in two documents."""
        fresh = self._portal.package(self.name) or package
        documents = {one["name"]: one["id"] for one in fresh["resources"]}
        for name, document in (
            ("datapackage.json", data_package(extract, written)),
            ("dataset.jsonld", json_ld(extract, written)),
        ):
            text = orjson.dumps(document, option=orjson.OPT_INDENT_2)
            kind = {"name": name, "format": "JSON", "mimetype": "application/json", "description": "About the data"}
            kind |= {"license": self._terms} if self._terms else {}
            self._portal.put(package["id"], documents.get(name), kind, BytesIO(text))
        told = self._described(extract, written)
        self._portal.patch(package["id"], {key: value for key, value in told.items() if key not in ("name", "resources")})

    def _described(self, extract: Extract, written: list[Written]) -> dict[str, Any]:
        package = ckan_package(extract, written)
        package["notes"] += f"\n\n**{CONDITIONS}**"
        extras = [*package["extras"], {"key": _OWN, "value": self._installation}]
        return package | {"name": self.name, "extras": extras} | self._fields


def _fields(piece: Piece, made: Made, terms: str | None) -> dict[str, str]:
    """Write the fields of a piece's resource, which tell later publications what it holds. terms: the URL of the licence."""
    form, written = FORMATS[piece.format], made.written
    told = {
        "name": piece.name,
        "description": f"{form.description}. {made.rows} rows",
        "format": form.name.upper(),
        "mimetype": form.media_type,
        "size": str(written.size),
        "hash": written.sha256,
        "hash_algorithm": SHA256,
        _VERSION: made.version,
        _ROWS: str(made.rows),
        _INCOMPLETE: made.incomplete or "",
    }
    if terms is not None:
        told["license"] = terms
    times = {_FIRST: made.first, _LAST: made.last}
    return told | {name: at.isoformat() for name, at in times.items() if at is not None}


def _written(resource: Mapping[str, Any]) -> Written:
    return Written(resource["name"], int(resource["size"]), resource["hash"])


def _with(extract: Extract, resource: Mapping[str, Any]) -> Extract:
    """Add what a piece tells of itself to what is told of all."""
    first, last = (datetime.fromisoformat(resource[name]) if resource.get(name) else None for name in (_FIRST, _LAST))
    return replace(
        extract,
        rows=extract.rows + int(resource[_ROWS]),
        first=min(filter(None, (extract.first, first)), default=None),
        last=max(filter(None, (extract.last, last)), default=None),
        incomplete=extract.incomplete or resource.get(_INCOMPLETE) or None,
    )
