"""Homes: how a home is known without its UUID, and how it is hidden when it is forgotten.

A home is known by the tag of its UUID, a keyed hash, and has a random internal key, under which everything of it is kept.
The UUID itself is not stored, except inside of a raw upload that contains it. In the state store, space `homes`:

    home/<tag>          the home's internal key
    forgotten/<key>     a home that is hidden and whose bytes are still to be purged
    unbroken/<key>      the same, while an export that began before may still send rows of it
    born/<key>          for a day: the newest versions of the lake's tables when the home was added; none has rows of it
    held/<key>          on which days a home that is hidden has rows, see `smarthouse_api.states.held_days`
    streams/<tag>/<id>  a home of the Stream Data Store that is the same home, and is forgotten with it
    erasing/<id>/...    internal keys of such a home that was forgotten, while its streams may not be erased yet
    consent/<key>       what the home agreed to, see `smarthouse_api.states.agreements`
    archive/<key>       see `smarthouse_api.archives`
    entities/<key>      see `smarthouse_api.archives.entities`
    untried/<key>       a home that was added by its consent, until it uploads: its tag, and when that was
    objected/<digest>   the home with a certain tag may not be added again until it consents; see `objection_of`
    turn                whose turn it is to work on the queue, see `smarthouse_api.states.uploads`
    upload/<key>/...    see `smarthouse_api.states.uploads`; `aside/...` too
    purged              purges that wait for their sweep, see `smarthouse_api.erasure.rounds`
    expiry, expired...  see `smarthouse_api.states.expired`
    kept/<key> ...      counts, see `smarthouse_api.states.counts`
    reply/<key>/...     likewise
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from backends.ports import ABSENT, Change, Conflict, Put, StateStore
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.coordination.sound_scans import scan_past_damage
from smarthouse_api.errors import Gone, Invalid
from smarthouse_api.lake.snapshot_marks import SnapshotMark, decoded, encoded
from smarthouse_api.lake.sparing import Sparing, decoded_held
from smarthouse_api.states.agreements import lasting

SPACE = "homes"
_DAY_SECONDS = 86400.0
_MOST_SEEN = 10_000
OBJECTED = (
    "The home has objected, and nothing of it is taken; to lift that, agree to the terms: PUT /api/ingest/consent with this"
    ' Home-UUID and a body such as {"terms": "1.0", "tier": "rows"}'
)
_OF_A_HOME = ("forgotten", "born", "held", "consent", "untried", "archive", "entities")
"""Documents by the internal key, which go with the home; what is counted goes with its uploads."""

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

    @property
    def tag(self) -> str:
        """What it is known by without its UUID."""
        return self.name.partition("/")[2]


class Homes:
    """Finds, adds and hides the homes of one installation. Every UUID is given in the form of `normalised_uuid`."""

    def __init__(
        self,
        state: StateStore,
        keyring: Keyring,
        newest: Callable[[], Iterable[SnapshotMark]] = tuple,
        is_noted: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """newest: marks the newest snapshots of the tables in which homes have rows. is_noted: tells if a note is there."""
        self._state, self._keyring, self._newest, self._is_noted = state, keyring, newest, is_noted
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
        return self.tagged(self.tag(uuid))

    def tagged(self, tag: str) -> Home | None:
        """Find the home with this tag, as `find` does."""
        found = self._state.get(SPACE, f"home/{tag}")
        if found is None:
            self._seen.pop(tag, None)
            return None
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        home = self._seen[tag] = Home(f"home/{tag}", found.version, found.value.decode())
        return home

    def all_tagged(self, tags: Sequence[str]) -> list[Home]:
        """Find the homes with these tags, as `find` does: those that are there, in one question."""
        names = [f"home/{tag}" for tag in tags]
        found = zip(names, self._state.get_many(SPACE, names), strict=True)
        return [Home(name, one.version, one.value.decode()) for name, one in found if one is not None]

    def find_or_add(self, uuid: str) -> Home:
        """Find the home, or add it: before any byte of it is kept, so that forgetting finds whatever a crash leaves.

        Raises `Gone` for a home that objects meanwhile. Call `refuse_objected` before.
        """
        tag = self.tag(uuid)
        while (home := self.tagged(tag)) is None:
            objected = f"objected/{objection_of(tag)}"
            try:
                self._state.commit(SPACE, Change({f"home/{tag}": ABSENT, objected: ABSENT}, self.birth(tag, new_key())))
            except Conflict:
                self.refuse_objected(tag)
        return home

    def birth(self, tag: str, key: str) -> tuple[Put, ...]:
        """Make the documents of a new home."""
        born = Put(f"born/{key}", encoded(self._newest()), ttl_seconds=_DAY_SECONDS)
        return Put(f"home/{tag}", key.encode()), born, Put(f"first/{key}", b"%d" % microseconds(datetime.now(UTC)))

    def refuse_objected(self, tag: str) -> None:
        """Raise `Gone` if there is no home with this tag because it has objected, also before a backup was restored."""
        if self.has_objected(tag):
            raise Gone(OBJECTED, "The home has objected")

    def admission(self, tag: str) -> dict[str, int]:
        """Return what a commit in `SPACE` requires that adds something under the tag of a home. Raises `Gone` if it objects."""
        if (home := self.tagged(tag)) is not None:
            return {home.name: home.version}
        self.refuse_objected(tag)
        return {f"objected/{objection_of(tag)}": ABSENT}

    def has_objected(self, tag: str) -> bool:
        """Tell whether a home with this tag may not be added."""
        digest = objection_of(tag)
        return self._state.get(SPACE, f"objected/{digest}") is not None or self._is_noted(digest)

    def agreed(self, days: int) -> frozenset[str]:
        """Return the internal keys of the homes that agreed to terms so many days ago, the first of them included."""
        return frozenset(lasting(scan_past_damage(self._state, SPACE, "consent/"), days))

    def hide(self, tag: str, streams: Mapping[int, set[str]] | None = None, *, objects: bool = False) -> None:
        """Hide all that the home ever sent from every new reader, at once. Later uploads of its UUID belong to a new home.

        streams: the homes of the Stream Data Store that are linked with it, each with its internal keys. In the same commit,
        these are taken down to be erased, and all links to them go: a number may be given to another home from now on.
        objects: no later upload is taken, until the home consents.
        """
        linked = streams or {}
        # It expires in the end: a full store takes only what expires.
        kept = [Put(f"objected/{objection_of(tag)}", b"", FOR_GOOD_SECONDS)] if objects else []
        while True:
            home, links = self.tagged(tag), [name for home_id in linked for name in self._links_to(home_id)]
            puts = [*kept, *(_erasing(home_id, keys) for home_id, keys in linked.items())]
            if home is None and not puts:
                return
            expect, deletes = dict[str, int](), tuple[str, ...]()
            if home is not None:
                puts.append(Put(f"forgotten/{home.key}", str(self._state.now()).encode()))
                puts.append(Put(f"unbroken/{home.key}", b"", ttl_seconds=_DAY_SECONDS))
                expect, deletes = {home.name: home.version}, (home.name, *_agreed(home.key))
            with suppress(Conflict):
                self._state.commit(SPACE, Change(expect=expect, puts=tuple(puts), deletes=(*deletes, *links)))
                linked, kept = {}, []

    def hide_streams(self, home_id: int, keys: set[str]) -> None:
        """Take down the streams of a home of the Stream Data Store to be erased, and undo all links to it, in one commit.

        keys: its internal keys. A number may be given to another home from now on.
        """
        self._state.commit(SPACE, Change(puts=(_erasing(home_id, keys),), deletes=tuple(self._links_to(home_id))))

    def erasing(self) -> dict[str, tuple[int, set[str]]]:
        """Return the homes of the Stream Data Store that are to be erased: number and internal keys, by their documents."""
        found = self._state.scan_all(SPACE, "erasing/")
        return {name: (int(name.split("/")[1]), set(msgspec.json.decode(document.value))) for name, document in found}

    def link(self, uuid: str, home_id: int) -> None:
        """Have a home of the Stream Data Store forgotten with this one."""
        with suppress(Conflict):  # then it is linked already
            self._state.put(SPACE, f"streams/{self.tag(uuid)}/{home_id}", secrets.token_hex(16).encode(), expect=ABSENT)

    def links(self) -> Iterator[tuple[str, int, str]]:
        """List all links: the document's name, the home of the Stream Data Store, and what the link's note is made of."""
        for name, document in self._state.scan_all(SPACE, "streams/"):
            # Earlier versions gave a link no id.
            yield name, int(name.rpartition("/")[2]), f"link/{document.value.decode() or name}"

    def remove_links(self, names: Sequence[str]) -> None:
        """Remove links by their documents' names."""
        self._state.commit(SPACE, Change(deletes=tuple(names)))

    def linked(self, tag: str) -> list[int]:
        """Return the homes of the Stream Data Store that are to be forgotten with this one."""
        found = self._state.scan_all(SPACE, f"streams/{tag}/")
        return [int(name.rpartition("/")[2]) for name, _ in found]

    def linked_with(self, home_id: int) -> list[str]:
        """Return the tags of the homes with which a home of the Stream Data Store is to be forgotten."""
        return [name.split("/")[1] for name in self._links_to(home_id)]

    def unlink(self, home_id: int) -> None:
        """Undo every `link` to a home of the Stream Data Store: its number may be given to another home."""
        self._state.commit(SPACE, Change(deletes=tuple(self._links_to(home_id))))

    def hide_keys(self, keys: set[str]) -> None:
        """Hide homes by their internal keys, whether they have a name or not, and let them be purged without delay."""
        for name, document in self._state.scan_all(SPACE, "home/"):
            if document.value.decode() in keys:
                gone = (name, *_agreed(document.value.decode()))
                self._state.commit(SPACE, Change(expect={name: document.version}, deletes=gone))
        for key in sorted(keys):
            self._state.put(SPACE, f"forgotten/{key}", b"0")

    def hidden(self) -> dict[str, float]:
        """Return the homes that are hidden and not purged yet: internal key -> when it was hidden, by the store's clock."""
        return {name.partition("/")[2]: float(document.value) for name, document in self._state.scan_all(SPACE, "forgotten/")}

    def spared(self, hidden: Iterable[str]) -> Sparing:
        """Return what tells, from a reader's note, that no row of the hidden homes can be in what it reads.

        A reader that has noted nothing is not spared.
        """
        keys = list(hidden)
        documents = self._state.get_many(SPACE, [f"{kind}/{key}" for kind in ("born", "held") for key in keys])
        texts = [document.value if document else b"" for document in documents]
        return Sparing([decoded(text) for text in texts[: len(keys)]], [decoded_held(text) for text in texts[len(keys) :]])

    def purged(self, hidden: Iterable[str]) -> Change:
        """Return the change that takes hidden homes out of the lists, once nothing of them is left."""
        return Change(deletes=tuple(f"{kind}/{key}" for key in hidden for kind in _OF_A_HOME))

    def unbroken(self) -> list[str]:
        """List the marks of hidden homes whose rows an older export may still send, by their documents' names."""
        return [name for name, _ in self._state.scan_all(SPACE, "unbroken/")]

    def known(self) -> set[str]:
        """Return the internal keys of all homes that are not hidden."""
        return {home.key for home in self.everyone()}

    def everyone(self) -> Iterator[Home]:
        """List all homes that are not hidden."""
        for name, document in self._state.scan_all(SPACE, "home/"):
            yield Home(name, document.version, document.value.decode())

    def _links_to(self, home_id: int) -> list[str]:
        return [name for name, _ in self._state.scan_all(SPACE, "streams/") if name.rpartition("/")[2] == str(home_id)]


def new_key() -> str:
    """Make an internal key for a new home."""
    return secrets.token_hex(16)


def objection_of(tag: str) -> str:
    """Name the note of an objection, and its document, by the tag of a home's UUID. It tells nobody whose it is."""
    return digest_of(f"objection/{tag}")


def _agreed(key: str) -> tuple[str, ...]:
    """Name what goes with the home's document at once."""
    return f"consent/{key}", f"untried/{key}", f"archive/{key}", f"entities/{key}"


def _erasing(home_id: int, keys: set[str]) -> Put:
    # It expires in the end: a full store takes only what expires.
    value = msgspec.json.encode(sorted(keys))
    return Put(f"erasing/{home_id}/{secrets.token_hex(8)}", value, ttl_seconds=FOR_GOOD_SECONDS)
