"""The catalogue of collections: creates, finds, changes and deletes them. In the state store, space `collections`:

    id/<id>             the collection
    alias/<alias>       the id that it stands for; ids and aliases are names of one kind
    gone/<key>          a tombstone: a deleted collection, whose bytes are still to be removed

In each collection's own space the empty document `born` stands: without it nothing is written there.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Container, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from backends.ports import ABSENT, Change, Conflict, Document, Put, StateStore
from smarthouse_api.collections.model import Collection, Definition, check, is_name, openings, space_of
from smarthouse_api.coordination.catalogue import Catalogue, CatalogueLayout
from smarthouse_api.coordination.idempotency import Replies, RequestKey, pair_of
from smarthouse_api.coordination.notes import Notes, digest_of
from smarthouse_api.coordination.retries import until_settled
from smarthouse_api.coordination.single_flight import SingleFlight
from smarthouse_api.errors import InUse, Invalid, NotFound

SPACE: Final = "collections"
BORN: Final = "born"
Changes = dict[str, Any]

_MEMBERS: Final = frozenset(Definition.__struct_fields__)
_AT_ONCE: Final = 32
"""Collections that are decoded at a time: there may be thousands, each with its schema."""

_CLOSED: Final[dict[str, Changes]] = {
    "public": {"public": False},
    "open": {"requires_token": True},
    "alias": {"alias": None},
}
"""What closes again what a definition opens; see `openings`."""

_UNKNOWN: Final = "There is no such collection"


class CollectionTombstone(msgspec.Struct, frozen=True):
    """Remembers a deleted collection until it is purged. at: seconds since 1970."""

    key: str
    id: str
    at: float

    @property
    def space(self) -> str:
        return space_of(self.id, self.key)


_decode_tombstone, _decode = msgspec.json.Decoder(CollectionTombstone).decode, msgspec.json.Decoder(Collection).decode


class SavedCollection(msgspec.Struct, frozen=True):
    """Answers a request that created or changed a collection.

    alias_before: the alias before the change. replayed: this is the first answer to the same `Idempotency-Key`.
    """

    collection: Collection
    alias_before: str | None = None
    replayed: bool = False


_REPLY: Final = pair_of(SavedCollection)


class CollectionCatalogue(Catalogue[Collection, CollectionTombstone]):
    """Finds, creates, changes and deletes the collections of one installation."""

    def __init__(self, state: StateStore, notes: Notes, replies: Replies) -> None:
        super().__init__(state, notes, CatalogueLayout(SPACE, "id/", (BORN,), "collection"), _decode_tombstone)
        self._replies = replies
        self._looks = SingleFlight[Document | None]()

    def get(self, name: str) -> Collection | None:
        """Find the collection with this id or alias; None if there is none."""
        found = self._found(name)
        return None if found is None else found[0]

    def find(self, name: str) -> Collection:
        """Find the collection with this id or alias. Raises `NotFound`."""
        if (found := self.get(name)) is None:
            raise NotFound(_UNKNOWN)
        return found

    def next_slice(self, after: str) -> tuple[list[Collection], str]:
        """List some collections by id, and return the id after which the next slice begins; an empty text after the last slice.

        after: what the previous call returned; empty for the first slice.
        """
        found = self._state.scan(SPACE, "id/", after, _AT_ONCE)
        return [_decode(document.value) for _, document in found], found[-1][0] if len(found) == _AT_ONCE else ""

    def page(self, after: str = "") -> tuple[list[Collection], str]:
        """List some collections by id, after the one with this id; and the id after which to go on, empty on the last page."""
        some, more = self.next_slice(f"id/{after}" if after else "")
        return some, some[-1].id if more else ""

    def create(self, definition: Definition, request_key: RequestKey | None = None) -> SavedCollection:
        """Create a collection. Raises `Invalid`, and `InUse` (`EXISTS`) when the id or the alias is taken."""
        check(definition)
        if (earlier := self.earlier(request_key)) is not None:
            return earlier
        key, now = secrets.token_hex(12), datetime.now(UTC)
        space = space_of(definition.id, key)
        born = self._state.put(space, BORN, b"", expect=ABSENT)
        members = {name: getattr(definition, name) for name in _MEMBERS}
        rights = {name: secrets.token_hex(8) for name in openings(definition)}
        collection = Collection(**members, key=key, created_at=now, updated_at=now, born=born, rights=rights)
        settled = SavedCollection(collection)
        told = self._replies.puts(request_key, settled, _REPLY)
        puts = (Put(f"id/{collection.id}", msgspec.json.encode(collection)), *_alias(collection), *told)
        names = [collection.id, *([collection.alias] if collection.alias else [])]
        expect = {f"{kind}/{name}": ABSENT for name in names for kind in ("id", "alias")}
        expect |= {put.key: ABSENT for put in told}
        try:
            self._state.commit(SPACE, Change(expect=expect, puts=puts))
        except Conflict:
            self._state.erase(space)
            if (earlier := self.earlier(request_key)) is not None:
                return earlier
            raise InUse(
                f"A collection already has one of the names {', '.join(names)}; choose another name, or change that collection",
                reason="EXISTS",
            ) from None
        return settled

    def update(
        self,
        name: str,
        changes: Changes | Callable[[Collection], Changes],
        *,
        seen: Collection | None = None,
        request_key: RequestKey | None = None,
    ) -> SavedCollection:
        """Change members of the definition; nothing if the changes are empty. seen: the collection as the caller knows it.

        changes: new members by their names, or what finds them for the collection as it is.

        Raises `Invalid`, `NotFound`, and `InUse`: `EXISTS` for an alias that is taken, `OUTDATED` if it has changed since.
        """
        return until_settled(lambda: self._update(name, changes, seen, request_key), "collection")

    def close_noted(self, noted: Container[str]) -> int:
        """Close again what was closed after a backup: aliases, and reading and writing without a key; how much."""
        count = 0
        for one in [*self.everything()]:
            if again := [name for name in openings(one) if _note_of(one, name) in noted]:
                self.update(one.id, {member: value for name in again for member, value in _CLOSED[name].items()})
                count += len(again)
        return count

    def digests(self) -> Iterator[str]:
        """Name the notes that deleting and closing all collections would leave."""
        for one in self.everything():
            yield digest_of(one.key)
            yield from (_note_of(one, name) for name in openings(one))

    def earlier(self, request_key: RequestKey | None) -> SavedCollection | None:
        """Find the answer to an earlier request under the same `Idempotency-Key`. Raises `KeyReused`."""
        return self._replies.earlier(SPACE, request_key, _REPLY)

    def delete(self, name: str) -> CollectionTombstone:
        """Delete a collection: nobody can write to it or read it any more. The chores remove its bytes. Raises `NotFound`."""

        def attempt() -> CollectionTombstone:
            if (found := self._found(name)) is None:
                raise NotFound(_UNKNOWN)
            one, version = found
            tombstone = CollectionTombstone(one.key, one.id, time.time())
            self._bury([tombstone], {f"id/{one.id}": version}, (put.key for put in _alias(one)))
            return tombstone

        return self._delete(attempt)

    def _read(self, name: str, document: Document) -> Collection:
        return _decode(document.value)

    def _found(self, name: str) -> tuple[Collection, int] | None:
        """The collection and the version of its document."""
        if not is_name(name):
            return None
        found = self._look(f"id/{name}")
        if found is None and (alias := self._look(f"alias/{name}")) is not None:
            found = self._look(f"id/{alias.value.decode()}")
            # An alias that has moved on meanwhile is another's.
            if found is not None and _decode(found.value).alias != name:
                found = None
        return None if found is None else (_decode(found.value), found.version)

    def _look(self, key: str) -> Document | None:
        return self._looks.ask(key, lambda: self._state.get(SPACE, key))

    def _update(
        self,
        name: str,
        changes: Changes | Callable[[Collection], Changes],
        seen: Collection | None,
        request_key: RequestKey | None,
    ) -> SavedCollection:
        if (earlier := self.earlier(request_key)) is not None:
            return earlier
        if (found := self._found(name)) is None:
            raise NotFound(_UNKNOWN)
        before, version = found
        if seen is not None and seen.updated_at != before.updated_at:
            raise InUse("The collection was changed since it was read; read it again", reason="OUTDATED")
        wanted = changes(before) if callable(changes) else changes
        if not wanted:
            return SavedCollection(before, before.alias)
        after, closed = _with_rights(before, _changed(before, wanted))
        settled = SavedCollection(after, before.alias)
        expect, deletes = {f"id/{before.id}": version}, tuple[str, ...]()
        if after.alias != before.alias:
            deletes = (f"alias/{before.alias}",) if before.alias else ()
            expect |= {f"{kind}/{after.alias}": ABSENT for kind in ("id", "alias") if after.alias}
        told = self._replies.puts(request_key, settled, _REPLY)
        expect |= {put.key: ABSENT for put in told}
        puts = (Put(f"id/{before.id}", msgspec.json.encode(after)), *_alias(after), *told)
        self._notes.leave(closed)
        try:
            self._state.commit(SPACE, Change(expect=expect, puts=puts, deletes=deletes))
        except Conflict:
            if after.alias and after.alias != before.alias and self._found(after.alias) is not None:
                raise InUse(f"A collection already has the name {after.alias}; choose another alias", reason="EXISTS") from None
            raise
        return settled

    def list(self) -> list[Collection]:
        """List all collections by id."""
        return [*self.everything()]


def look_for(state: StateStore, collection: Collection) -> None:
    """Check that a collection still exists. Raises `NotFound` if it was deleted since it was found."""
    born = state.get(collection.space, BORN)
    if born is None or born.version != collection.born:
        raise NotFound("The collection was deleted meanwhile")


def _changed(before: Collection, changes: Changes) -> Collection:
    """Raises `Invalid`."""
    if unknown := sorted(set(changes) - (_MEMBERS - {"id"})):
        raise Invalid(f"{', '.join(unknown)}: cannot be changed; what can is {', '.join(sorted(_MEMBERS - {'id'}))}")
    members = {**msgspec.structs.asdict(before), **changes, "updated_at": datetime.now(UTC)}
    try:
        # Converted, for the types of what came from outside.
        after = msgspec.convert(members, Collection, from_attributes=True)
    except msgspec.ValidationError as fault:
        raise Invalid(f"The definition is malformed: {fault}") from None
    check(after)
    return after


def _with_rights(before: Collection, after: Collection) -> tuple[Collection, list[str]]:
    """Give an id to what a change opens; the collection, and the notes of what the change closes."""
    had, has = openings(before), openings(after)
    closed = [_note_of(before, name) for name in had if has.get(name) != had[name]]
    kept = {name: id_ for name, id_ in before.rights.items() if has.get(name) == had.get(name)}
    new = {name: secrets.token_hex(8) for name in has if has[name] != had.get(name)}
    return msgspec.structs.replace(after, rights=kept | new), closed


def _note_of(one: Collection, right: str) -> str:
    return digest_of(f"right/{right}/{one.rights.get(right, one.key)}")


def _alias(collection: Collection) -> tuple[Put, ...]:
    return (Put(f"alias/{collection.alias}", collection.id.encode()),) if collection.alias else ()
