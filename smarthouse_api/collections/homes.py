"""Homes of records: a record may name the home that it is of, and is forgotten with it.

A home is known by the tag of its UUID, as for its uploads; see `smarthouse_api.states.homes`. In each collection it has a
random key of its own, which its records bear. In the state store, space `homes`:

    named/<tag>/<collection>   a `NamedHome`: the home's key in the collection with that key
    unnamed/<key>              a `LeavingHome`: it is forgotten, and its records in one collection are still to be erased

In the space of the collection:

    home/<key>                 the tag. Each commit of the home's records requires the version of this document
    hidden/<key>               the lake may hold records of a forgotten home; nobody reads them. It says how much the quota
                               counts of those that are about to leave the lake
    seen/<key>/, reply/<key>/  what the home's records leave beside the topic

No record outlives a forget, whatever sleeps or dies:

1. In one commit, `unnamed` takes the place of `named`. Then a note is left; see `smarthouse_api.coordination.notes`.
2. `hidden` takes the place of `home`: no commit passes any more that was prepared before. A later record names a new home.
3. The dead letters are removed, then the entries of the topic, then what stands beside it.
4. The rows are removed and the lake's history is erased.
5. `hidden` is removed, then `unnamed`. The state store is scrubbed.

A writer looks at `named`, then at `home`, then at `named` again. So it never uses a document `home` that another writer, who
slept, made after the forget.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from backends.ports import ABSENT, Change, Conflict, Document, Put, StateStore
from smarthouse_api.collections.catalogue import BORN, CollectionCatalogue, look_for
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.quotas import Quotas, counted
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.coordination.retries import until_settled
from smarthouse_api.errors import NotFound

SPACE: Final = "homes"
"""The space of the homes: the commit that asks for a scrub removes `unnamed`."""

NAMED, UNNAMED, HOME, HIDDEN = "named/", "unnamed/", "home/", "hidden/"
"""How the names of the documents above begin."""

HOME_BYTES: Final = 512
"""What a home counts for in the quota of a collection: about what its documents take up."""

_MOST_SEEN: Final = 10_000
_AT_ONCE: Final = 1000


class NamedHome(msgspec.Struct, frozen=True):
    """Names a home in one collection. collection: the collection's id. key: the home's."""

    collection: str
    key: str


class LeavingHome(msgspec.Struct, frozen=True):
    """Remembers a forgotten home until its records in one collection are erased.

    collection, collection_key: the collection's id and key. at: when it was hidden, by the state store's clock. is_closed: its
    records are neither taken nor consumed nor read any more.
    """

    collection: str
    collection_key: str
    at: float
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class EnteredHome:
    """Says under which key a home's records are stored, and what a commit of them requires."""

    key: str
    version: int

    @property
    def expect(self) -> dict[str, int]:
        return {f"{HOME}{self.key}": self.version}

    @property
    def folder(self) -> str:
        """The folder of what the records leave beside the topic."""
        return f"{self.key}/"


decode_named, _decode_leaving = msgspec.json.Decoder(NamedHome).decode, msgspec.json.Decoder(LeavingHome).decode


