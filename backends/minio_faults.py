"""Say what an error of MinIO, or of the way to it, means to the port."""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import ParseError

from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from backends.minio_urls import MinioUrl
from backends.ports import StoreFull, StoreUnavailable

# minio-py raises a `ValueError` for an answer that it cannot read, and where it finds no credentials.
ERRORS: Final = (MinioException, HTTPError, OSError, ValueError, ParseError)
_FULL = re.compile(r".*(StorageFull|QuotaExceeded|InsufficientStorage)")
_ASKED = {
    "put": "put an object",
    "get": "get an object",
    "stream": "get an object",
    "list": "list objects",
    "delete": "delete objects",
    "delete_below": "delete objects",
    "sweep": "sweep up",
    "sweep_table": "sweep up",
    "list_table": "list a table's files",
    "stream_table": "get a table's file",
    "put_table": "put a table's file",
    "check": "write to it",
    "missing": "look for the bucket",
    "table_location": "find credentials",
    "signed_url": "sign a URL",
    "keep_reserve": "set room aside",
    "spend_reserve": "give up the room set aside",
    "close": "close its connections",
}
_WORDS = {
    "NoSuchBucket": "the bucket is gone",
    "AccessDenied": "the credentials do not allow it",
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "InvalidTokenId": "the session token is wrong",
    "ExpiredToken": "the session token is too old",
    "AuthorizationHeaderMalformed": "the server is in another region: see the option region",
    "RequestTimeTooSkewed": "the clocks of the server and of this machine differ",
}
_ON_THE_WAY = {
    "NameResolutionError": "nobody knows the name of this host",
    "NewConnectionError": "nothing answers at this address",
    "ConnectTimeoutError": "nothing answers at this address",
    "ReadTimeoutError": "it does not answer in time",
}


def fault(url: MinioUrl, error: Exception, method: str) -> StoreUnavailable:
    """Turn `error`, which the port's `method` met at `url`, into the port's error, with the remedy in words."""
    failed = f"{url}: could not {_ASKED[method]}"
    if not isinstance(error, S3Error):
        name = type(error).__name__
        return StoreUnavailable(f"{failed}: {_ON_THE_WAY[name]} ({name})" if name in _ON_THE_WAY else f"{failed}: {name}")
    code = error.code or ""
    is_full = bool(_FULL.match(code)) or error.response.status == 507
    words = _WORDS.get(code, "there is no room" if is_full else code)
    return (StoreFull if is_full else StoreUnavailable)(f"{failed}: {words} ({code})")
