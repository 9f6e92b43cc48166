"""Tell an object that is damaged on the server's disks from a server that does not answer.

MinIO answers both with `SlowDownRead` or `InternalError`, or breaks off in the middle of the bytes. An object is damaged if:

1. the server answers for a key that does not exist: it reads its disks;
2. it describes the object, or says that it cannot read the description; if the object's disks are away, it says neither;
3. it fails for the same bytes again.
"""

from __future__ import annotations

import time
from typing import Final
from uuid import uuid4

from minio.error import S3Error, ServerError
from urllib3.exceptions import HTTPError, IncompleteRead, ProtocolError

from backends.minio_connections import MinioClients
from backends.minio_urls import MinioUrl

METADATA: Final = "InternalError"
"""What the server answers for an object whose description it cannot read. No list has such an object."""

_SUSPECT: Final = ("SlowDownRead", METADATA)
_REMEMBERED_SECONDS: Final = 5.0
_MOST_REMEMBERED: Final = 1000


class MinioDamage:
    """Finds objects that are damaged, and remembers each for some seconds: finding out takes as long as an outage."""

    def __init__(self, url: MinioUrl, clients: MinioClients) -> None:
        self._url, self._clients = url, clients
        self._found = dict[str, float]()

    def is_known(self, name: str) -> bool:
        """Tell whether an object was found damaged a moment ago. name: in the bucket."""
        return time.monotonic() - self._found.get(name, float("-inf")) < _REMEMBERED_SECONDS

    def forget(self, name: str) -> None:
        """Forget what was found: the object is replaced or deleted."""
        self._found.pop(name, None)

    def is_cause(self, name: str, error: Exception, start: int) -> bool:
        """Tell whether reading an object failed because it is damaged. start: the first byte that was asked for."""
        if (at := _failed_at(error, start)) is None or not self._is_readable(name) or not self._fails_again(name, at):
            return False
        if not self._answers():
            return False
        if len(self._found) >= _MOST_REMEMBERED:
            self._found.clear()
        self._found[name] = time.monotonic()
        return True

    def _is_readable(self, name: str) -> bool:
        """Tell whether the disks of an object answer, though its description may be damaged."""
        try:
            self._clients.open().client.stat_object(self._url.bucket, name)
        except ServerError as error:
            return bool(error.status_code == 500)
        except (S3Error, HTTPError):
            return False
        return True

    def _answers(self) -> bool:
        """Tell whether the server looks for an object that does not exist, and finds none."""
        try:
            self._clients.open().client.stat_object(self._url.bucket, f"{self._url.prefix}checks/{uuid4().hex}")
        except S3Error as error:
            return bool(error.code == "NoSuchKey")
        except (ServerError, HTTPError):
            return False
        return False

    def _fails_again(self, name: str, start: int) -> bool:
        """Tell whether not one more byte of an object can be read. start: where reading it has failed."""
        try:
            answer = self._clients.open().client.get_object(self._url.bucket, name, offset=start)
        except S3Error as error:
            return error.code in _SUSPECT
        except HTTPError:
            return False
        try:
            return not answer.read(1)
        except ProtocolError as error:
            return _failed_at(error, start) == start
        except HTTPError:
            return False
        finally:
            answer.close()
            answer.release_conn()


def _failed_at(error: Exception, start: int) -> int | None:
    """Return the first byte that could not be read; None for an error that no damage causes."""
    if isinstance(error, S3Error):
        return start if error.code in _SUSPECT else None
    cause = error.args[-1] if isinstance(error, ProtocolError) and error.args else error
    return start + int(cause.partial) if isinstance(cause, IncompleteRead) and isinstance(cause.partial, int) else None
