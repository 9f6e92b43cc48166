"""Mending the documents about homes that records name: each is made from the others, as far as they tell."""

from __future__ import annotations

import msgspec

from backends.ports import Change, Part, Put, StateStore
from smarthouse_api.collections.catalogue import CollectionCatalogue
from smarthouse_api.collections.homes import HIDDEN, HOME, NAMED, SPACE, UNNAMED, LeavingHome, NamedHome, decode_named, unnamed
from smarthouse_api.collections.model import SPACES
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.coordination.mending import Mender, removing
from smarthouse_api.coordination.sound_scans import scan_past_damage


class RecordHomesMending:
    """Makes damaged documents again that tell which homes records name."""

    def __init__(self, state: StateStore, catalogue: CollectionCatalogue) -> None:
        self._state, self._catalogue = state, catalogue

    def menders(self) -> list[Mender]:
        """List what mends."""
        return [
            Mender(SPACE, NAMED, self._mend_named),
            Mender(SPACE, UNNAMED, self._mend_leaving),
            Mender(SPACES, HOME, self._mend_home),
            Mender(SPACES, HIDDEN, self._mend_hidden),
        ]

    def _mend_named(self, part: Part) -> bool:
        """Find the home's key by its tag: it stands in the collection. A home without one has no records there."""
        _, tag, collection_key = part.name.split("/")
        one = next((one for one in self._catalogue.everything() if one.key == collection_key), None)
        homes = [] if one is None else [*scan_past_damage(self._state, one.space, HOME)]
        if any(document is None for _, document in homes):
            return False
        found = [name for name, document in homes if document is not None and document.value == tag.encode()]
        if one is None or not found:
            return removing(self._state)(part)
        if len(found) > 1:
            return False
        named = NamedHome(one.id, found[0].removeprefix(HOME))
        self._state.commit(SPACE, Change(puts=(Put(part.name, msgspec.json.encode(named)),)))
        return True

    def _mend_leaving(self, part: Part) -> bool:
        """Begin the erasing of a home anew, in the collection that knows it."""
        key = part.name.removeprefix(UNNAMED)
        names = [f"{HOME}{key}", f"{HIDDEN}{key}"]
        for one in self._catalogue.everything():
            if any(self._state.get_many(one.space, names)):
                self._state.commit(SPACE, Change(puts=(unnamed(key, LeavingHome(one.id, one.key, 0.0)),)))
                return True
        return removing(self._state)(part)

    def _mend_home(self, part: Part) -> bool:
        """Find the home's tag by its key. Writers look for the document again, because it has another version then."""
        key = part.name.removeprefix(HOME)
        for name, document in scan_past_damage(self._state, SPACE, NAMED):
            if document is None:
                return False  # it may be this home
            if decode_named(document.value).key == key:
                self._state.commit(part.space, Change(puts=(Put(part.name, name.split("/")[1].encode()),)))
                return True
        return removing(self._state)(part)

    def _mend_hidden(self, part: Part) -> bool:
        self._state.commit(part.space, Change(puts=(Put(part.name, b"", FOR_GOOD_SECONDS),)))
        return True
