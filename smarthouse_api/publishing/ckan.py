"""A CKAN portal: its datasets, and their resources with files that are sent as they are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import IO, Any, Final, TypeVar

import requests
from ckanapi import RemoteCKAN
from ckanapi.errors import CKANAPIError, NotAuthorized, NotFound, ServerIncompatibleError, ValidationError
from requests_toolbelt import MultipartEncoder

from smarthouse_api.publishing.faults import PortalAway, PublishingFault
from smarthouse_api.version import own_version

_SECONDS: Final = (10.0, 300.0)
"""To connect, and to wait for an answer once everything is sent."""

_STATUS: Final = re.compile(r", ([1-5]\d\d), ")
"""In ckanapi's words: the URL, the status, the answer."""

Answer = TypeVar("Answer")


class Portal:
    """Speaks to a CKAN as one of its users. url: of the portal. token: an API token of that user, which no error repeats."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._ckan = _Streaming(url, apikey=token, user_agent=f"smarthouse/{own_version()}")

    def close(self) -> None:
        self._ckan.close()

    def package(self, name: str) -> dict[str, Any] | None:
        """Read a dataset with its resources; None if there is none that this user may see. Raises `PublishingFault`."""
        try:
            return self._answer(lambda: dict(self._ckan.call_action("package_show", {"id": name})))
        except _Nothing:
            return None

    def create(self, package: Mapping[str, Any]) -> dict[str, Any]:
        """Create a dataset. Raises `PublishingFault`."""
        return self._answer(lambda: dict(self._ckan.call_action("package_create", dict(package))))

    def patch(self, id_: str, changes: Mapping[str, Any]) -> None:
        """Change some fields of a dataset. Raises `PublishingFault`."""
        self._answer(lambda: self._ckan.call_action("package_patch", {"id": id_, **changes}))

    def put(self, package_id: str, resource_id: str | None, fields: Mapping[str, str], file: IO[bytes]) -> None:
        """Upload a file as a resource: a new one, or in the place of another. fields: `name` is also the file's."""
        action, known = "resource_create", {"package_id": package_id}
        if resource_id is not None:
            action, known = "resource_update", {"id": resource_id}
        files = {"upload": (fields["name"], file, fields["mimetype"])}
        self._answer(lambda: self._ckan.call_action(action, {**fields, **known}, files=files))

    def patch_resource(self, resource_id: str, fields: Mapping[str, str]) -> None:
        """Change fields of a resource, and leave its file as it is. Raises `PublishingFault`."""
        self._answer(lambda: self._ckan.call_action("resource_patch", {"id": resource_id, **fields}))

    def remove(self, resource_id: str) -> None:
        """Remove a resource and its file. Raises `PublishingFault`."""
        try:
            self._answer(lambda: self._ckan.call_action("resource_delete", {"id": resource_id}))
        except _Nothing:
            return

    def _answer(self, ask: Callable[[], Answer]) -> Answer:
        try:
            return ask()
        except NotFound:
            raise _Nothing(f"{self._url}: there is no such thing; does the token's user see it?") from None
        except NotAuthorized:
            raise PublishingFault(
                f"{self._url}: the token's user may not do this; use a token of an editor of the organization"
            ) from None
        except ValidationError as fault:
            raise PublishingFault(f"{self._url} refuses it: {_told(fault.error_dict)}") from None
        except requests.exceptions.SSLError:
            raise PublishingFault(
                f"{self._url}: its certificate is not trusted; name your own authority's in REQUESTS_CA_BUNDLE"
            ) from None
        except (requests.RequestException, CKANAPIError, ServerIncompatibleError) as fault:
            raise PortalAway(f"{self._url} does not answer as a CKAN does ({_kind(fault)})") from None


class _Nothing(PublishingFault):
    """Says that the portal has no such thing."""


class _Streaming(RemoteCKAN):  # type: ignore[misc] # ckanapi is not typed
    """Sends files as they are read. ckanapi itself reads them into memory first."""

    def _request_fn(
        self, url: str, data: Any, headers: dict[str, str], files: Any, requests_kwargs: dict[str, Any]
    ) -> tuple[int, str]:
        if files:
            fields = {name.decode(): value.decode() for name, value in data.items()}
            data, files = MultipartEncoder(fields | files), None
            headers = headers | {"Content-Type": data.content_type}
        status, text = super()._request_fn(url, data, headers, files, {**requests_kwargs, "timeout": _SECONDS})
        return status, text


def _kind(fault: Exception) -> str:
    """Name a fault of the connection, or the status that came instead of an answer. Its own words may hold what was sent."""
    if isinstance(fault, requests.RequestException):
        return type(fault).__name__
    status = _STATUS.search(str(fault))
    return type(fault).__name__ if status is None else f"status {status[1]}"


def _told(faults: Mapping[str, Any]) -> str:
    """Write what CKAN found wrong, field by field, and what to do about what comes up most."""
    told = "; ".join(f"{name}: {_flat(words)}" for name, words in faults.items() if name != "__type")
    if "owner_org" in faults:
        told += ". Name one with --organization"
    if "upload" in faults:
        told += ". Choose smaller --pieces, or raise ckan.max_resource_size there"
    return told


def _flat(words: Any) -> str:
    return ", ".join(map(str, words)) if isinstance(words, list) else str(words)
