"""What MinIO's errors mean to the port."""

from __future__ import annotations

import re
from xml.etree.ElementTree import ParseError

from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from backends.minio_urls import Place
from backends.ports import Conflict, NoSuchObject, StoreFull, StoreUnavailable

NOT_MET = ("PreconditionFailed", "ConditionalRequestConflict")
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
    """Turns what minio-py and urllib3 raise into what the port promises. asked: in words; key: the object asked for."""

    def __init__(self, place: Place, asked: str, key: str | None = None) -> None:
        self._place, self._asked, self._key = place, asked, key

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, S3Error):
            self._raise(error)
        # minio-py raises a `ValueError` for an answer that it cannot read, and where it finds no credentials.
        if isinstance(error, MinioException | HTTPError | OSError | ValueError | ParseError):
            raise StoreUnavailable(f"{self._place}: could not {self._asked}: {type(error).__name__}") from error

    def _raise(self, error: S3Error) -> None:
        code = error.code or ""
        if code == "NoSuchKey" and self._key is not None:
            raise NoSuchObject(self._key) from error
        if code in NOT_MET and self._key is not None:
            raise Conflict(f"there is an object already: {self._key!r}") from error
        full = _FULL.match(code) or error.response.status == 507
        words = f"could not {self._asked}: {_WORDS.get(code, 'there is no room' if full else code)} ({code})"
        raise (StoreFull if full else StoreUnavailable)(f"{self._place}: {words}") from error
