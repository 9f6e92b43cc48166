"""The installation: whether the two stores and the lake belong together, and whether this version may serve them.

An installation has a random id, which both stores and each table of the lake bear. Stores that bear different ids, or an empty
store beside a full one, are not served: who asked it to forget a home would be told so while another store still has the home.

Both stores bear a format number too; see `smarthouse_api.coordination.store_agreement`.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from contextlib import suppress
from typing import Final, Protocol

from backends.ports import Conflict, ObjectStore, StateStore, StoreError, StoreFull, StoreUnfit
from smarthouse_api.coordination.presence import Presence
from smarthouse_api.coordination.store_agreement import (
    FORMAT,
    MEND,
    WRITE_AGAIN,
    HeldBack,
    agreed,
    refuse_held,
    refuse_newer,
    refuse_strangers,
)
from smarthouse_api.coordination.store_marks import Marks, ObjectMarks, StateMarks
from smarthouse_api.errors import own_copy

_WITH_ID: Final = 4
_NUMBERED: Final = 3
_ASKED_AGAIN_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class Age(Protocol):
    """Tells whether the state store is older than the object store."""

    def check(self) -> None:
        """Raise `HeldBack` if it is."""

    def look(self) -> None:
        """Raise `HeldBack` if it is and this process has seen it go back."""


class NoInstallation(StoreUnfit):
    """Says that both stores are empty, and that this process is not the one to begin an installation there."""


class Installation:
    """Tells whether the stores belong to one installation that this version may serve, and makes a new one in empty stores.

    1. The object store is marked with the id first, then the state store with the id and the format, then the object store
       with the format. A process that dies in between leaves what the next one ends.
    2. Empty stores become a new installation; stores of an older format get an id. Nothing else is ever marked.
    3. What an older format needs is told by the data, not by the number: it can be killed at any time and goes on later.
    4. Who holds an installation back puts that mark first, and then looks for processes that serve. Who serves announces that
       first, and then looks for the mark. So one of the two sees the other.

    may_begin: whether empty stores become an installation without `begin`. is_settled: whether `settle` has nothing to ask.
    found: the format that `settle` found first, of the store with the older one; None before, and in empty stores.
    """

    def __init__(self, state: StateStore, objects: ObjectStore, *, may_begin: bool = True) -> None:
        self._state, self._objects = StateMarks(state), ObjectMarks(objects)
        self._may_begin = may_begin
        self._id: str | None = None
        self._asking = threading.Lock()
        self._refusal: StoreError | None = None
        self._asks_again_at = 0.0
        self._presence: Presence | None = None
        self._waiting: Presence | None = None
        self._age: Age | None = None
        self.is_settled = False
        self.found: int | None = None

    def settle(self) -> None:
        """Check that the stores belong together, and mark them, once in this process. A refusal is asked again after a second.

        Raises `StoreUnfit` in words that say which store is wrong and what to do, and `StoreUnavailable`. Full stores of an
        older format are marked later: work without a request, such as forgetting, is what makes room.
        """
        if self.is_settled:
            return
        with self._asking:
            if time.monotonic() >= self._asks_again_at and not self.is_settled:
                self._settle()
            if self._refusal is not None:
                raise own_copy(self._refusal)

    def check(self) -> str:
        """Ask the stores anew whether they belong together, and return the id. Raises as `settle`.

        After a refusal, `settle` asks again too: nothing of this process is served until the stores are well.
        """
        self.settle()
        try:
            marks = self._look()
            is_same = self._agreed(*marks) == self._id and not any(one.is_garbled for one in marks)
            if is_same and self._age is not None:
                self._age.look()
        except StoreUnfit:
            self.is_settled, self._asks_again_at = False, 0.0
            raise
        if not is_same:
            self.is_settled = False
            self._ask_at_once()  # it says what is wrong, or mends it
        return self._id or ""

    def condition(self) -> str:
        """Give a line for readiness. Raises as `check`."""
        if not self.is_settled:
            self._ask_at_once()
        return f"{self.check()}, format {FORMAT}"

    def id(self) -> str | None:
        """Return the id that the state store bears; None if it bears none. Refuses nothing, marks nothing."""
        return self._id or self._state.id()

    def is_there(self) -> bool:
        """Tell whether the state store has anything of an installation, of any format."""
        return self.id() is not None or not self._state.is_empty()

    def begin(self) -> None:
        """Make a new installation in empty stores, or settle with the one that is there. Raises as `settle`."""
        self._may_begin = True
        self._ask_at_once()

    def hold_back(self, reason: str) -> None:
        """Keep every process from serving the installation, also after a restart. reason: a sentence for operators."""
        self._objects.hold(reason)
        self._state.hold(reason)

    def let_go(self) -> None:
        """Let the installation be served again."""
        self._state.hold(None)
        self._objects.hold(None)

    def adopt(self) -> None:
        """Give the id of one store to the other, if that bears none or a damaged one, as after an older version's backup.
        Damaged numbers are written again.

        The caller knows that they belong together, and has called `refuse_others`.
        """
        state, objects = self._look()
        if not state.has_id and objects.has_id:
            self._state.put_id(str(objects.id), FORMAT, if_absent=state.id is None)
        elif state.has_id and not objects.has_id:
            self._objects.put_id(str(state.id), if_absent=False)
            self._objects.put_number(FORMAT)
        if state.is_garbled or objects.is_garbled:
            self._state.put_number(FORMAT)
            self._objects.put_number(FORMAT)

    def refuse_others(self) -> None:
        """Raise `StoreUnfit` if the stores surely do not belong together, or a newer version wrote one. Marks nothing."""
        state, objects = self._look()
        refuse_newer(state, objects)
        if state.has_id and objects.has_id:
            refuse_strangers(state, objects)

    def refuse_newer(self) -> None:
        """Raise `NewerFormat` if a newer version wrote a store. Marks nothing."""
        refuse_newer(*self._look())

    def announce_by(self, presence: Presence, waiting: Presence) -> None:
        """Have `settle` announce that this process serves, before it settles. waiting: announces that it is held back."""
        self._presence, self._waiting = presence, waiting

    def compare_by(self, age: Age) -> None:
        """Have `settle` and `check` compare the age of the stores, too."""
        self._age = age

    def _ask_at_once(self) -> None:
        self._asks_again_at = 0.0
        self.settle()

    def _settle(self) -> None:
        self._asks_again_at = time.monotonic() + _ASKED_AGAIN_SECONDS
        try:
            is_marked = self._is_marked()
            if self._presence is not None:
                self._announce(self._presence)
            if is_marked and self._age is not None:
                self._age.check()
        except StoreError as refusal:
            self._refusal = refusal
            if isinstance(refusal, HeldBack) and self._waiting is not None:
                with suppress(StoreError):
                    self._waiting.renew()
        else:
            self._refusal, self.is_settled = None, is_marked
            if self._waiting is not None:
                self._waiting.end()
            if not is_marked:
                self._asks_again_at = 0.0

    def _announce(self, presence: Presence) -> None:
        presence.renew()
        try:
            refuse_held(*self._look())
        except HeldBack:
            presence.end()
            raise

    def _agreed(self, state: Marks, objects: Marks) -> str | None:
        """Return what `agreed` does. Raises as it does, and `StoreUnfit` if the place of the objects is missing."""
        if state.id is not None and objects.id is None and (missing := self._objects.missing()) is not None:
            raise StoreUnfit(f"{missing}. The state store holds an installation, whose objects must be there; {MEND}")
        return agreed(state, objects)

    def _look(self) -> tuple[Marks, Marks]:
        state = self._state.read()
        return state, self._objects.read().beside(state)

    def _is_marked(self) -> bool:
        """See that both stores bear the id and the number; False if an older installation's store has no room for them."""
        while True:
            state, objects = marks = self._look()
            try:
                id_ = self._agreed(state, objects)
                is_new = id_ is None and self._is_new(state, objects)
            except StoreUnfit:
                if marks == self._look():
                    raise
                continue  # another process has marked one store between our looks at the two
            if self._id is not None and (is_new or id_ not in (None, self._id)):
                raise StoreUnfit(f"the stores were replaced while this process served the installation {self._id}; restart it")
            if self.found is None and not is_new:
                self.found = min(one.format for one in marks if not one.is_garbled)
            _tell_garbled(state, objects)
            try:
                if id_ is None:
                    self._mark(objects, is_new=is_new)
                elif state.format < FORMAT or objects.format < FORMAT:
                    self._state.put_number(FORMAT)
                    self._objects.put_number(FORMAT)
                else:
                    self._id = id_
                    return True
            except Conflict:
                continue  # another process does the same
            except StoreFull:
                if is_new:
                    raise
                log.warning("a store is full, and is marked with its installation and format once it has room")
                return False

    def _is_new(self, state: Marks, objects: Marks) -> bool:
        """Tell whether the stores, which do not both bear an id, are a new installation's and not an older one's.

        Raises `StoreUnfit` if they are neither.
        """
        is_complete = objects.id is not None and objects.format >= _WITH_ID
        if not self._state.is_empty():
            if is_complete:
                raise StoreUnfit(
                    "the state store bears no installation's id, but the object store does: the state is of an older backup, or"
                    f" of another installation; {MEND}; {WRITE_AGAIN}"
                )
            if state.format >= _NUMBERED and objects == Marks(None, None, None) and self._objects.is_empty():
                told = self._objects.missing() or "the object store is empty"
                raise StoreUnfit(f"{told}, but the state store holds an installation; {MEND}")
            return False
        if is_complete or not self._objects.is_empty():
            raise StoreUnfit(f"the state store is empty, but the object store holds an installation; {MEND}")
        if not self._may_begin:
            raise NoInstallation("both stores are empty; the service makes a new installation in them when it starts")
        return True

    def _mark(self, objects: Marks, *, is_new: bool) -> None:
        id_ = objects.id
        if id_ is None:
            id_ = secrets.token_hex(16)
            self._objects.put_id(id_, if_absent=True)
        self._state.put_id(id_, FORMAT)
        log.info("%s the id %s", "a new installation was made, with" if is_new else "this installation was given", id_)


def _tell_garbled(state: Marks, objects: Marks) -> None:
    for name, marks, other in (("state", state, objects), ("object", objects, state)):
        if marks.is_garbled:
            log.warning(
                "the format number of the %s store was damaged; it is written again, as the other store has format %d",
                name,
                other.format,
            )
