"""Uploads bodies to a service's Ingest API, and waits where the service asks for it or is down."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import msgspec
import urllib3

from smarthouse_api.recorder.faults import BodyTooLarge, ImportFault

PATH: Final = "/api/ingest/data"
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_OWN_PATH: Final = re.compile(r"(/api(/ingest(/data)?)?)?/*$")
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
_QUOTA: Final = "The home's quota is reached"
"""The title of a 413 that no smaller body mends: `smarthouse_api.errors.HOME_QUOTA`."""

_TRY_AGAIN: Final = {408, 425, 429, 500, 502, 503, 504}
_PATIENCE_SECONDS: Final = 3600.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_LONGEST_WAIT_SECONDS: Final = 3600.0


class Receipt(msgspec.Struct, frozen=True):
    """What the service says of an upload. duplicate: it had these bytes already. detail: why it made no records of them."""

    records: int
    ignored: int
    duplicate: bool
    statistics: int = 0
    detail: str | None = None


class Problem(msgspec.Struct, frozen=True):
    """What the service says of an upload that it refuses."""

    detail: str = ""
    title: str = ""


class Service:
    """Uploads for one home to one service.

    1. A 429 or 503 is sent again after its `Retry-After`.
    2. An outage is waited for with growing pauses, for an hour. If nobody ever answered, it is a fault at once.
    3. A redirect is not followed: the home's UUID goes to the address that the user gave, and to no other.
    """

    def __init__(
        self,
        url: str,
        uuid: str,
        say: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
        api_key: str | None = None,
    ) -> None:
        """url: as `address` made it. uuid: as `checked_uuid` gives it. say: tells the user why nothing happens for a while."""
        self._authorization = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._url, self._uuid, self._say, self._pause = url, uuid, say, pause
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=10, read=120))
        self._is_reached = False

    def upload(self, body: bytes, key: str) -> Receipt:
        """Send a body until the service answers 200; its bytes are durable then. Raises `BodyTooLarge`, `ImportFault`."""
        gives_up_at, attempt = time.monotonic() + _PATIENCE_SECONDS, 0
        while True:
            response, why = self._post(body, key)
            if response is not None and response.status not in _TRY_AGAIN:
                return self._receipt(response)
            seconds = _asked_for(response)
            if response is not None and response.status == 429:
                gives_up_at = time.monotonic() + _PATIENCE_SECONDS + (seconds or 0)
            if time.monotonic() > gives_up_at:
                raise ImportFault(f"{why}, for more than an hour; run the command again to go on where it stopped")
            if seconds is None:
                seconds = min(_LONGEST_PAUSE_SECONDS, 2.0**attempt)
            attempt += 1
            self._say(f"{why}; next attempt in {seconds:.0f} s")
            self._pause(seconds)

    def _post(self, body: bytes, key: str) -> tuple[urllib3.BaseHTTPResponse | None, str]:
        headers = {"Home-UUID": self._uuid, "Idempotency-Key": key, "Content-Type": "application/octet-stream"}
        headers |= self._authorization
        try:
            response = self._pool.request("POST", self._url, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.SSLError as fault:
            raise ImportFault(f"{self._url}: TLS fails: {fault}") from None
        except urllib3.exceptions.HTTPError as fault:
            if not self._is_reached:
                raise ImportFault(
                    f"{self._url}: nobody answers ({fault}); is the address right, and does the service run?"
                ) from None
            return None, f"{self._url} does not answer"
        self._is_reached = True
        return response, f"The service answers {response.status}: {self._detail(response)}"

    def _receipt(self, response: urllib3.BaseHTTPResponse) -> Receipt:
        if response.status == 200:
            with suppress(msgspec.DecodeError):
                receipt = msgspec.json.decode(response.data, type=Receipt)
                is_repeat = receipt.duplicate or "Idempotency-Replayed" in response.headers
                return msgspec.structs.replace(receipt, duplicate=is_repeat)
        detail = self._detail(response)
        if response.status == 413 and self._problem(response).title != _QUOTA:
            raise BodyTooLarge(f"The service answers 413: {detail}")
        if response.status in (200, 404, 405) or 300 <= response.status < 400:
            raise ImportFault(f"{self._url} answers {response.status}, and not as the Ingest API does; is the address right?")
        raise ImportFault(f"The service answers {response.status}: {detail}")

    def _detail(self, response: urllib3.BaseHTTPResponse) -> str:
        """What the answer says, without the UUID, which a proxy may repeat."""
        detail = self._problem(response).detail
        told = re.sub(re.escape(self._uuid), "(the home's UUID)", detail, flags=re.IGNORECASE)
        return " ".join(told.split())[:500] or response.reason or "no reason given"

    @staticmethod
    def _problem(response: urllib3.BaseHTTPResponse) -> Problem:
        try:
            return msgspec.json.decode(response.data, type=Problem)
        except msgspec.DecodeError:
            return Problem()


def checked_uuid(text: str) -> str:
    """Normalise a home's UUID. Raises `ImportFault`, which does not repeat it."""
    uuid = text.strip().lower()
    if not _UUID.fullmatch(uuid):
        raise ImportFault("This is not the UUID of a home; it has 32 hexadecimal digits, written 8-4-4-4-12")
    return uuid


def address(given: str) -> str:
    """Make the URL of the Ingest API from the service's. Raises `ImportFault`."""
    parts, is_sound = urlsplit(""), False
    with suppress(ValueError):
        parts = urlsplit(given.strip())
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    if not is_sound or parts.query or parts.fragment or parts.username is not None:
        raise ImportFault(
            "--to must be the service's address, such as https://lake.example.org, without user, password or query"
        )
    return f"{parts.scheme}://{parts.netloc}{_OWN_PATH.sub('', parts.path, count=1)}{PATH}"


def is_readable_on_the_way(url: str) -> bool:
    """Tell whether the UUID would go over a network unencrypted."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in _LOOPBACK


def _asked_for(response: urllib3.BaseHTTPResponse | None) -> float | None:
    """Seconds that the service asks to wait for."""
    if response is None:
        return None
    with suppress(urllib3.exceptions.InvalidHeader):
        found = urllib3.Retry().get_retry_after(response)
        return None if found is None else min(found, _LONGEST_WAIT_SECONDS)
    return None
