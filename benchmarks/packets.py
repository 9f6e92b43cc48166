"""Streams that are there for a while, requests that append to them, and a download that is timed."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmarks.load import post_head
from benchmarks.server import HOST
from smarthouse_api.access.keys import Owner
from smarthouse_api.house import House
from smarthouse_api.streams.model import NewPacket, Stream

HOME: Final = 7
MODULE: Final = "m"
PACKET_BYTES: Final = 1024
BATCH: Final = 1000
MEGABYTE: Final = 1e6
_ANSWER_SECONDS: Final = 120
_PURGE_SECONDS: Final = 60
_BUFFER_BYTES: Final = 1 << 20
_TYPES: Final = {"packet": "application/octet-stream", "batch": "application/x-ndjson"}


class Writer:
    """Makes requests to append to streams of the home, with a key for it. Their bodies are in files in `folder`."""

    def __init__(self, house: House, folder: Path) -> None:
        self._house, self._key, self._made = house, key_of(house), 0
        folder.mkdir(parents=True, exist_ok=True)
        packet = os.urandom(PACKET_BYTES)
        line = b'{"data":"%s"}\n' % base64.b64encode(packet)
        self._bodies = {"packet": folder / "packet", "batch": folder / "batch"}
        self._bodies["packet"].write_bytes(packet)
        self._bodies["batch"].write_bytes(line * BATCH)

    @contextmanager
    def requests(self, kind: str, streams: int) -> Iterator[list[tuple[str, str]]]:
        """One to each of so many new streams, which are gone afterwards. kind: `packet` or `batch`."""
        catalogue = self._house.streams.catalogue
        self._made += streams
        names = [f"s{number}" for number in range(self._made - streams, self._made)]
        made = [catalogue.create(HOME, MODULE, name)[0] for name in names]
        headers = {"Authorization": f"ModeCloud {self._key}", "Content-Type": _TYPES[kind]}
        yield [(post_head(f"{path_of(name)}/data", headers), str(self._bodies[kind])) for name in names]
        for stream in made:
            catalogue.delete(stream)
        self._house.streams.chores.purge(_PURGE_SECONDS)


def key_of(house: House) -> str:
    """A key for the home."""
    return house.access.create("benchmark", homes=[HOME])[1]


def path_of(stream: str) -> str:
    return f"/homes/{HOME}/smartModules/{MODULE}/streams/{stream}"


def fill(house: House, name: str, data: bytes) -> Stream:
    """A new stream of the data's packets, which nobody has sealed yet."""
    stream, _ = house.streams.catalogue.create(HOME, MODULE, name)
    packets = [NewPacket(data[at : at + PACKET_BYTES]) for at in range(0, len(data), PACKET_BYTES)]
    for low in range(0, len(packets), BATCH):
        house.streams.appending.append(stream, packets[low : low + BATCH], Owner("user", "benchmark", "benchmark"))
    return stream


@dataclass(frozen=True)
class Fetched:
    """digest: of the bytes, if it was asked for."""

    size: int
    seconds: float
    digest: str

    @property
    def megabytes_a_second(self) -> float:
        return self.size / MEGABYTE / self.seconds


def fetch(port: int, path: str, key: str = "", *, digest: bool = False) -> Fetched:
    """Download what is there, or where that sends its client. RuntimeError for any other answer, or not all of it."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_ANSWER_SECONDS)
    headers = {"Authorization": f"ModeCloud {key}"} if key else {}
    try:
        started = time.perf_counter()
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        if response.status == http.HTTPStatus.FOUND:
            found = urlsplit(response.headers["Location"])
            response.read()
            connection.request("GET", f"{found.path}?{found.query}")
            response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{path} was answered with {response.status}: {response.read(500)!r}")
        wanted = int(response.headers["Content-Length"])
        size, told = _read(response, digest)
        seconds = time.perf_counter() - started
    finally:
        connection.close()
    if size != wanted:
        raise RuntimeError(f"{path} gave {size} of {wanted} bytes")
    return Fetched(size, seconds, told)


def _read(response: http.client.HTTPResponse, digest: bool) -> tuple[int, str]:
    size, told = 0, hashlib.sha256()
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    while count := response.readinto(buffer):
        size += count
        if digest:
            told.update(buffer[:count])
    return size, told.hexdigest()
