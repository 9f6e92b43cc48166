"""Keep objects in a bucket of MinIO, or of another server that speaks S3.

In the bucket, below the URL's prefix: `objects/<key>`, `tables/<name>/...`, `reserve`, which keeps room aside, and, for a
moment, what a check writes.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import quote

from minio.error import S3Error

from backends.checks import NotAllowed, begins_keys, check_key, check_path, check_range
from backends.circuits import FailsFast
from backends.faults import TranslatesFaults
from backends.minio_connections import MinioClient, MinioClients
from backends.minio_damage import METADATA, MinioDamage
from backends.minio_deletes import MinioDeletes
from backends.minio_faults import ERRORS, fault
from backends.minio_reads import MinioReads
from backends.minio_room import MinioRoom, TellsRoom
from backends.minio_uploads import MultipartUpload, parts, uploads
from backends.minio_urls import minio_url
from backends.own_files import OwnFile, ShowsFiles
from backends.ports import (
    KeepsReserve,
    ObjectInfo,
    ObjectStore,
    SignsUrls,
    StoreUnavailable,
    TableLocation,
)

_RESERVE_BYTES = 16 << 20
_LONGEST_SIGNATURE_SECONDS = 7 * 24 * 3600


class MinioObjects(FailsFast, TranslatesFaults, TellsRoom, ObjectStore, SignsUrls, KeepsReserve, ShowsFiles):
    """Keeps objects in a bucket: `minio://[ACCESS:SECRET@]host[:port]/bucket[/prefix]?secure=0&region=us-east-1`.

    secure: `1` TLS, `0` none. region: the bucket's. public_endpoint: `https://host[:port]` under which clients reach the
    server; without it no URL is signed. timeout_seconds: the longest wait for an answer or its next piece.
    abandoned_after_seconds: the age at which a sweep aborts an unfinished upload in parts. bin_seconds: how often the server
    empties its bin.

    If the URL has no credentials, they come from MINIO_ACCESS_KEY and MINIO_SECRET_KEY, from AWS_ACCESS_KEY_ID and the like,
    or from the role that AWS's container and web identity variables name. SSL_CERT_FILE names the
    authorities to trust instead of the system's. A missing bucket is made.

    An object is read in blocks, each to its end before a byte of it is passed on: MinIO deletes none while it sends some of it.

    MinIO lists only the uploads in parts that began since it started. It expires all of them itself after 24 hours
    (`api stale_uploads_expiry`). It erases deleted bytes from its disk every 5 minutes (`api delete_cleanup_interval`).
    """

    DRIVER_ERRORS = ERRORS

    def __init__(self, url: str) -> None:
        self._url = minio_url(url)
        self._objects = f"{self._url.prefix}objects/"
        self._tables = f"{self._url.prefix}tables/"
        self._reserve = f"{self._url.prefix}reserve"
        self._clients = MinioClients(self._url)
        self._damage = MinioDamage(self._url, self._clients)
        self._reads = MinioReads(self._url, self._clients, self._damage)
        self._deletes = MinioDeletes(self._url, self._clients, self._damage)
        self._room = MinioRoom(self._clients)
        self.bin_seconds = self._url.bin_seconds

    def put(self, key: str, chunks: Iterable[bytes], *, if_absent: bool = False) -> int:
        return self._put(self._objects + check_key(key), chunks, if_absent)

    def get(self, key: str) -> bytes:
        return b"".join(self.stream(key, chunk_bytes=1 << 30))

    def stream(self, key: str, start: int = 0, length: int | None = None, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        check_range(start, length, chunk_bytes)
        return self._reads.stream(self._objects + check_key(key), key, start, length, chunk_bytes)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        if begins_keys(prefix):
            yield from self._list(self._objects, prefix)

    def delete(self, keys: Iterable[str]) -> None:
        self._deletes.remove([self._objects + check_key(key) for key in keys])

    def delete_below(self, folder: str) -> None:
        super().delete_below(folder)
        self._clients.open().remove_below(self._objects + check_key(folder))  # what no list shows

    def sweep(self) -> int:
        before = datetime.now(UTC) - timedelta(seconds=self._url.abandoned_after_seconds)
        session, probes = self._clients.open(), f"{self._url.prefix}checks/"
        found = [*session.client.list_objects(self._url.bucket, probes, recursive=True)]
        left = [str(one.object_name) for one in found if one.last_modified is not None and one.last_modified <= before]
        self._deletes.remove(left)
        return len(left) + self._abort_uploads(self._objects, before)

    def check(self) -> str:
        session = self._clients.session()
        session.look(make=not session.fit)
        session.probe()
        return f"MinIO/S3 {self._url} can be written to"

    def missing(self) -> str | None:
        if self._clients.look() is not None:
            return None
        bucket = self._url.bucket
        return f"{self._url} does not exist: correct the bucket's name in the URL, or make it with `mc mb ALIAS/{bucket}`"

    def table_location(self, name: str) -> TableLocation:
        url, timeout = self._url, f"{self._url.timeout_seconds:.3f}s"
        path = self._tables + check_key(name)
        # Opened, so that the bucket is there: to deltalake a missing one is a fault, and not a table that is not there yet.
        credentials = self._clients.open().provider.retrieve()
        return TableLocation(
            f"s3://{url.bucket}/{path}",
            {
                "aws_endpoint": url.endpoint_url,
                "aws_allow_http": str(not url.secure).lower(),
                "aws_virtual_hosted_style_request": "false",
                "aws_region": url.region,
                "aws_access_key_id": credentials.access_key,
                "aws_secret_access_key": credentials.secret_key,
                # Also when it is empty: else deltalake takes what AWS's variables say.
                "aws_session_token": credentials.session_token or "",
                "aws_skip_signature": "false",
                # Of two who commit the same version one fails, without a table of locks.
                "aws_conditional_put": "etag",
                "connect_timeout": timeout,
                # Of a request with its whole body, which is a piece of a file.
                "timeout": timeout,
                "retry_timeout": timeout,
                "max_retries": "2",
                "backoff_config.init_backoff": "100ms",
            },
        )

    def sweep_table(self, name: str, dead: Iterable[str] = ()) -> int:
        folder = f"{self._tables}{check_key(name)}/"
        self._deletes.remove(folder + path for path in dead)
        return self._abort_uploads(folder, datetime.max.replace(tzinfo=UTC))

    def list_table(self, name: str, prefix: str = "") -> Iterator[ObjectInfo]:
        yield from self._list(f"{self._tables}{check_key(name)}/", prefix)

    def stream_table(self, name: str, path: str, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        check_range(0, None, chunk_bytes)
        return self._reads.stream(f"{self._tables}{check_key(name)}/{check_path(path)}", path, 0, None, chunk_bytes)

    def put_table(self, name: str, path: str, chunks: Iterable[bytes]) -> int:
        return self._put(f"{self._tables}{check_key(name)}/{check_path(path)}", chunks, if_absent=False)

    def signed_url(self, key: str, seconds: float, file_name: str | None = None) -> str | None:
        """Sign a URL as the port promises, for at most seven days."""
        name = self._objects + check_key(key)
        if not 0 < seconds <= _LONGEST_SIGNATURE_SECONDS:
            raise NotAllowed("a signed URL is for up to seven days")
        public = self._clients.session().public
        if public is None:
            return None
        told = {} if file_name is None else {"response-content-disposition": _attachment(file_name)}
        return public.presigned_get_object(
            self._url.bucket, name, timedelta(seconds=math.ceil(seconds)), response_headers={**told}
        )

    def keep_reserve(self) -> None:
        if not self._has_reserve():
            # No server can compress them.
            self._put(self._reserve, (os.urandom(1 << 20) for _ in range(_RESERVE_BYTES >> 20)), if_absent=False)

    def spend_reserve(self) -> bool:
        has_any = self._has_reserve()
        self._deletes.remove([self._reserve])
        return has_any

    def own_files(self, tables: Collection[str]) -> Iterator[OwnFile]:
        if (session := self._clients.look()) is None:
            return
        prefix, listed = self._url.prefix, (self._objects, *(f"{self._tables}{check_key(name)}/" for name in tables))
        for found in session.client.list_objects(self._url.bucket, prefix or None, recursive=True):
            name = str(found.object_name)
            if not name.startswith(listed) and name != self._reserve:
                yield OwnFile(name, self._later(name))
        for name, _, _ in uploads(session):
            if name.startswith(prefix):
                yield OwnFile(name, unread="an upload in parts that is not finished; a sweep removes it")
        yield OwnFile(str(self._url), unread="its bin and .usage-cache, which no client can read: name MinIO's folder")

    def close(self) -> None:
        self._clients.close()

    def fault_of(self, error: Exception, method: str) -> StoreUnavailable:
        return fault(self._url, error, method)

    def _put(self, name: str, chunks: Iterable[bytes], if_absent: bool) -> int:
        session = self._clients.open()
        if if_absent:
            session.heed_conditions()
        upload, size_bytes = None, 0
        self._damage.forget(name)
        try:
            for part, is_last in parts(chunks):
                size_bytes += len(part)
                if is_last and upload is None:
                    _replace(session, name, partial(session.ask, "PUT", name, body=part, if_absent=if_absent), if_absent)
                    return size_bytes
                upload = upload or MultipartUpload(session, name)
                upload.add(part)
                if is_last:
                    _replace(session, name, partial(upload.complete, if_absent), if_absent)
        except BaseException:
            if upload is not None:
                with suppress(*ERRORS):
                    upload.abort()
            raise
        return size_bytes

    def _later(self, name: str) -> Iterator[bytes]:
        """Stream what the bucket holds under `name`, once it is asked for."""
        yield from self._reads.stream(name, name, 0, None, 1 << 20)

    def _list(self, folder: str, prefix: str) -> Iterator[ObjectInfo]:
        """List what the bucket holds in `folder` whose name there starts with `prefix`."""
        if (session := self._clients.look()) is None:
            return
        above, _, name = prefix.rpartition("/")
        # MinIO refuses to list what begins with these, and some keys do.
        asked = folder + (f"{above}/" * bool(above) if name in (".", "..") else prefix)
        for found in session.client.list_objects(self._url.bucket, asked, recursive=True):
            key = str(found.object_name).removeprefix(folder)
            # What a console calls an empty folder is no object of ours.
            ours = key.startswith(prefix) and not key.endswith("/")
            if ours and found.size is not None and found.last_modified is not None:
                yield ObjectInfo(key, found.size, found.last_modified)

    def _has_reserve(self) -> bool:
        try:
            self._clients.open().client.stat_object(self._url.bucket, self._reserve)
        except S3Error as error:
            if error.code != "NoSuchKey":
                raise
            return False
        return True

    def _abort_uploads(self, folder: str, before: datetime) -> int:
        """Abort the uploads into `folder` that began no later than `before`; how many."""
        aborted = 0
        session = self._clients.open()
        for name, upload_id, begun_at in uploads(session):
            if name.startswith(folder) and begun_at <= before:
                aborted += MultipartUpload(session, name, upload_id).abort()
        return aborted


def _attachment(file_name: str) -> str:
    plain = re.sub(r"[^ !#-\[\]-~]", "_", file_name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"


def _replace(session: MinioClient, name: str, put: Callable[[], object], if_absent: bool) -> None:
    """Put an object, also in the place of one that the server can neither read nor replace."""
    try:
        put()
    except S3Error as error:
        if if_absent or error.code != METADATA:
            raise
        session.remove_below(name)
        put()
