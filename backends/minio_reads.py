"""Read objects in blocks: each is a request of its own, and is read to its end before a byte of it is passed on.

MinIO neither deletes nor replaces an object while it sends some of it. So no answer of the server waits for a slow reader.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Final, NamedTuple

from minio.error import S3Error
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from backends.minio_connections import MinioClient, MinioClients
from backends.minio_damage import MinioDamage
from backends.minio_urls import MinioUrl
from backends.ports import NoSuchObject, ObjectDamaged, StoreUnavailable

_BLOCK_BYTES: Final = 4 << 20
_RANGE: Final = re.compile(r"bytes \d+-\d+/(\d+)", re.ASCII)


class _Block(NamedTuple):
    """Holds some bytes of an object, in chunks. etag: names which object it is. size_bytes: of the object."""

    chunks: deque[bytes]
    etag: str
    size_bytes: int


class MinioReads:
    """Reads what a bucket holds."""

    def __init__(self, url: MinioUrl, clients: MinioClients, damage: MinioDamage) -> None:
        self._url, self._clients, self._damage = url, clients, damage

    def stream(self, name: str, key: str, start: int, length: int | None, chunk_bytes: int) -> Iterator[bytes]:
        """Read as the port says. name: in the bucket. key: what the caller calls it. The first block is read at once."""
        if self._damage.is_known(name):
            raise ObjectDamaged(key)
        if (session := self._clients.look()) is None:
            raise NoSuchObject(key)
        # S3 has no way to ask for no bytes.
        asked = partial(self._block, session, name, key, length=None if length is None else max(length, 1))
        try:
            first = asked(start, chunk_bytes)
        except S3Error as error:
            if error.code == "InvalidRange":
                return iter(())
            raise
        if length == 0:
            return iter(())
        end = first.size_bytes if length is None else min(start + length, first.size_bytes)
        return self._rest(session, name, key, first, start, end, chunk_bytes)

    def _rest(
        self, session: MinioClient, name: str, key: str, block: _Block, at: int, end: int, chunk_bytes: int
    ) -> Iterator[bytes]:
        """Pass on a block, which begins at `at`, and read the others."""
        etag = block.etag
        while True:
            while block.chunks:
                at += len(block.chunks[0])
                yield block.chunks.popleft()
            if at >= end:
                return
            block = self._block(session, name, key, at, chunk_bytes, length=end - at, etag=etag)

    def _block(
        self, session: MinioClient, name: str, key: str, start: int, chunk_bytes: int, *, length: int | None, etag: str = ""
    ) -> _Block:
        """Read the block that begins at `start`, and is no longer than `length`. etag: of the object that it must be of."""
        most = max(_BLOCK_BYTES, chunk_bytes)
        condition: dict[str, str | list[str] | tuple[str]] | None = {"If-Match": etag} if etag else None
        try:
            answer = session.client.get_object(
                self._url.bucket, name, start, most if length is None else min(length, most), request_headers=condition
            )
        except S3Error as error:
            if error.code in ("NoSuchKey", "PreconditionFailed"):  # deleted, or replaced by another one
                raise NoSuchObject(key) from error
            if self._damage.is_cause(name, error, start):
                raise ObjectDamaged(key) from error
            raise
        try:
            size_bytes = self._size_bytes(answer, start, most)
            chunks = deque(iter(partial(answer.read, chunk_bytes), b""))
        except HTTPError as error:
            if self._damage.is_cause(name, error, start):
                raise ObjectDamaged(key) from error
            raise
        finally:
            answer.close()
            answer.release_conn()
        return _Block(chunks, answer.headers.get("ETag", ""), size_bytes)

    def _size_bytes(self, answer: BaseHTTPResponse, start: int, most: int) -> int:
        """Tell the size of the whole object, by the answer to a request for a part of it."""
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if answer.status == 206 and found is not None:
            return int(found[1])
        size_bytes = int(answer.headers.get("Content-Length", -1))
        if start or not 0 <= size_bytes <= most:
            raise StoreUnavailable(f"{self._url}: the server does not send parts of objects")
        return size_bytes
