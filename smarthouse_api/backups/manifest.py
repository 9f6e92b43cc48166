"""The manifest of a backup: what it consists of. Without it a backup is not whole, and nothing is restored from it.

A place for backups is an object store. It has the installation's objects and tables under their own names, and besides:

    backup/begun            the id of the installation that this place is for
    backup/place            the id of this place, random
    backup/backup.json      the manifest of the newest backup
    backup/state-<id>       its dump of the state store
    backup/files-<id>       the list of its files, with their SHA-256
    backup/versions/<id>    a file that has other bytes than the one of its name that the backup before has

A backup adds files, writes its manifest over the one before, and then removes what only the one before had. It never writes
over a file that the one before has. So if it dies, the one before is still whole, byte for byte.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from datetime import datetime
from typing import Final

import msgspec
import zstandard

from backends.dumps import DumpedDocument, DumpedSpace
from backends.ports import Conflict, NoSuchObject, ObjectStore
from smarthouse_api.backups import records
from smarthouse_api.backups.files import File
from smarthouse_api.coordination.store_agreement import FORMAT
from smarthouse_api.coordination.store_marks import SPACE as MARKS
from smarthouse_api.errors import Invalid

FOLDER: Final = "backup/"
VERSIONS: Final = f"{FOLDER}versions/"
_BEGUN: Final = f"{FOLDER}begun"
_PLACE: Final = f"{FOLDER}place"
_MANIFEST: Final = f"{FOLDER}backup.json"
_NEWER: Final = "restore it with the version that made it, or a newer one"
_ORDER: Final = "make one with `smarthouse backup`"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Says what a whole backup consists of. moment: when its state was copied. format: of the installation's stores."""

    installation: str
    format: int
    version: str
    moment: datetime
    state: records.Part
    files: records.Part
    size_bytes: int


class _Format(msgspec.Struct):
    """Reads the part of a manifest that each version writes."""

    format: int


_decode, _decode_format = msgspec.json.Decoder(Manifest).decode, msgspec.json.Decoder(_Format).decode


def begin(place: ObjectStore, installation: str) -> str:
    """Take a place for backups of an installation; the place's id. Raises `Invalid` if it holds anything else."""
    try:
        if (found := place.get(_BEGUN).decode()) != installation:
            raise Invalid(f"This place is for backups of the installation {found}, and this is {installation}; choose another")
    except NoSuchObject:
        if next(iter(place.list()), None) is not None:
            raise Invalid("This place is not empty, and no place for backups; choose an empty one") from None
        place.put(_BEGUN, [installation.encode()])
    with suppress(Conflict):
        place.put(_PLACE, [secrets.token_hex(16).encode()], if_absent=True)
    return place.get(_PLACE).decode()


def read(place: ObjectStore) -> tuple[Manifest, list[File]]:
    """Read the manifest and the list of files. Raises `Invalid` if there is no whole backup, or a newer version made it."""
    try:
        told = place.get(_MANIFEST)
        refuse_newer(_decode_format(told).format)
        manifest = _decode(told)
    except NoSuchObject:
        what = "The backup is not whole: it was broken off" if is_there(place) else "There is no backup here"
        raise Invalid(f"{what}; {_ORDER}") from None
    except msgspec.DecodeError:
        raise Invalid(f"The backup is damaged: {_MANIFEST} cannot be read") from None
    for part in (manifest.state, manifest.files):
        records.check(place, part)
    try:
        return manifest, [msgspec.convert(one, File) for one in records.read(place, manifest.files)]
    except msgspec.ValidationError:
        raise Invalid(f"The backup cannot be read: its list of files is not of this version; {_NEWER}") from None


def is_there(place: ObjectStore) -> bool:
    """Tell whether a backup was ever begun in a place."""
    return next(iter(place.list(FOLDER)), None) is not None


def check_state(place: ObjectStore, manifest: Manifest) -> None:
    """Read the whole dump, before anything is replaced. Raises `Invalid` if this version cannot read it."""
    count, space = 0, ""
    try:
        for count, one in enumerate(records.unpacked(records.read(place, manifest.state)), 1):  # noqa: B007
            if isinstance(one, DumpedSpace):
                space = one.space
            elif isinstance(one, DumpedDocument) and (space, one.key) == (MARKS, "format") and one.value.isdigit():
                refuse_newer(int(one.value))
    except (KeyError, TypeError, ValueError, msgspec.DecodeError, zstandard.ZstdError):
        raise Invalid(f"The backup cannot be read: its state is not of this version; {_NEWER}") from None
    if count != manifest.state.records:
        raise Invalid(f"The backup is damaged: its state has {count} records, not {manifest.state.records}")


def refuse_newer(number: int) -> None:
    """Raise `Invalid` if this version does not know a format."""
    if number > FORMAT:
        raise Invalid(
            f"A newer version made this backup: it has format {number}, and this version reads up to {FORMAT}; {_NEWER}"
        )


def write(place: ObjectStore, manifest: Manifest) -> None:
    """Make a backup whole."""
    place.put(_MANIFEST, [msgspec.json.format(msgspec.json.encode(manifest))])


def names(manifest: Manifest) -> set[str]:
    """List the objects of a whole backup that are not the installation's."""
    return {_BEGUN, _PLACE, _MANIFEST, manifest.state.object, manifest.files.object}
