"""Access: which API keys an installation has, what they open, and which project each of its homes belongs to.

A key's text is shown once, when it is made. In the state store, space `access`:

    key/<id>            what the key opens, and the digest of its secret
    home/<home id>      the project that the home is assigned to; see `smarthouse_api.access.projects`
    begun               an empty document: a key was made here at some time
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from backends.ports import ABSENT, Change, Conflict, Document, PartDamaged, Put, StateStore, StoreUnavailable
from smarthouse_api.access import keys
from smarthouse_api.access.keys import KeyDocument, KeyRecord
from smarthouse_api.access.projects import LARGEST_HOME as LARGEST_HOME
from smarthouse_api.access.projects import SPACE as SPACE
from smarthouse_api.access.projects import Projects, home_in, name_in
from smarthouse_api.coordination.keyring import SPACE as INSTALLATION
from smarthouse_api.coordination.notes import Notes, digest_of
from smarthouse_api.coordination.single_flight import SingleFlight
from smarthouse_api.coordination.sound_scans import scan_past_damage
from smarthouse_api.errors import Forbidden, Invalid, Unauthorized

_BEGUN = "begun"
_LONGEST_SECONDS = 100 * 365 * 86400.0


class Access:
    """Decides what a client may do: keeps the keys of one installation and its homes' projects.

    Keys expire by this process's clock.
    """

    def __init__(self, state: StateStore, notes: Notes) -> None:
        self._state, self._notes = state, notes
        self.projects = Projects(state, notes)
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

    def recognise(self, id_: str, is_it: Callable[[bytes], bool]) -> KeyRecord | None:
        """Find the key with this id; None if it works no more, or none of its secrets that work is the one.

        is_it: tells it from the digest of a secret.
        """
        found = self._find(id_)
        kept = keys.decoded(keys.NOBODYS if found is None else found.value)
        return kept.record if kept.is_working(is_it, _now()) else None

    def require_home(self, key: KeyRecord, home_id: int) -> None:
        """Refuse a key that does not open the home, in the same words whether the home exists or not. Raises `Forbidden`."""
        if key.admin or home_id in key.homes:
            return
        if key.project is None or key.project != self.projects.of(home_id):
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

    def require_ingest(self, key: KeyRecord) -> None:
        """Refuse a key with which no home may upload or delete. Raises `Forbidden`."""
        if not (key.admin or key.ingest):
            raise Forbidden("The key does not open uploads; ask the operator for a key with that grant")

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
        ingest: bool = False,
        expires_seconds: float | None = None,
    ) -> tuple[KeyRecord, str]:
        """Make a key, and its text, which is stored nowhere. expires_seconds: from now; None: never. Raises `Invalid`."""
        record = KeyRecord(
            id=keys.new_id(),
            name=name_in(name, "name"),
            project=None if project is None else name_in(project, "project"),
            homes=tuple(sorted({home_in(one) for one in homes})),
            datasources=tuple(sorted({name_in(one, "data source") for one in datasources})),
            datasets=tuple(sorted({name_in(one, "dataset") for one in datasets})),
            admin=admin,
            export=export,
            ingest=ingest,
            created_at=_now(),
            expires_at=None if expires_seconds is None else _from_now(expires_seconds),
        )
        if not (admin or export or ingest or project or record.homes or record.datasources or record.datasets):
            raise Invalid(
                "A key must open something: a project, a home, a data source, a dataset, exports, uploads, or all of it (admin)"
            )
        return record, self._add(record)

    def list(self) -> list[KeyRecord]:
        """List all keys that were not revoked, expired ones included, the oldest first. Damaged ones are left out."""
        found = scan_past_damage(self._state, SPACE, "key/")
        records = (keys.decoded(document.value).record for _, document in found if document is not None)
        return sorted(records, key=lambda record: (record.created_at, record.id))

    def damaged(self) -> Sequence[str]:
        """List the ids of the keys that are damaged: they open nothing, and can only be revoked."""
        found = scan_past_damage(self._state, SPACE, "key/")
        return [name.removeprefix("key/") for name, document in found if document is None]

    def revoke(self, id_: str) -> bool:
        """Delete the key, so that it opens nothing any more, nor if a backup brings it back; whether there was one."""
        was_there = self._remove(id_)
        if keys.is_id(id_):  # also if it was gone: so a revocation that died before its note can be repeated
            self._notes.leave([digest_of(f"key/{id_}")])
        return was_there

    def end_noted(self, noted: Collection[str]) -> int:
        """Revoke again each key that was revoked after a backup, and end each secret that was rotated out; how many keys.

        A key whose only known secret was rotated out stays, with its grants, and opens nothing until it is rotated.
        """
        count = 0
        for name, document in self._state.scan_all(SPACE, "key/"):
            kept = keys.decoded(document.value)
            if digest_of(name) in noted:
                count += self._remove(kept.record.id)
            elif (left := kept.without(lambda digest: _note_of(digest) in noted)) != kept:
                self._state.put(SPACE, name, left.encoded(), expect=document.version)
                count += 1
        return count

    def digests(self) -> Iterator[str]:
        """Name the notes that revoking all keys, rotating them, and ending all assignments would leave."""
        for name, document in self._state.scan_all(SPACE, "key/"):
            kept = keys.decoded(document.value)
            yield from (digest_of(name), _note_of(kept.digest), _note_of(kept.old_digest))
        yield from self.projects.digests()

    def _remove(self, id_: str) -> bool:
        """Delete the key; whether there was one."""
        while True:
            try:
                if (found := self._find(id_)) is None:
                    return False
            except PartDamaged as fault:
                self._state.commit(SPACE, Change(deletes=(fault.part.name,)))
                return True
            with suppress(Conflict):
                self._state.commit(SPACE, Change(expect={f"key/{id_}": found.version}, deletes=(f"key/{id_}",)))
                return True

    def rotate(self, id_: str, keep_old_seconds: float = 0.0) -> str | None:
        """Give a key a new secret, and return its new text; None if there is no such key. Raises `Invalid`.

        What the key opens and when it expires stays. keep_old_seconds: for so long the present secret works too. A secret that
        an earlier rotation kept is worthless from now on.
        """
        old_until = _from_now(keep_old_seconds) if keep_old_seconds else _now()
        secret = keys.new_secret()
        while (found := self._find(id_)) is not None:
            before = keys.decoded(found.value)
            rotated = before.rotated(secret, old_until).encoded()
            try:
                self._state.put(SPACE, f"key/{id_}", rotated, expect=found.version)
            except Conflict:
                continue
            except StoreUnavailable:
                # If it took effect, nobody else knows the new secret, and asking again would end the one in use.
                if (kept := self._find(id_)) is None or kept.value != rotated:
                    raise
            # Of both: a rotation before may have died without its note.
            self._notes.leave(map(_note_of, (before.digest, before.old_digest)))
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
        """Assign homes to a project, or with None to no project; see `Projects`."""
        self.projects.assign(home_ids, project)

    def unassign(self, home_id: int) -> None:
        """Take the home from its project, if it has one."""
        self.assign([home_id], None)

    def assignments(self) -> dict[int, str]:
        """List the homes that have a project: home id -> project, by home id."""
        return self.projects.assignments()

    def _find(self, id_: str) -> Document | None:
        return self._state.get(SPACE, f"key/{id_}") if keys.is_id(id_) else None

    def _add(self, record: KeyRecord, expect: dict[str, int] | None = None) -> str:
        """Store the record with a new secret, and that keys were made here; the key's text. Raises `Conflict`."""
        secret, name = keys.new_secret(), f"key/{record.id}"
        document = KeyDocument(record, keys.digest(secret), bytes(32), record.created_at)
        puts = (Put(name, document.encoded()), Put(_BEGUN, b""))
        self._state.commit(SPACE, Change(expect={name: ABSENT, **(expect or {})}, puts=puts))
        return keys.text(record.id, secret)


def _note_of(secret_digest: bytes) -> str:
    """Name the note of a secret that was rotated out."""
    return digest_of(f"secret/{secret_digest.hex()}")


def _now() -> datetime:
    return datetime.now(UTC)


def _from_now(seconds: float) -> datetime:
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise Invalid("The time that a key works for must be more than 0 seconds, and at most 100 years")
    return _now() + timedelta(seconds=seconds)
