"""What MinIO's errors mean to the port."""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import ParseError

from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from backends.minio_urls import Place
from backends.ports import StoreError, StoreFull, StoreUnavailable

# minio-py raises a `ValueError` for an answer that it cannot read, and where it finds no credentials.
ERRORS: Final = (MinioException, HTTPError, OSError, ValueError, ParseError)
NOT_MET: Final = ("PreconditionFailed", "ConditionalRequestConflict")
"""The codes of a condition that did not hold."""

_FULL = re.compile(r".*(StorageFull|QuotaExceeded|InsufficientStorage)")
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


class translated:
    """Turns what minio-py and urllib3 raise into what the port promises.

    For what a session asks by itself, before the store's methods do: each says in its own words what it could not do.
    """

    def __init__(self, place: Place, asked: str) -> None:
        self._place, self._asked = place, asked

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ERRORS):
            raise fault(self._place, self._asked, error) from error


def fault(place: Place, asked: str, error: Exception) -> StoreError:
    """What the port promises to raise. asked: what was asked of the server, in words."""
    if not isinstance(error, S3Error):
        return StoreUnavailable(f"{place}: could not {asked}: {type(error).__name__}")
    code = error.code or ""
    is_full = bool(_FULL.match(code)) or error.response.status == 507
    words = f"could not {asked}: {_WORDS.get(code, 'there is no room' if is_full else code)} ({code})"
    return (StoreFull if is_full else StoreUnavailable)(f"{place}: {words}")
