"""URLs to follow a stream: a signed URL lets its bearer follow one stream, as long as the key that it was made with would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from backends.ports import StateStore
from config.groups import StreamSettings
from smarthouse_api.access.grants import Access
from smarthouse_api.access.keys import KeyRecord
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.errors import Forbidden, NotFound
from smarthouse_api.streams.catalogue import StreamCatalogue
from smarthouse_api.streams.heads import Heads
from smarthouse_api.streams.model import Stream
from smarthouse_api.streams.signed_urls import ALTERED, UrlSigner

_SIGNED: Final = ("stream", "key", "start", "stop")


@dataclass(frozen=True, slots=True)
class FollowUrl:
    """Tells a client where to follow a stream: at the service's own URL with this query, until `expires_at`."""

    query: dict[str, str]
    expires_at: datetime


class FollowUrls:
    """Makes and checks URLs that follow a stream. Each is good for one stream and one key, until it expires.

    The digest of the key's secret is signed too, and does not stand in the URL: a secret that is rotated ends the URL.
    """

    def __init__(
        self,
        state: StateStore,
        catalogue: StreamCatalogue,
        heads: Heads,
        access: Access,
        keyring: Keyring,
        settings: StreamSettings,
    ) -> None:
        self._catalogue, self._heads, self._access = catalogue, heads, access
        self._signer, self._seconds = UrlSigner(state, keyring, "follow", *_SIGNED), settings.follow_url_seconds

    def make(self, stream: Stream, key_id: str, digest: bytes, start: int | None, stop: int | None) -> FollowUrl:
        """Make a URL for the packets from `start` to `stop`, for the holder of a key with this digest of its secret.

        start: None for the next packet from now on. A client that loses the connection before that packet does not miss it.
        stop: None for no end.
        """
        first = self._heads.look(stream).head.next if start is None else start
        query = {"stream": stream.key, "key": key_id, "start": str(first), **({} if stop is None else {"stop": str(stop)})}
        signed = self._signer.signed(query, self._seconds, digest)
        return FollowUrl(signed, datetime.fromtimestamp(int(signed["expires"]), UTC))

    def open(self, home_id: int, module_id: str, name: str, query: Mapping[str, str]) -> tuple[Stream, int, int | None]:
        """Return the stream that `make` gave this query for, and the first and last index. Raises `Forbidden`, `NotFound`."""
        self.check(home_id, query)
        stream = self._catalogue.get(home_id, module_id, name)
        if stream is None or stream.key != query["stream"]:
            raise NotFound("The stream of this URL does not exist, or not any more", reason="STREAM_NOT_FOUND")
        return stream, int(query["start"]), int(query["stop"]) if query.get("stop") else None

    def check(self, home_id: int, query: Mapping[str, str]) -> None:
        """Refuse a query that `make` did not give, that expired, or whose key does not open the home. Raises `Forbidden`."""
        self._access.require_home(self._key_of(query), home_id)
        self._signer.check_expiry(query)

    def _key_of(self, query: Mapping[str, str]) -> KeyRecord:
        key = self._access.recognise(query.get("key", ""), lambda digest: self._signer.is_signed(query, digest))
        if key is None:
            told = "The URL is not as it was made, or its key does not work any more; ask the stream for a new one"
            raise Forbidden(told, reason=ALTERED)
        return key