class RecordHomes:
    """Finds, adds and hides the homes that records name. tag: of the home's UUID.

    admission: tells what the commit requires that names a home; raises `Gone` for one that has objected.
    """

    def __init__(
        self,
        state: StateStore,
        catalogue: CollectionCatalogue,
        quotas: Quotas,
        admission: Callable[[str], Mapping[str, int]],
    ) -> None:
        self._state, self._catalogue, self._quotas, self._admission = state, catalogue, quotas, admission
        self._seen = dict[tuple[str, str], EnteredHome]()

    def entered(self, collection: Collection, tag: str, *, look: bool) -> EnteredHome:
        """Find a home in a collection, or add it there. look: what this process saw last may be outdated.

        Raises `NotFound` if the collection was deleted meanwhile, `TooLarge` for its quota, `Gone` if the home has objected.
        """
        place = tag, collection.key
        if not look and (seen := self._seen.get(place)) is not None:
            return seen
        entered = until_settled(lambda: self._enter(collection, tag), "home")
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen[place] = entered
        return entered

    def hide(self, tag: str) -> None:
        """Have all records of a home erased. Later records of its UUID are those of a new home."""
        now = self._state.now()
        for name, document in self._state.scan_all(SPACE, f"{NAMED}{tag}/"):
            self._hide(name, document, now)

    def hide_noted(self, noted: Container[str]) -> int:
        """Hide again the homes that were forgotten after a backup; how many collections had records of them."""
        count = 0
        for name, document in self._state.scan_all(SPACE, NAMED):
            if digest_of(decode_named(document.value).key) in noted:
                self._hide(name, document, 0.0)
                count += 1
        return count

    def hide_nameless(self, there: Iterable[tuple[str, str]]) -> int:
        """Hide homes that a backup does not know, since no request could ever forget them; how many.

        there: the collections' keys and the homes' keys of the rows in the lake.
        """
        named = {decode_named(document.value).key for _, document in self._state.scan_all(SPACE, NAMED)}
        ids, found = dict[str, str](), set(there)
        for one in self._catalogue.everything():
            ids[one.key] = one.id
            homes = (name.removeprefix(HOME) for name, _ in self._state.scan_all(one.space, HOME))
            found.update((one.key, key) for key in homes)
        nameless = {(place, key) for place, key in found if key not in named} - {
            (one.collection_key, key) for key, one in self.leaving().items()
        }
        for place, key in sorted(nameless):
            self._state.commit(SPACE, Change(puts=(unnamed(key, LeavingHome(ids.get(place, ""), place, 0.0)),)))
        return len(nameless)

    def leaving(self) -> dict[str, LeavingHome]:
        """Return the forgotten homes that still have records in a collection, by their keys there."""
        found = self._state.scan_all(SPACE, UNNAMED)
        return {name.removeprefix(UNNAMED): _decode_leaving(document.value) for name, document in found}

    def close(self, collection: Collection, key: str) -> None:
        """Let no record of a home pass into a collection any more, and have nobody read those in the lake. Repeatable.

        Raises `NotFound` if the collection was deleted meanwhile.
        """
        name = f"{HOME}{key}"

        def attempt() -> None:
            found = self._state.get(collection.space, name)
            change = Change(
                expect={BORN: collection.born, name: ABSENT if found is None else found.version},
                # It expires in the end: a full store takes only what expires.
                puts=(Put(f"{HIDDEN}{key}", b"", FOR_GOOD_SECONDS),),
                deletes=(name,),
                adds=() if found is None else counted(-HOME_BYTES),
            )
            try:
                self._state.commit(collection.space, change)
            except Conflict:
                look_for(self._state, collection)
                raise

        until_settled(attempt, "home")

    def close_deleted(self, space: str, keys: Iterable[str]) -> None:
        """Let no record pass into a deleted collection, also if the process that deleted it died on the way."""
        names = [BORN, *(f"{HOME}{key}" for key in keys)]
        if there := [name for name, found in zip(names, self._state.get_many(space, names), strict=True) if found]:
            self._state.commit(space, Change(deletes=tuple(there)))

    def note_closed(self, leaving: Mapping[str, LeavingHome]) -> None:
        """Note that `close` has done its part."""
        puts = tuple(unnamed(key, msgspec.structs.replace(one, is_closed=True)) for key, one in leaving.items())
        self._state.commit(SPACE, Change(puts=puts))

    def note_sizes(self, space: str, sizes: Mapping[str, int]) -> None:
        """Note what records count for that are about to leave the lake, by their homes. space: the collection's."""
        names = [f"{HIDDEN}{key}" for key in sizes]
        there = zip(sizes.values(), self._state.get_many(space, names), names, strict=True)
        if puts := tuple(Put(name, b"%d" % size, FOR_GOOD_SECONDS) for size, found, name in there if found is not None):
            self._state.commit(space, Change(puts=puts))

    def reveal(self, space: str, keys: Iterable[str]) -> None:
        """End the hiding of rows that the lake has no more, and subtract them. space: the collection's. Repeatable."""
        names = [f"{HIDDEN}{key}" for key in keys]
        there = {name: one for name, one in zip(names, self._state.get_many(space, names), strict=True) if one is not None}
        expect = {name: one.version for name, one in there.items()}
        adds = counted(-sum(int(one.value or b"0") for one in there.values()))
        self._state.commit(space, Change(expect, deletes=tuple(there), adds=adds))

    def erased(self, keys: Iterable[str]) -> tuple[str, ...]:
        """Name the documents to remove from `SPACE` once the records of homes are erased."""
        return tuple(f"{UNNAMED}{key}" for key in keys)

    def of(self, tag: str) -> list[NamedHome]:
        """List the collections that may hold records of a home, with its key in each."""
        return [decode_named(document.value) for _, document in self._state.scan_all(SPACE, f"{NAMED}{tag}/")]

    def documents(self, tag: str) -> dict[str, int]:
        """List the documents that name a home, with their versions."""
        return {name: document.version for name, document in self._state.scan_all(SPACE, f"{NAMED}{tag}/")}

    def digests(self) -> Iterator[str]:
        """Name the notes that forgetting all homes would leave."""
        for _, document in self._state.scan_all(SPACE, NAMED):
            yield digest_of(decode_named(document.value).key)

    def _enter(self, collection: Collection, tag: str) -> EnteredHome:
        """Raises `Conflict` if the home was forgotten or added meanwhile."""
        name = f"{NAMED}{tag}/{collection.key}"
        if (found := self._state.get(SPACE, name)) is None:
            named = NamedHome(collection.id, secrets.token_hex(16))
            expect = {name: ABSENT, **self._admission(tag)}
            version = self._state.commit(SPACE, Change(expect, puts=(Put(name, msgspec.json.encode(named)),))).version
        else:
            named, version = decode_named(found.value), found.version
        try:
            entered, is_new = self._open(collection, named.key, tag)
        except NotFound:
            self._state.commit(SPACE, Change(deletes=(name,)))
            raise
        now = self._state.get(SPACE, name)
        if now is None or now.version != version:
            if is_new:
                self._state.commit(collection.space, Change(expect=entered.expect, deletes=tuple(entered.expect)))
            raise Conflict("the home was forgotten meanwhile")
        return entered

    def _open(self, collection: Collection, key: str, tag: str) -> tuple[EnteredHome, bool]:
        """Find the document that lets records of a home pass, or make it; whether it is new."""
        name = f"{HOME}{key}"
        if (found := self._state.get(collection.space, name)) is not None:
            return EnteredHome(key, found.version), False
        change = Change(
            expect={BORN: collection.born, name: ABSENT},
            puts=(Put(name, tag.encode()),),
            adds=self._quotas.adds(HOME_BYTES),
        )
        try:
            return EnteredHome(key, self._state.commit(collection.space, change).version), True
        except Conflict:
            look_for(self._state, collection)
            self._quotas.check(collection, HOME_BYTES)
            raise

    def _hide(self, name: str, document: Document, at: float) -> None:
        named, collection_key = decode_named(document.value), name.rpartition("/")[2]
        put = unnamed(named.key, LeavingHome(named.collection, collection_key, at))
        with suppress(Conflict):  # another request has hidden it
            self._state.commit(SPACE, Change(expect={name: document.version}, puts=(put,), deletes=(name,)))


def hidden_in(state: StateStore, collection: Collection) -> frozenset[str]:
    """Return the keys of forgotten homes whose records the lake may still hold."""
    return frozenset(name.removeprefix(HIDDEN) for name, _ in state.scan_all(collection.space, HIDDEN))


def remove_names(state: StateStore, space: str, collection_key: str) -> None:
    """Forget which homes a deleted collection has records of, before its space is erased."""
    names = [f"{NAMED}{document.value.decode()}/{collection_key}" for _, document in state.scan_all(space, HOME)]
    for start in range(0, len(names), _AT_ONCE):
        state.commit(SPACE, Change(deletes=tuple(names[start : start + _AT_ONCE])))


def are_leaving(state: StateStore) -> bool:
    """Tell whether records of a forgotten home are still to be erased."""
    return bool(state.scan(SPACE, UNNAMED, limit=1))


def unnamed(key: str, leaving: LeavingHome) -> Put:
    """Make the document of a home whose records are to be erased."""
    return Put(f"{UNNAMED}{key}", msgspec.json.encode(leaving), FOR_GOOD_SECONDS)
