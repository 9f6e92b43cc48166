"""Parse the URL of a bucket. No message repeats any of it: each part of a misspelt URL may hold some of the secret."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from minio.helpers import BaseURL

from backends.checks import NotAllowed, check_key
from backends.urls import chosen, options_of, seconds

_OPTIONS = {
    "secure": "0",
    "region": "us-east-1",
    "public_endpoint": "",
    "timeout_seconds": "5",
    "abandoned_after_seconds": "86400",
    "bin_seconds": "300",
}
_FORM = (
    "a store in MinIO is minio://[ACCESS:SECRET@]host[:port]/bucket[/prefix][?option=value&...], "
    "where ACCESS and SECRET are percent-encoded"
)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"(?![_-])[A-Za-z0-9_-]{1,63}(?<![_-])")
# The longest key, with the prefix and a folder, is to stay within the 1024 bytes of S3.
_LONGEST_PREFIX = 100


@dataclass(frozen=True, slots=True)
class MinioUrl:
    """Says which bucket to use, and how. prefix: empty, or ending in `/`. public_endpoint: empty, or `http(s)://host[:port]`."""

    endpoint: str
    bucket: str
    prefix: str
    secure: bool
    region: str
    public_endpoint: str
    timeout_seconds: float
    abandoned_after_seconds: float
    bin_seconds: float
    keys: tuple[str, str] | None = field(repr=False)

    @property
    def endpoint_url(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.endpoint}"

    def __str__(self) -> str:
        return f"bucket {self.bucket!r} at {self.endpoint}"


def minio_url(url: str) -> MinioUrl:
    """Parse `minio://...`. Raises `ValueError`."""
    try:
        parts = urlsplit(url)
        login, _, endpoint = parts.netloc.rpartition("@")
        BaseURL(f"https://{endpoint}", None)
    except ValueError:
        raise ValueError(_FORM) from None
    access, _, secret = (unquote(part) for part in login.partition(":"))
    bucket, _, prefix = parts.path.removeprefix("/").partition("/")
    if parts.fragment or not parts.hostname or bool(login) != bool(access and secret):
        raise ValueError(_FORM)
    if not bucket:
        raise ValueError(f"the URL names no bucket behind the host; {_FORM}")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError("the bucket in a MinIO URL must have 3 to 63 of a-z, 0-9, . and -, and begin and end with no . or -")
    options = options_of(parts.query, _OPTIONS, "minio://")
    if not _REGION.fullmatch(options["region"]):
        raise ValueError("region is not the name of a region in a MinIO URL")
    return MinioUrl(
        endpoint=endpoint,
        bucket=bucket,
        prefix=_prefix(prefix.removesuffix("/")),
        secure=chosen(options, "secure", ("0", "1")) == "1",
        region=options["region"],
        public_endpoint=_public_endpoint(options["public_endpoint"]),
        timeout_seconds=seconds(options, "timeout_seconds", least=0.01),
        abandoned_after_seconds=seconds(options, "abandoned_after_seconds"),
        bin_seconds=seconds(options, "bin_seconds"),
        keys=(access, secret) if login else None,
    )


def _prefix(prefix: str) -> str:
    with suppress(NotAllowed):
        if len(prefix) <= _LONGEST_PREFIX:
            return f"{check_key(prefix)}/" if prefix else ""
    raise ValueError(f"the prefix in a MinIO URL is an object key of at most {_LONGEST_PREFIX} characters")


def _public_endpoint(url: str) -> str:
    try:
        parts = urlsplit(url)
        plain = parts.port != 0 and parts.hostname and url.removesuffix("/") == f"{parts.scheme}://{parts.netloc}"
    except ValueError:
        plain = False
    if url and not (plain and parts.scheme in ("http", "https") and "@" not in parts.netloc):
        raise ValueError("public_endpoint is https://host[:port] in a MinIO URL")
    return url.removesuffix("/")
