"""Connect to the bucket: a client for each process, with the requests that minio-py cannot make."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self, cast
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4
from xml.etree.ElementTree import ParseError

from minio import Minio, MinioAdmin
from minio.credentials import providers
from minio.error import MinioAdminException, S3Error
from minio.signer import sign_v4_s3
from urllib3 import BaseHTTPResponse, PoolManager, Retry, Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ReadTimeoutError

from backends.minio_urls import MinioUrl
from backends.ports import Conflict, StoreUnfit

_ASKS_FOR_IAM = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_BRISK_SECONDS = 1.0
_NOT_MET = ("PreconditionFailed", "ConditionalRequestConflict")


class MinioClients:
    """Gives each process a `MinioClient` of its own. A child neither uses nor closes what it inherits from its parent."""

    def __init__(self, url: MinioUrl) -> None:
        self._url = url
        self._sessions: dict[int, MinioClient] = {}

    def session(self) -> MinioClient:
        """Return this process's client. The bucket may not have been looked at."""
        return self._sessions.get(os.getpid()) or self._sessions.setdefault(os.getpid(), MinioClient(self._url))

    def open(self) -> MinioClient:
        """Return this process's client, for a bucket that exists and keeps nothing that is deleted. Raises `StoreUnfit`."""
        session = self.session()
        if not session.fit:
            session.look(make=True)
        return session

    def look(self) -> MinioClient | None:
        """Return this process's client; None if there is no bucket, which is not made. Raises `StoreUnfit` as `open`."""
        session = self.session()
        if not session.fit:
            try:
                session.look(make=False)
            except S3Error as error:
                if error.code != "NoSuchBucket":
                    raise
                return None
        return session

    def close(self) -> None:
        if (session := self._sessions.pop(os.getpid(), None)) is not None:
            session.close()


class MinioClient:
    """Talks to one bucket: minio-py's client, and the requests that it has no method for."""

    def __init__(self, url: MinioUrl) -> None:
        self._url = url
        self.fit = False
        self._heeds_conditions = False
        self._pools = _pools(url, url.timeout_seconds)
        self._brisk_pools = _pools(url, min(_BRISK_SECONDS, url.timeout_seconds))
        self._pool = self._pools.connection_from_url(url.endpoint_url)
        self.provider = _provider(url, self._pools)
        self.client = self._client(url.endpoint_url, self._pools)
        self.brisk = self._client(url.endpoint_url, self._brisk_pools)
        """Waits less long for an answer."""
        self.public = self._client(url.public_endpoint, self._pools) if url.public_endpoint else None
        # Kept for as long as the connections, which it closes when it goes.
        self._admin = MinioAdmin(
            endpoint=url.endpoint, credentials=self.provider, region=url.region, secure=url.secure, http_client=self._pools
        )

    def ask(
        self,
        method: str,
        name: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        if_absent: bool = False,
        more: Mapping[str, str] | None = None,
    ) -> BaseHTTPResponse:
        """Send a request for the object `name`, or for the bucket if `name` is empty. Raises `S3Error` if it is refused.

        if_absent: only if there is no such object; raises `Conflict` if there is. more: headers.

        minio-py's own methods cannot put under a condition or list uploads, so its signer (in every 7.x) signs this request.
        Its presigned URLs would do too, but would leave signatures in the logs of proxies.
        """
        path = f"/{quote(f'{self._url.bucket}/{name}')}"
        if query:
            path += f"?{urlencode(sorted(query.items()), quote_via=quote)}"
        credentials, now = self.provider.retrieve(), datetime.now(UTC)
        digest = "UNSIGNED-PAYLOAD" if self._url.secure else hashlib.sha256(body).hexdigest()
        headers: dict[str, str | list[str] | tuple[str]] = {
            "Host": self._url.endpoint,
            "Content-Type": "application/octet-stream",
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            "x-amz-content-sha256": digest,
            **(more or {}),
        }
        if credentials.session_token:
            headers["x-amz-security-token"] = credentials.session_token
        if if_absent:
            headers["If-None-Match"] = "*"
        signed = sign_v4_s3(
            method=method,
            url=urlsplit(f"{self._url.endpoint_url}{path}"),
            region=self._url.region,
            headers=headers,
            credentials=credentials,
            content_sha256=digest,
            date=now,
        )
        tries = _ONCE_IF_ABSENT if if_absent else _REPEATED
        answer = self._pool.urlopen(method, path, body, cast(dict[str, str], signed), tries, redirect=False)
        # The completion of a multipart upload may fail after the server has sent its 200.
        if answer.status not in (200, 204) or b"<Error>" in answer.data[:200]:
            error = _refusal(answer)
            if if_absent and isinstance(error, S3Error) and error.code in _NOT_MET:
                raise Conflict(f"there is an object already: {name!r}") from error
            raise error
        return answer

    def remove_below(self, name: str) -> None:
        """Remove the object `name`, and all whose names continue it after a `/`, however damaged they are.

        That is MinIO's own. Another server removes only the object of that name.
        """
        self.ask("DELETE", name, more={"x-minio-force-delete": "true"})

    def server_info(self) -> bytes | None:
        """Return what a MinIO server tells about itself, as JSON; None from another server, or if it may not be asked."""
        try:
            return str(self._admin.info()).encode()
        except MinioAdminException:
            return None

    def look(self, *, make: bool) -> None:
        """Make sure that the bucket keeps no deleted bytes. Raises `StoreUnfit` if it has versions, as a locked one does.

        make: make the bucket if it is missing.
        """
        try:
            status = self._versioning()
        except S3Error as error:
            if error.code != "NoSuchBucket" or not make:
                raise
            self._make()
            status = self._versioning()
        if status in ("Enabled", "Suspended"):
            raise StoreUnfit(
                f"{self._url} keeps what is deleted, for its versioning is {status.lower()}; "
                "use a bucket that never had versioning or object locking"
            )
        self.fit = True

    def probe(self) -> None:
        """Make sure that the server can be written to, and that a conditional put replaces nothing. Raises `StoreUnfit`."""
        name = f"{self._url.prefix}checks/{uuid4().hex}"
        # If this fails, nothing is removed, since that would take another timeout; a sweep removes what may be left.
        self.ask("PUT", name, body=b"check")
        heeded = False
        try:
            self.ask("PUT", name, body=b"check", if_absent=True)
        except Conflict:
            heeded = True
        self.client.remove_object(self._url.bucket, name)
        if not heeded:
            raise StoreUnfit(f"{self._url}: the server replaces what it is asked not to (If-None-Match); use a newer one")
        self._heeds_conditions = True

    def heed_conditions(self) -> None:
        """Make sure, once, that the server heeds conditions. Raises `StoreUnfit`."""
        if not self._heeds_conditions:
            self.probe()

    def close(self) -> None:
        self._pools.clear()
        self._brisk_pools.clear()

    def _client(self, url: str, pools: PoolManager) -> Minio:
        scheme, _, endpoint = url.partition("://")
        secure, region = scheme == "https", self._url.region
        return Minio(endpoint, secure=secure, region=region, credentials=self.provider, http_client=pools)

    def _versioning(self) -> str | None:
        try:
            return self.client.get_bucket_versioning(self._url.bucket).status
        except S3Error as error:
            if error.code == "AccessDenied":
                raise StoreUnfit(
                    f"{self._url}: it cannot be known whether it keeps what is deleted; allow"
                    " s3:GetBucketVersioning, or correct the bucket's name"
                ) from error
            if error.code not in ("NotImplemented", "MethodNotAllowed"):
                raise
        if not self.client.bucket_exists(self._url.bucket):
            self._make()
        return None

    def _make(self) -> None:
        try:
            self.client.make_bucket(self._url.bucket)
        except S3Error as error:
            if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise


