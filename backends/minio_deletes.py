"""Delete objects, also those that somebody reads for as long as a signed URL of the server's own lets them.

MinIO lets a deletion wait while it sends some of the object. A deletion by force, of what lies below `<name>/`, waits for
nobody, and removes the object of that name. Who reads it gets no more than the part of the upload that is being sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from minio.deleteobjects import DeleteError, DeleteObject
from minio.error import S3Error
from urllib3.exceptions import ReadTimeoutError

from backends.minio_connections import MinioClient, MinioClients
from backends.minio_damage import METADATA, MinioDamage
from backends.minio_urls import MinioUrl
from backends.ports import ObjectInUse, StoreUnavailable

_BATCH: Final = 1000
"""As many as S3 takes at once."""

_FEW: Final = 10
"""So many are deleted soon, if nobody reads them: each file that somebody reads would cost a whole time-out."""


class MinioDeletes:
    """Deletes what a bucket holds."""

    def __init__(self, url: MinioUrl, clients: MinioClients, damage: MinioDamage) -> None:
        self._url, self._clients, self._damage = url, clients, damage

    def remove(self, names: Iterable[str]) -> None:
        """Remove the objects of these names, which are those in the bucket."""
        session, failed, left = self._clients.open(), list[DeleteError](), iter(names)
        while some := list(islice(left, _BATCH)):
            for name in some:
                self._damage.forget(name)
            failed += self._removed(session, some)
        for damaged in [one.name for one in failed if one.code == METADATA and one.name]:
            session.remove_below(damaged)
        failed = [one for one in failed if one.code != METADATA]
        if failed:
            raise StoreUnavailable(f"{self._url}: {len(failed)} objects could not be deleted, the first: {failed[0].code}")

    def _removed(self, session: MinioClient, names: Sequence[str]) -> list[DeleteError]:
        """Remove some objects; what could not be removed, and why."""
        try:
            client = session.brisk if len(names) <= _FEW else session.client
            return [*client.remove_objects(self._url.bucket, map(DeleteObject, names))]
        except ReadTimeoutError as error:
            self._remove_by_force(session, names, error)
            return []

    def _remove_by_force(self, session: MinioClient, names: Sequence[str], error: Exception) -> None:
        """Remove objects that somebody may be reading. Fails as any call does if the server answers nothing at all."""
        for name in names:
            session.remove_below(f"{name}/")
        # Another server than MinIO does nothing of the kind.
        if left := sum(self._is_there(session, name) for name in names):
            raise ObjectInUse(
                f"{self._url}: {left} objects could not be deleted in time; somebody may be reading them"
            ) from error

    def _is_there(self, session: MinioClient, name: str) -> bool:
        try:
            session.client.stat_object(self._url.bucket, name)
        except S3Error as error:
            if error.code != "NoSuchKey":
                raise
            return False
        return True
