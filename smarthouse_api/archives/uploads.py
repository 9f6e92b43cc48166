"""The uploads of a home in its archive: each payload as it came, and what the receipts say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain, islice
from typing import Final

import msgspec

from backends.ports import NoSuchObject, ObjectInfo, ObjectStore, StateStore
from smarthouse_api.arrow.times import time_of, time_text
from smarthouse_api.arrow.zip_stream import ZipMember
from smarthouse_api.states.homes import SPACE
from smarthouse_api.states.raw import RawUpload, read_raw_name
from smarthouse_api.states.receipts import receipt_name

_CHUNK_BYTES: Final = 256 << 10
_LINES: Final = 1000
_PACKED: Final = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}
_PLAIN: Final = {b"{": ".json", b"[": ".json"}


def receipts(state: StateStore, home_key: str) -> Iterator[bytes]:
    """Write the receipts of a home's uploads, a JSON object on each line."""
    documents = state.scan_all(SPACE, receipt_name(home_key, ""))
    while some := list(islice(documents, _LINES)):
        yield b"".join(msgspec.json.encode(_told(document.value)) + b"\n" for _, document in some)


def _told(value: bytes) -> dict[str, object]:
    receipt = msgspec.json.decode(value)
    raw = read_raw_name(receipt.pop("object", None) or "")
    received_us = receipt.pop("received", None) or (None if raw is None else raw.received_us)
    repeated = {"repeated": time_text(time_of(us))} if (us := receipt.pop("repeated", None)) else {}
    return {**receipt, "received": None if received_us is None else time_text(time_of(received_us)), **repeated}


def payloads(
    objects: ObjectStore, raw: Iterator[tuple[RawUpload, ObjectInfo]], at: datetime, missing: list[str]
) -> Iterator[ZipMember]:
    """Give each payload as it came. at: of the archive. missing: is told the names of those whose bytes are lost."""
    for upload, info in raw:
        received_us = upload.arrival(info)
        stem = f"uploads/{time_text(time_of(received_us)).replace(':', '')}_{upload.id}"
        try:
            chunks = objects.stream(upload.object, chunk_bytes=_CHUNK_BYTES)
            first = next(chunks, b"")
        except NoSuchObject:  # it was damaged, or has expired meanwhile
            missing.append(stem)
            continue
        ending, is_packed = _ending(first)
        yield ZipMember(f"{stem}{ending}", at, chain([first], chunks), packed=is_packed)


def _ending(first: bytes) -> tuple[str, bool]:
    """Tell by its first bytes how a payload is packed: the ending of its name, and whether deflating it gains nothing."""
    for magic, ending in _PACKED.items():
        if first.startswith(magic):
            return f".json{ending}", True
    if first[:1] == b"\x78" and len(first) > 1 and int.from_bytes(first[:2], "big") % 31 == 0:
        return ".json.zlib", True
    return _PLAIN.get(first.lstrip()[:1], ".bin"), False
