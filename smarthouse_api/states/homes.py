"""Homes: how a home is known without its UUID, and how it is hidden when it is forgotten.

A home is known by the tag of its UUID, a keyed hash, and has a random internal key, under which everything of it is kept.
The UUID itself is not stored, except inside of a raw upload that contains it. In the state store, space `homes`:

    home/<tag>          the home's internal key
    forgotten/<key>     a home that is hidden and whose bytes are still to be purged
    unbroken/<key>      the same, while an export that began before may still send rows of it
    streams/<tag>/<id>  a home of the Stream Data Store that is the same home, and is forgotten with it
    turn                whose turn it is to work on the queue, see `smarthouse_api.states.uploads`
    upload/<key>/...    see `smarthouse_api.states.uploads`
    reply/<key>/...     likewise
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass

from backends.ports import ABSENT, Change, Conflict, Put, StateStore
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.errors import Invalid

SPACE = "homes"
_UNBROKEN_SECONDS = 86400.0
_MOST_SEEN = 10_000
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


def normalised_uuid(text: str) -> str:
    """Bring a home's UUID to one form: 8-4-4-4-12 hexadecimal digits in lower case.

    Raises `Invalid`, which does not repeat the value: it may be nearly right.
    """
    uuid = text.strip().lower()
    if not _UUID.fullmatch(uuid):
        raise Invalid("Home-UUID must be a UUID: 8-4-4-4-12 hexadecimal digits, with hyphens, without braces or prefix")
    return uuid


@dataclass(frozen=True, slots=True)
class Home:
    """Identifies a home that is not forgotten, so that a commit can depend on that.

    name, version: of its document, which goes when the home is forgotten. key: its internal key.
    """

    name: str
    version: int
    key: str


class Homes:
    """Finds, adds and hides the homes of one installation. Every UUID is given in the form of `normalised_uuid`."""

    def __init__(self, state: StateStore, keyring: Keyring) -> None:
        self._state, self._keyring = state, keyring
        self._seen: dict[str, Home] = {}

    def tag(self, uuid: str) -> str:
        """Name the home without telling its UUID."""
        return hmac.digest(self._keyring.key("home"), uuid.encode(), "sha256").hex()

    def installation(self) -> str:
        """Name this installation without telling its secret."""
        return self._keyring.key("installation").hex()[:16]

    def recall(self, uuid: str) -> Home | None:
        """Return the home as this process saw it last, for a commit on its version. If it never saw the home, find it."""
        return self._seen.get(self.tag(uuid)) or self.find(uuid)

    def find(self, uuid: str) -> Home | None:
        """Find the home as it stands now; None for a UUID that was never seen, or whose home is hidden."""
        tag = self.tag(uuid)
        found = self._state.get(SPACE, f"home/{tag}")
        if found is None:
            self._seen.pop(tag, None)
            return None
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        home = self._seen[tag] = Home(f"home/{tag}", found.version, found.value.decode())
        return home

    def find_or_add(self, uuid: str) -> Home:
        """Find the home, or add it: before any byte of it is kept, so that forgetting finds whatever a crash leaves."""
        while (home := self.find(uuid)) is None:
            with suppress(Conflict):
                self._state.put(SPACE, f"home/{self.tag(uuid)}", secrets.token_hex(16).encode(), expect=ABSENT)
        return home

    def hide(self, uuid: str) -> None:
        """Hide all that the home ever sent from every new reader, at once. Later uploads of its UUID belong to a new home."""
        while (home := self.find(uuid)) is not None:
            hidden = (
                Put(f"forgotten/{home.key}", str(time.time()).encode()),
                Put(f"unbroken/{home.key}", b"", ttl_seconds=_UNBROKEN_SECONDS),
            )
            with suppress(Conflict):
                self._state.commit(SPACE, Change(expect={home.name: home.version}, puts=hidden, deletes=(home.name,)))

    def link(self, uuid: str, home_id: int) -> None:
        """Have a home of the Stream Data Store forgotten with this one."""
        self._state.put(SPACE, f"streams/{self.tag(uuid)}/{home_id}", b"")

    def linked(self, uuid: str) -> list[int]:
        """Return the homes of the Stream Data Store that are to be forgotten with this one."""
        found = self._state.scan_all(SPACE, f"streams/{self.tag(uuid)}/")
        return [int(name.rpartition("/")[2]) for name, _ in found]

    def unlink(self, home_id: int) -> None:
        """Undo every `link` to a home of the Stream Data Store: its number may be given to another home."""
        names = [name for name, _ in self._state.scan_all(SPACE, "streams/") if name.rpartition("/")[2] == str(home_id)]
        self._state.commit(SPACE, Change(deletes=tuple(names)))

    def hide_keys(self, keys: set[str]) -> None:
        """Hide homes by their internal keys, whether they have a name or not, and let them be purged without delay."""
        for name, document in self._state.scan_all(SPACE, "home/"):
            if document.value.decode() in keys:
                self._state.commit(SPACE, Change(expect={name: document.version}, deletes=(name,)))
        for key in sorted(keys):
            self._state.put(SPACE, f"forgotten/{key}", b"0")

    def hidden(self) -> dict[str, float]:
        """Return the homes that are hidden and not purged yet: internal key -> when it was hidden, in seconds since 1970."""
        return {name.partition("/")[2]: float(document.value) for name, document in self._state.scan_all(SPACE, "forgotten/")}

    def unbroken(self) -> list[str]:
        """List the marks of hidden homes whose rows an older export may still send, by their documents' names."""
        return [name for name, _ in self._state.scan_all(SPACE, "unbroken/")]

    def known(self) -> set[str]:
        """Return the internal keys of all homes that are not hidden."""
        return {document.value.decode() for _, document in self._state.scan_all(SPACE, "home/")}
