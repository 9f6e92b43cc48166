"""Upload in parts: for objects that are large, or whose length is unknown before their end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from xml.parsers.expat import ExpatError

import xmltodict
from minio.datatypes import ListMultipartUploadsResult
from minio.error import S3Error

from backends.minio_connections import MinioClient

# S3 takes at most 10,000 parts, all but the last of one size on some servers: 160 GB.
_PART_BYTES = 16 << 20


class MultipartUpload:
    """Uploads one object in parts. Nobody sees any part before all of them are complete."""

    def __init__(self, session: MinioClient, name: str, upload_id: str | None = None) -> None:
        self._session, self._name = session, name
        self._etags: list[str] = []
        self._id = upload_id or self._begin()

    def add(self, part: bytes) -> None:
        query = {"uploadId": self._id, "partNumber": str(len(self._etags) + 1)}
        self._etags.append(self._session.ask("PUT", self._name, query, part).headers.get("ETag", ""))

    def complete(self, if_absent: bool) -> None:
        told = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(self._etags, 1)]
        body = xmltodict.unparse({"CompleteMultipartUpload": {"Part": told}}).encode()
        self._session.ask("POST", self._name, {"uploadId": self._id}, body, if_absent=if_absent)

    def abort(self) -> bool:
        """Remove the parts; whether there was something to abort."""
        try:
            self._session.ask("DELETE", self._name, {"uploadId": self._id})
        except S3Error as error:
            if error.code != "NoSuchUpload":
                raise
            return False
        return True

    def _begin(self) -> str:
        answer = self._session.ask("POST", self._name, {"uploads": ""}).data
        try:
            upload_id = xmltodict.parse(answer)["InitiateMultipartUploadResult"]["UploadId"]
        except (ExpatError, KeyError, TypeError) as fault:
            raise ValueError("no upload was begun") from fault
        if not isinstance(upload_id, str):
            raise ValueError("no upload was begun")
        return upload_id


def uploads(session: MinioClient) -> Iterator[tuple[str, str, datetime]]:
    """List the unfinished uploads in the bucket: object, id, and when each began."""
    # Without a prefix: for MinIO that is the name of one object.
    query = {"uploads": "", "prefix": ""}
    while True:
        page = ListMultipartUploadsResult(session.ask("GET", "", query))
        for upload in page.uploads:
            yield str(upload.object_name), str(upload.upload_id), upload.initiated_time or datetime.max.replace(tzinfo=UTC)
        if not page.is_truncated or not page.uploads:
            return
        last = page.uploads[-1]
        query |= {"key-marker": str(last.object_name), "upload-id-marker": str(last.upload_id)}


def parts(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Cut `chunks` into parts of one size, at least one: each with whether it is the last, which may be shorter."""
    held = bytearray()
    for chunk in chunks:
        for at in range(0, len(chunk), _PART_BYTES):
            held += memoryview(chunk)[at : at + _PART_BYTES]
            if len(held) > _PART_BYTES:
                yield bytes(memoryview(held)[:_PART_BYTES]), False
                del held[:_PART_BYTES]
    yield bytes(held), True
