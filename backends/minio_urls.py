"""A MinIO URL taken apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from minio.helpers import BaseURL

from backends.checks import check_key
from backends.urls import StoreUrl, seconds

_OPTIONS = {
    "secure": "0",
    "region": "us-east-1",
    "public_endpoint": "",
    "timeout_seconds": "5",
    "abandoned_after_seconds": "86400",
}
_FORM = (
    "a store in MinIO is minio://[ACCESS:SECRET@]host[:port]/bucket[/prefix][?option=value&...], "
    "where ACCESS and SECRET are percent-encoded"
)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LINE_ENDS = re.compile(r"[\t\r\n]")
_REGION = re.compile(r"[A-Za-z0-9_-]{1,64}")
# The longest key, with the prefix and a folder, is to stay within the 1024 bytes of S3.
_LONGEST_PREFIX = 100
_MOST_SECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Place:
    """What a URL says. prefix: empty, or ending in `/`. public_endpoint: empty, or `http(s)://host[:port]`."""

    endpoint: str
    bucket: str
    prefix: str
    secure: bool
    region: str
    public_endpoint: str
    timeout_seconds: float
    abandoned_after_seconds: float
    keys: tuple[str, str] | None = field(repr=False)

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.endpoint}"

    def __str__(self) -> str:
        return f"bucket {self.bucket!r} at {self.endpoint}"


def place_of(url: str) -> Place:
    """The URL taken apart. No `ValueError` repeats any of it: where it is misspelt, each part may hold some of the secret."""
    url = _LINE_ENDS.sub("", url)  # such as a secret's file has at its end
    parts = StoreUrl.of(url)
    access, secret = unquote(parts.username), unquote(parts.password)
    bucket, _, prefix = parts.path.partition("/")
    if not _has_one_host(url) or bool(parts.login) != bool(access and secret) or not _BUCKET.fullmatch(bucket):
        raise ValueError(_FORM)
    options = parts.options(_OPTIONS, unknown=lambda _: "unknown option in a MinIO URL", unreadable=_FORM)
    if options["secure"] not in ("0", "1"):
        raise ValueError("secure is 1 (TLS) or 0 in a MinIO URL")
    if not _REGION.fullmatch(options["region"]):
        raise ValueError("region is not the name of a region in a MinIO URL")
    try:
        BaseURL(f"https://{parts.hosts}", options["region"])
    except ValueError:
        raise ValueError(_FORM) from None
    return Place(
        endpoint=parts.hosts,
        bucket=bucket,
        prefix=_prefix(prefix.removesuffix("/")),
        secure=options["secure"] == "1",
        region=options["region"],
        public_endpoint=_public_endpoint(options["public_endpoint"]),
        timeout_seconds=_seconds(options, "timeout_seconds", least=0.01),
        abandoned_after_seconds=_seconds(options, "abandoned_after_seconds", least=0),
        keys=(access, secret) if parts.login else None,
    )


def _has_one_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.hostname) and not parts.fragment


def _prefix(prefix: str) -> str:
    try:
        if len(prefix) > _LONGEST_PREFIX:
            raise ValueError
        return f"{check_key(prefix)}/" if prefix else ""
    except ValueError:
        raise ValueError(f"the prefix in a MinIO URL is an object key of at most {_LONGEST_PREFIX} characters") from None


def _public_endpoint(url: str) -> str:
    try:
        parts = urlsplit(url)
        plain = parts.port != 0 and parts.hostname and url.removesuffix("/") == f"{parts.scheme}://{parts.netloc}"
    except ValueError:
        plain = False
    if url and not (plain and parts.scheme in ("http", "https") and "@" not in parts.netloc):
        raise ValueError("public_endpoint is https://host[:port] in a MinIO URL")
    return url.removesuffix("/")


def _seconds(options: Mapping[str, str], name: str, least: float) -> float:
    told = f"{name} is a number of seconds in a MinIO URL"
    return seconds(options, name, told, fits=lambda number: least <= number <= _MOST_SECONDS)
