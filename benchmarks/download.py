"""An export's reader: takes the zip as fast as it comes, notes when its first byte came, and looks at nothing."""

from __future__ import annotations

import http.client
import time
import zipfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlencode

from benchmarks.server import HOST

ANSWER_SECONDS: Final = 600
BUFFER: Final = 1 << 20
END_OF_ZIP: Final = b"PK\x05\x06"
END_OF_ZIP_BYTES: Final = 22
METADATA: Final = "_metadata.json"
ROW_MARKS: Final = {"csv": b"\n", "json": b'"entity_id":', "xml": b"<row>"}


@dataclass(frozen=True)
class Download:
    size: int
    first_byte_seconds: float
    seconds: float


def download(port: int, fmt: str, query: dict[str, str] | None = None, target: Path | None = None) -> Download:
    """One export, into `target` or nowhere. RuntimeError for anything but a whole zip."""
    path = f"/api/export/{fmt}?{urlencode(query or {})}"
    connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)
    try:
        started = time.perf_counter()
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{path} was answered with {response.status}: {response.read(500)!r}")
        with target.open("wb") if target else nullcontext() as output:
            return _read(response, output, started)
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse, output: IO[bytes] | None, started: float) -> Download:
    tail = response.read(1)
    first = time.perf_counter() - started
    size = 1
    if output:
        output.write(tail)
    buffer = memoryview(bytearray(BUFFER))
    while count := response.readinto(buffer):
        size += count
        tail = (tail + bytes(buffer[max(0, count - END_OF_ZIP_BYTES) : count]))[-END_OF_ZIP_BYTES:]
        if output:
            output.write(buffer[:count])
    seconds = time.perf_counter() - started
    if not tail.startswith(END_OF_ZIP):
        raise RuntimeError("the export's zip has no end")
    return Download(size, first, seconds)


def check(port: int, fmt: str, query: dict[str, str], expected: int, archive: Path) -> None:
    """One export that is not timed, into `archive`, counted and removed. RuntimeError unless it holds so many rows."""
    download(port, fmt, query, archive)
    found = rows_in(archive, fmt)
    archive.unlink()
    if found != expected:
        raise RuntimeError(f"the export as {fmt} with {query or 'no filter'} holds {found} rows, not {expected}")


def rows_in(archive: Path, fmt: str) -> int:
    """How many rows the zip's data file holds."""
    with zipfile.ZipFile(archive) as opened:
        (name,) = (name for name in opened.namelist() if name.startswith("smarthouse_") and not name.endswith(METADATA))
        with opened.open(name) as data:
            marks = _count(data, ROW_MARKS[fmt])
    return marks - 1 if fmt == "csv" else marks


def _count(data: IO[bytes], mark: bytes) -> int:
    found, rest = 0, b""
    while chunk := data.read(BUFFER):
        text = rest + chunk
        found += text.count(mark)
        rest = text[len(text) - len(mark) + 1 :]
    return found
