"""Access: which API keys an installation has, what they open, and which project each of its homes belongs to.

A key's text is shown once, when it is made. In the state store, space `access`:

    key/<id>            what the key opens, and the digest of its secret
    home/<home id>      the project that the home is assigned to
    begun               an empty document: a key was made here at some time
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from backends.ports import ABSENT, Change, Conflict, Document, Put, StateStore, StoreUnavailable
from smarthouse_api.access import keys
from smarthouse_api.access.keys import KeyDocument, KeyRecord
from smarthouse_api.coordination.keyring import SPACE as INSTALLATION
from smarthouse_api.coordination.single_flight import SingleFlight
from smarthouse_api.errors import Forbidden, Invalid, Unauthorized

SPACE = "access"
LARGEST_HOME: Final = 2**63 - 1
_BEGUN = "begun"
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,100}")
_LONGEST_SECONDS = 100 * 365 * 86400.0


class Access:
    """Decides what a client may do: keeps the keys of one installation and its homes' projects.

    Keys expire by this process's clock.
    """

    def __init__(self, state: StateStore) -> None:
        self._state = state
        self._looks = SingleFlight[Document | None]()

    def authenticate(self, authorization: str | None) -> KeyRecord:
        """Find the key that an `Authorization` header shows. Raises `Unauthorized`, which repeats nothing of the value.

        The store is asked each time: a key that one process revokes is worthless in every other at once.
        """
        id_, secret = keys.key_in(authorization)
        found = self._looks.ask(id_, lambda: self._find(id_))
        # A key that does not exist takes the same way as one that does, so that the time it takes tells nothing.
        kept = keys.decoded(keys.NOBODYS if found is None else found.value)
        if not kept.opens(secret, _now()):
            raise Unauthorized("The key is unknown, expired or revoked; ask the operator of the service for another")
        return kept.record

    def require_home(self, key: KeyRecord, home_id: int) -> None:
        """Refuse a key that does not open the home, in the same words whether the home exists or not. Raises `Forbidden`."""
        if key.admin or home_id in key.homes:
            return
        if key.project is None or key.project != self._project_of(home_id):
            raise Forbidden("The key does not open this home; use a key of the home, or of the project that it belongs to")

    def require_collection(self, key: KeyRecord, collection_id: str | None) -> None:
        """Refuse a key that does not open the collection. Raises `Forbidden`.

        collection_id: None for a collection that does not exist, which is refused in the same words.
        """
        if not (key.admin or (collection_id is not None and key.names_collection(collection_id))):
            raise Forbidden("The key does not open this collection; use one that names its id, or ask for such a key")

    def require_admin(self, key: KeyRecord) -> None:
        """Refuse any key that is not an operator's. Raises `Forbidden`."""
        if not key.admin:
            raise Forbidden("This is for the operator; use an admin key")

    def require_export(self, key: KeyRecord) -> None:
        """Refuse a key that does not open the rows of exports. Raises `Forbidden`."""
        if not (key.admin or key.export):
            raise Forbidden("The key does not open exports; ask the operator for a key with that grant")

    def create(
        self,
        name: str,
        *,
        project: str | None = None,
        homes: Iterable[int] = (),
        datasources: Iterable[str] = (),
        datasets: Iterable[str] = (),
        admin: bool = False,
        export: bool = False,
        expires_seconds: float | None = None,
    ) -> tuple[KeyRecord, str]:
        """Make a key, and its text, which is stored nowhere. expires_seconds: from now; None: never. Raises `Invalid`."""
        record = KeyRecord(
            id=keys.new_id(),
            name=_name(name, "name"),
            project=None if project is None else _name(project, "project"),
            homes=tuple(sorted({_home(one) for one in homes})),
            datasources=tuple(sorted({_name(one, "data source") for one in datasources})),
            datasets=tuple(sorted({_name(one, "dataset") for one in datasets})),
            admin=admin,
            export=export,
            created_at=_now(),
            expires_at=None if expires_seconds is None else _from_now(expires_seconds),
        )
        if not (admin or export or project or record.homes or record.datasources or record.datasets):
            raise Invalid(
                "A key must open something: a project, a home, a data source, a dataset, exports, or all of it (admin)"
            )
        return record, self._add(record)

    def list(self) -> list[KeyRecord]:
        """List all keys that were not revoked, expired ones included, the oldest first."""
        records = (keys.decoded(document.value).record for _, document in self._state.scan_all(SPACE, "key/"))
        return sorted(records, key=lambda record: (record.created_at, record.id))

    def revoke(self, id_: str) -> bool:
        """Delete the key, so that it opens nothing any more; whether there was one."""
        while (found := self._find(id_)) is not None:
            with suppress(Conflict):
                self._state.commit(SPACE, Change(expect={f"key/{id_}": found.version}, deletes=(f"key/{id_}",)))
                return True
        return False

    def rotate(self, id_: str, keep_old_seconds: float = 0.0) -> str | None:
        """Give a key a new secret, and return its new text; None if there is no such key. Raises `Invalid`.

        What the key opens and when it expires stays. keep_old_seconds: for so long the present secret works too. A secret that
        an earlier rotation kept is worthless from now on.
        """
        old_until = _from_now(keep_old_seconds) if keep_old_seconds else _now()
        secret = keys.new_secret()
        while (found := self._find(id_)) is not None:
            rotated = keys.decoded(found.value).rotated(secret, old_until).encoded()
            try:
                self._state.put(SPACE, f"key/{id_}", rotated, expect=found.version)
            except Conflict:
                continue
            except StoreUnavailable:
                # If it took effect, nobody else knows the new secret, and asking again would end the one in use.
                if (kept := self._find(id_)) is None or kept.value != rotated:
                    raise
            return keys.text(id_, secret)
        return None

    def first_key(self) -> str | None:
        """Make the first admin key of a new installation; its text for one caller in all processes, None for the others.

        An installation is new while neither a key nor the keyring's secret was ever made: so ask before anything is served.
        If the process dies before the text is read, the text is lost: `smarthouse keys create --admin` makes another key.
        """
        if self._state.get(SPACE, _BEGUN) is not None or self._state.get(INSTALLATION, "secret") is not None:
            return None
        record = KeyRecord(id=keys.new_id(), name="first", admin=True, created_at=_now())
        try:
            return self._add(record, {_BEGUN: ABSENT})
        except Conflict:
            return None

    def assign(self, home_ids: Iterable[int], project: str | None) -> None:
        """Assign homes to a project, or with None to no project: all of them, or after a fault none. Raises `Invalid`."""
        names = tuple(f"home/{_home(one)}" for one in home_ids)
        if project is None:
            self._state.commit(SPACE, Change(deletes=names))
            return
        value = _name(project, "project").encode()
        self._state.commit(SPACE, Change(puts=tuple(Put(name, value) for name in names)))

    def unassign(self, home_id: int) -> None:
        """Take the home from its project, if it has one."""
        self.assign([home_id], None)

    def assignments(self) -> dict[int, str]:
        """List the homes that have a project: home id -> project, by home id."""
        found = self._state.scan_all(SPACE, "home/")
        return dict(sorted((int(name.partition("/")[2]), document.value.decode()) for name, document in found))

    def _project_of(self, home_id: int) -> str | None:
        found = self._state.get(SPACE, f"home/{home_id}") if 0 <= home_id <= LARGEST_HOME else None
        return None if found is None else found.value.decode()

    def _find(self, id_: str) -> Document | None:
        return self._state.get(SPACE, f"key/{id_}") if keys.is_id(id_) else None

    def _add(self, record: KeyRecord, expect: dict[str, int] | None = None) -> str:
        """Store the record with a new secret, and that keys were made here; the key's text. Raises `Conflict`."""
        secret, name = keys.new_secret(), f"key/{record.id}"
        document = KeyDocument(record, keys.digest(secret), bytes(32), record.created_at)
        puts = (Put(name, document.encoded()), Put(_BEGUN, b""))
        self._state.commit(SPACE, Change(expect={name: ABSENT, **(expect or {})}, puts=puts))
        return keys.text(record.id, secret)


def _now() -> datetime:
    return datetime.now(UTC)


def _from_now(seconds: float) -> datetime:
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise Invalid("The time that a key works for must be more than 0 seconds, and at most 100 years")
    return _now() + timedelta(seconds=seconds)


def _name(given: str, what: str) -> str:
    if not _NAME.fullmatch(given) or not given.strip():
        raise Invalid(f"The {what} must be 1 to 100 characters, not all of them blank, without control characters")
    return given


def _home(home_id: int) -> int:
    if not 0 <= home_id <= LARGEST_HOME:
        raise Invalid(f"The id of a home must be an integer from 0 to {LARGEST_HOME}")
    return home_id
