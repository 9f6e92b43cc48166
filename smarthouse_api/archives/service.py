"""What is held about a home, for its owner: a summary, and an archive that is made when it is asked for.

1. Who asks for an archive waits while it is made, for as long as proxies wait, and then asks again: see `archives.making`.
   Another process makes it where that is possible: see `serving.apart`.
2. The file is put into the object store and then noted, in a commit that depends on the home.
3. It is sent from there, also in parts, and as often as it is asked for, until something came or it expires.
4. A forget ends the sending and the making, and removes the file, before it is answered.

A UUID that is not known gets an archive without any rows, of the same files.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from backends.ports import ObjectStore, StateStore
from config.settings import Settings
from smarthouse_api.archives.contents import Contents, mark_of_counts, today
from smarthouse_api.archives.looking import Looking
from smarthouse_api.archives.making import Making
from smarthouse_api.archives.model import Holder, Kept, name_of, proof_of
from smarthouse_api.archives.shelf import OpenArchive, Shelf
from smarthouse_api.arrow.zip_stream import zip_stream
from smarthouse_api.collections.service import Collections
from smarthouse_api.coordination.answer_times import AnswerTimes
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.leases import Lease, LeaseLost, Leases
from smarthouse_api.coordination.room import Room
from smarthouse_api.errors import Gone, NotFound, TooLarge, Unavailable
from smarthouse_api.states.homes import SPACE
from smarthouse_api.states.jobs.sums import Summing
from smarthouse_api.states.service import States
from smarthouse_api.streams.service import Streams
from smarthouse_api.version import own_version

_TRIES: Final = 3
_WAIT_SECONDS: Final = 60.0
"""For who tidies, or makes it for a request that is given up: its worker has died."""

_FRESH_SECONDS: Final = 3600.0
_LOOK_SECONDS: Final = 0.25
_ANSWER_SECONDS: Final = 20.0
"""Proxies wait for an answer for a minute or longer."""

_AWAITED_SECONDS: Final = 300.0
_ETAG: Final = 32
_UNDER_WAY: Final = "The archive is being made, which takes a while; ask again"


class _Forgotten(Exception):
    """Says that the home of an archive is not there any more."""


class EmptyArchive:
    """Sends the archive of a UUID that nothing is held about."""

    is_the_only_one = True

    def __init__(self, whole: bytes, at: float) -> None:
        self._whole, self.at, self.size_bytes = whole, at, len(whole)
        self.etag = hashlib.sha256(whole).hexdigest()[:_ETAG]

    def body(self, first: int = 0, last: int | None = None) -> Iterator[bytes]:
        """Return the bytes from `first` to `last`."""
        yield self._whole[first : None if last is None else last + 1]

    def close(self) -> None:
        """Do nothing: it holds nothing."""


class Made:
    """Makes an archive while it is iterated. That gives no bytes: the file is in the object store at the end."""

    rows = 0

    def __init__(self, make: Callable[[], None]) -> None:
        self._make, self.file_name, self.is_whole = make, "", False
        self.incomplete: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        self._make()
        self.is_whole = True
        yield b""

    def close(self) -> None:
        """Do nothing: the making has ended."""


class Archives:
    """Tells the owner of a home what is held about it, and gives all of it."""

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        leases: Leases,
        states: States,
        streams: Streams,
        collections: Collections,
        room: Room,
        keyring: Keyring,
        settings: Settings,
    ) -> None:
        self._state, self._objects, self._leases, self._room, self._settings = state, objects, leases, room, settings.archives
        self._states, self._streams, self._told_settings = states, streams, f"{settings.exports} {own_version()}"
        self._records = collections.home_records
        self._contents = Contents(state, objects, states, streams, self._records, settings.exports.privacy)
        self.looking = Looking(states, settings.exports)
        self.shelf = Shelf(state, objects, leases, self._settings)
        self.answer_times = AnswerTimes(state, "summary", settings.forgetting.answer_seconds)
        self._making = Making(self._have_made, self._settings.at_once)
        self._keyring = keyring
        self.make: Callable[[str, str], Any] = self.made
        """What makes an archive, by the tag of the home's UUID, for a client: this process, or another one that it asks."""

    def owner_of(self, address: str) -> str:
        """Name a client, so that nobody can tell the address."""
        return hmac.digest(self._keyring.key("archives"), address.encode(), "sha256").hex()[:_ETAG]

    def flush(self) -> None:
        """Return once the lake holds everything that was acknowledged, of all homes. Raises `Unavailable`."""
        self._states.chores.flush()

    def settled(self, uuid: str) -> str:
        """Return once the lake holds everything that was acknowledged, with a mark of what that is of this home.

        uuid: normalised. Raises `Unavailable`.
        """
        mark = self._contents.entities.mark(self._states.homes.find(uuid))
        self.flush()
        return mark

    def summary(self, uuid: str, mark: str | None = None) -> dict[str, Any]:
        """Tell how much is held about a home. Of entities, only those count whose rows the lake holds.

        uuid: normalised. mark: of `settled`, so that entities are counted once.
        """
        return self.summary_of(self._states.homes.tag(uuid), mark)

    def summary_of(self, tag: str, mark: str | None = None) -> dict[str, Any]:
        """Tell how much is held about a home by the tag of its UUID, as `summary` does."""
        holder = self._holder(tag)
        home, streams = (None, ()) if holder is None else (holder.home, holder.streams)
        has_objected = self._states.homes.has_objected(tag) and home is None
        named_in = self._records.named_in(tag)
        return self._contents.summary(home, len(streams), len(named_in), mark, has_objected=has_objected)

    def open(self, uuid: str, owner: str = "", *, continues: bool = False) -> OpenArchive | EmptyArchive:
        """Open the archive of a home, which is made first if there is none that holds all.

        owner: the client, see `owner_of`. continues: one that is kept is good, though something came meanwhile. Raises
        `Unavailable`, also while it is made for longer than an answer waits, `NoRoom`, `TooLarge`.
        """
        return self.open_of(self._states.homes.tag(uuid), owner, continues=continues)

    def open_of(self, tag: str, owner: str = "", *, continues: bool = False) -> OpenArchive | EmptyArchive:
        """Open the archive of a home by the tag of its UUID, as `open` does."""
        is_new = False
        for attempt in range(_TRIES):
            if (holder := self._holder(tag)) is None:
                return self._empty()
            kept = self._find(holder)
            if kept is None or not (continues or self._is_current(kept, holder) or self._is_awaited(kept)):
                is_new = True
                self._wait_for(tag, owner, is_last=attempt == _TRIES - 1)
                kept = self._find(holder)
            if kept is not None:
                try:
                    opened = self.shelf.open(kept)
                    opened.is_the_only_one &= not is_new
                    return opened
                except Gone:
                    continues = False
        raise Unavailable("The archive could not be made now; repeat the request")

    def _find(self, holder: Holder) -> Kept | None:
        """Find the archive of a home, unless a link to streams was made or undone since."""
        kept = self.shelf.find(holder.name)
        return None if kept is None or kept.proof != proof_of(holder.proof) else kept

    def tidy(self) -> None:
        """Remove the archives that have expired, and those of homes and links that are gone. It does so once a minute."""
        self.shelf.tidy(lambda kept: kept.proof == proof_of(self._proof(kept.tag)))

    def _wait_for(self, tag: str, owner: str, *, is_last: bool) -> None:
        try:
            self._making.wait_for(tag, _ANSWER_SECONDS, owner)
        except LeaseLost:  # another home was forgotten, and the files went that were being read
            if is_last:
                raise

    def _have_made(self, tag: str, owner: str) -> None:
        if (asking := self._leases.try_hold(self.shelf.asking(tag))) is None:
            raise Unavailable(_UNDER_WAY)  # at once: who waits holds a place that another home needs
        with asking, closing(self.make(tag, owner)) as made:
            for _ in made:
                pass

    def made(self, tag: str, owner: str = "") -> Made:
        """Return what makes an archive while it is iterated."""
        return Made(lambda: self._make(tag, owner))

    def _make(self, tag: str, owner: str) -> None:
        """Make the archive of a home, unless another process has just done so. Raises `LeaseLost`, `Unavailable`."""
        if (holder := self._holder(tag)) is None:
            return
        try:
            with self._leases.hold(self.shelf.making(holder.name), _WAIT_SECONDS) as lease:
                if (kept := self._find(holder)) is None or not self._is_current(kept, holder):
                    self._room.check()
                    self.flush()
                    self._put(tag, owner, lease)
        except TimeoutError:
            raise Unavailable(_UNDER_WAY) from None
        except _Forgotten:
            return

    def _put(self, tag: str, owner: str, lease: Lease) -> None:
        if (holder := self._holder(tag)) is None:
            return
        at = self._state.now()
        version, expires_at = secrets.token_hex(_ETAG // 2), at + self._settings.hours * 3600
        replaces = self.shelf.find(holder.name) is not None
        kept = Kept(
            holder.name, tag, proof_of(holder.proof), version, self._mark(holder), 0, at, expires_at, replaces, owner=owner
        )
        summing = Summing()
        with self._states.table.reading() as reader:
            members = self._contents.members(holder, reader, datetime.fromtimestamp(at, UTC))
            with closing(zip_stream(members)) as chunks:
                size = self._objects.put(kept.file, self._watched(summing.passing(chunks), holder, (lease, reader)))
        self._objects.put(kept.sums, [summing.blocks()])
        self.shelf.keep(msgspec.structs.replace(kept, size_bytes=size, made_at=self._state.now()), holder)

    def _watched(self, chunks: Iterator[bytes], holder: Holder, leases: tuple[Lease, ...]) -> Iterator[bytes]:
        """Pass on chunks while nobody has forgotten the home, nothing that is read was removed, and there is room."""
        looked_at, size = float("-inf"), 0
        for chunk in chunks:
            size += len(chunk)
            if size > self._settings.bytes:
                most = self._settings.bytes
                raise TooLarge(f"The archive would be larger than the {most} bytes that the service keeps; ask its operator")
            if time.monotonic() - looked_at > _LOOK_SECONDS:
                if self._proof(holder.tag) != holder.proof:
                    raise _Forgotten
                for lease in leases:
                    lease.check()
                self._room.check()
                looked_at = time.monotonic()
            yield chunk

    def are_sent(self) -> bool:
        """Tell whether somebody downloads an archive."""
        return self.shelf.are_sent()

    def forget(self, tag: str | None, keys: set[str], wait_seconds: float) -> None:
        """Remove the archives of homes that are hidden, by their internal keys, and that of a tag. Raises `Unavailable`."""
        self.shelf.forget(keys if tag is None else {*keys, name_of(tag)}, wait_seconds)

    def _holder(self, tag: str) -> Holder | None:
        proof = self._proof(tag)
        if not proof:
            return None
        home = self._states.homes.tagged(tag)
        linked = set(self._states.homes.linked(tag))
        streams = [one for one in self._streams.catalogue.everything() if one.home_id in linked] if linked else []
        order = sorted(streams, key=lambda one: (one.home_id, one.module_id, one.name))
        return Holder(tag, home, tuple(order), proof)

    def _proof(self, tag: str) -> dict[str, int]:
        home, links = self._states.homes.tagged(tag), self._state.scan_all(SPACE, f"streams/{tag}/")
        proof = {name: document.version for name, document in links} | self._records.named_in(tag)
        return proof if home is None else {**proof, home.name: home.version}

    def _mark(self, holder: Holder) -> str:
        """Name what is held, as far as counts and versions tell, and the rules by which it is published."""
        told: list[object] = [self._told_settings, self._states.table.first_kept_day()]
        if holder.home is not None:
            key, states = holder.home.key, self._states
            told += mark_of_counts(states.counts.of([key])[0], states.counts.expired(key))
            told += [states.consents.of(holder.home), states.contents.asking.enrolled()]
        for stream in holder.streams:
            try:
                told += [stream.key, self._streams.status(stream).packet_index]
            except NotFound:  # it was deleted meanwhile
                continue
        told += self._records.marks(holder.tag)
        return hashlib.sha256(repr([sorted(one) if isinstance(one, frozenset) else one for one in told]).encode()).hexdigest()

    def _is_current(self, kept: Kept, holder: Holder) -> bool:
        return kept.mark == self._mark(holder) and self._state.now() - kept.at < _FRESH_SECONDS

    def _is_awaited(self, kept: Kept) -> bool:
        """Tell whether those who asked for an archive were told to ask again, and may not have come back yet.

        What has come since the making began would otherwise have it made anew each time, of a home that always sends.
        """
        took_seconds = kept.made_at - kept.at
        return took_seconds > _ANSWER_SECONDS and self._state.now() - kept.made_at < _AWAITED_SECONDS

    def _empty(self) -> EmptyArchive:
        at = today()
        return EmptyArchive(b"".join(zip_stream(self._contents.members(None, None, at))), at.timestamp())