class _Retries(Retry):
    """Retries as urllib3 does, except after a timeout."""

    def increment(self, *args: Any, **options: Any) -> Self:
        for given in (*args, *options.values()):
            if isinstance(given, ReadTimeoutError | ConnectTimeoutError):
                raise given
        return super().increment(*args, **options)


def _tries(*, repeatable: bool) -> Retry:
    """Retry a broken connection once, and a server that could not answer just now twice. Never retry a timeout.

    repeatable: the request may be done twice. A condition that was met, and whose answer was lost, is not met again.
    """
    return _Retries(
        total=2,
        connect=0,
        read=1 if repeatable else 0,
        status=2,
        other=0,
        status_forcelist=(500, 502, 503, 504) if repeatable else (503,),
        allowed_methods=None,
        backoff_factor=0.2,
        respect_retry_after_header=False,
        raise_on_status=False,
    )


_REPEATED, _ONCE_IF_ABSENT = _tries(repeatable=True), _tries(repeatable=False)


def _pools(url: MinioUrl, read_seconds: float) -> PoolManager:
    return PoolManager(
        maxsize=128,  # more than threads
        timeout=Timeout(connect=url.timeout_seconds, read=read_seconds),
        retries=_REPEATED,
        ssl_context=ssl.create_default_context() if url.secure else None,
    )


def _provider(url: MinioUrl, pools: PoolManager) -> providers.Provider:
    if url.keys is not None:
        return providers.StaticProvider(*url.keys)
    found: list[providers.Provider] = [providers.EnvMinioProvider(), providers.EnvAWSProvider()]
    if any(os.environ.get(name) for name in _ASKS_FOR_IAM):
        found.append(providers.IamAwsProvider(http_client=pools))
    return providers.ChainedProvider(found)


def _refusal(answer: BaseHTTPResponse) -> Exception:
    try:
        return S3Error.fromxml(answer)
    except (ParseError, UnicodeDecodeError):
        return HTTPError(f"status {answer.status}")
