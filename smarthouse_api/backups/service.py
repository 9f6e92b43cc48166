"""Backups of an installation, and its way into other stores: wires the steps."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Final

from backends.ports import Change, ObjectStore, StateStore, StoreDamaged, StoreUnavailable
from smarthouse_api.backups import files, manifest, records
from smarthouse_api.backups.files import Told
from smarthouse_api.backups.lists import Listed
from smarthouse_api.backups.loading import Target
from smarthouse_api.backups.making import Made, Making
from smarthouse_api.coordination.installation import Installation
from smarthouse_api.coordination.leases import SPACE as LEASES
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.milestones import Milestones
from smarthouse_api.coordination.notes import Notes
from smarthouse_api.coordination.store_ages import StoreAges
from smarthouse_api.coordination.store_agreement import OLDER
from smarthouse_api.coordination.store_marks import ObjectMarks
from smarthouse_api.errors import InUse, Invalid
from smarthouse_api.lake.table import LakeTable
from smarthouse_api.restoring import Restored, Restoring

_LEASE: Final = "restoring"
_PRESENCES: Final = ("shared/serving/", "shared/waiting/", "shared/worker/")
_BREATH_SECONDS: Final = 0.1
_WAIT_SECONDS: Final = 30.0
"""The longest wait of a backup for a writer of the lake."""

_SERVED: Final = "The service or a worker runs; stop the service and all workers, wait some seconds, and repeat this"
_RESTORING: Final = "a restore has not ended; run `smarthouse restore` until it ends well"
_COPYING: Final = "its copy to other stores has not ended; repeat `smarthouse copy`, or run `smarthouse copy --undo`"
_MOVED: Final = (
    "it was moved to other stores; point the settings at those, or run `smarthouse copy --undo` to serve it here again"
)
_TARGET: Final = "a copy of the installation {id} into these stores has not ended; repeat `smarthouse copy`"


class Backups:
    """Makes backups, and restores and copies the installation, which nobody may serve then.

    lease_seconds: after this time, a process that died is known to be dead. stores: the names of both, without their secrets.
    """

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        tables: Sequence[LakeTable],
        installation: Installation,
        restoring: Restoring,
        leases: Leases,
        lease_seconds: float,
        stores: tuple[str, str],
    ) -> None:
        self._state, self._objects, self._tables = state, objects, tables
        self._installation, self._restoring = installation, restoring
        self._leases, self._lease_seconds = leases, lease_seconds
        self._ages = StoreAges(state, objects, leases)
        self._names, self._names_of_stores = [table.name for table in tables], stores

    def make(self, place: ObjectStore, told: Told) -> Made:
        """Make a backup of the installation, which may be served meanwhile. Raises as `Making.make`, and `InUse`."""
        id_ = self._installation.check()
        for table in self._tables:
            table.open()  # refuses before anything is made in the place
        lease = f"backup-{manifest.begin(place, id_)}"
        try:
            with self._leases.hold(lease, self._lease_seconds + 1):  # of one that was killed
                made = Making(self._state, self._objects, self._tables, _WAIT_SECONDS, told).make(id_, place)
                Milestones(self._state).note("backup", files=made.files, bytes=made.size_bytes)
                return made
        except TimeoutError:
            raise InUse("Another backup into this place has not ended; repeat this once it has") from None

    def restore(self, listed: Listed, allow: Callable[[int], None] = lambda _: None) -> Restored:
        """Prepare stores for service that were restored by other means; see `Restoring`. Held back until that has ended.

        allow: is told first how many homes and streams would be erased that the state does not know; it may raise.
        """
        refuse_if_served(self._state, self._lease_seconds)
        held = ObjectMarks(self._objects).read().held
        if held not in (None, _RESTORING, OLDER):
            raise Invalid(f"The installation is held back: {held}")
        if not self._installation.is_there():
            raise Invalid("The state store is empty; set the URLs of the stores as for the service, or say --from")
        self._installation.refuse_others()
        if ObjectMarks(self._objects).is_empty() and self._restoring.needs_objects():
            raise Invalid(
                f"The object store {self._names_of_stores[1]} is empty, but the state store {self._names_of_stores[0]} knows of"
                " uploads or packets in it: set SMARTHOUSE_OBJECTS_URL to their store, or put its objects back from a backup of"
                " the same time. If they are lost for good, restore a backup into two empty stores, or begin anew in such"
            )
        listed.refuse_others(self._installation.id() or ObjectMarks(self._objects).read().id)
        allow(self._restoring.count_unknown(listed.digests))
        self._installation.hold_back(_RESTORING)
        self._refuse_if_served_now(held)
        with self._alone():
            done = self._restoring.restore(listed.digests)  # it refuses a state that knows none of the homes
            self._installation.adopt()
            self._ages.accept()
            self._installation.let_go()
        return done

    def restore_from(self, place: ObjectStore, listed: Listed, *, is_replaced: bool, told: Told) -> Restored:
        """Restore a backup into empty stores, and delete again what was deleted for good since. Held back until that has ended.

        is_replaced: the stores may hold an older or a newer state of the same installation. Raises `Invalid`, `InUse`.
        """
        with suppress(StoreDamaged) if is_replaced else nullcontext():  # a damaged state is replaced, too
            refuse_if_served(self._state, self._lease_seconds)
        found, copied = manifest.read(place)
        listed.refuse_others(found.installation)
        manifest.check_state(place, found)
        reason = (
            f"the backup of {found.moment:%Y-%m-%d %H:%M:%S} UTC of the installation {found.installation} is not restored yet;"
            " run the same `smarthouse restore --from` until it ends well"
        )
        target = Target(self._state, self._objects, self._names, told)
        held = ObjectMarks(self._objects).read().held
        target.take(reason, found.installation if is_replaced else None)
        with suppress(StoreDamaged) if is_replaced else nullcontext():
            self._refuse_if_served_now(held)
        dump = records.unpacked(records.read(place, found.state))
        with self._alone(may_be_damaged=is_replaced):
            target.load(place, copied, dump, reason)
        with self._alone():  # the lease of before may have gone with the state that was replaced
            told("what was deleted since", 0, 0)
            done = self._restoring.restore(listed.digests | Notes(self._state, self._objects).left())
            self._ages.accept()
            target.installation.let_go()
        return done

    def copy(self, state: StateStore, objects: ObjectStore, *, is_replaced: bool, is_kept: bool, told: Told) -> int:
        """Copy the installation into other stores, and compare; how many files there are. Nobody may serve it meanwhile.

        is_replaced: the others may hold the same installation. is_kept: it may be served from its old stores too, afterwards;
        else these are held back. Raises `Invalid`, `InUse`.
        """
        for one in (self._state, state):
            refuse_if_served(one, self._lease_seconds)
        if ObjectMarks(self._objects).read().held is None:
            self._installation.check()  # refuses before anything is made
        id_ = self._installation.id()
        reason = _TARGET.format(id=id_)
        self._refuse_itself(state, objects)
        is_new = self._hold_for_copy(goes_on=ObjectMarks(objects).read().held == reason)
        target = Target(state, objects, self._names, told)
        try:
            target.take(reason, id_ if is_replaced else None)
        except (Invalid, StoreUnavailable):  # nothing was copied
            if is_new:
                self._installation.let_go()
            raise
        tables = (file for name in self._names for file in files.files_of_table(self._objects, name))
        listed = [*files.objects_of(self._objects), *tables]
        copies = target.load(self._objects, listed, self._state.dump(), reason)
        target.compare(copies, self._state.dump())
        # One of the two at most is served, whenever this dies.
        if not is_kept:
            self._installation.hold_back(_MOVED)
        target.installation.let_go()
        if is_kept:
            self._installation.let_go()
        return len(copies)

    def undo_copy(self) -> None:
        """Let the installation be served from these stores again, which a copy has held back. Raises `Invalid`."""
        held = ObjectMarks(self._objects).read().held
        if held not in (_COPYING, _MOVED):
            raise Invalid("No copy holds this installation back" if held is None else f"The installation is held back: {held}")
        self._installation.let_go()

    @contextmanager
    def _alone(self, *, may_be_damaged: bool = False) -> Iterator[None]:
        """Keep a second restore from working beside this one. Waits for the lease of one that died. Raises `InUse`.

        may_be_damaged: the state that is replaced may be too damaged for a lease.
        """
        with ExitStack() as held:
            try:
                with suppress(StoreDamaged) if may_be_damaged else nullcontext():
                    held.enter_context(self._leases.hold(_LEASE, self._lease_seconds + 1))
            except TimeoutError:
                raise InUse("Another restore into these stores has not ended; repeat this once it has") from None
            yield

    def _hold_for_copy(self, *, goes_on: bool) -> bool:
        """Hold the installation back; whether it was not before. goes_on: the target is of a copy that died.

        Raises `Invalid` if something else holds it back, such as a copy that has ended: the other stores may be newer by now.
        """
        held = ObjectMarks(self._objects).read().held
        if held not in (None, _COPYING) and not (held == _MOVED and goes_on):
            raise Invalid(f"The installation is held back: {held}")
        if held is None:
            self._installation.check()
        self._installation.hold_back(_COPYING)
        self._refuse_if_served_now(held)
        return held is None

    def _refuse_if_served_now(self, held: str | None) -> None:
        """Look once more for a process that serves, which may have begun before it could see that the stores are held back.

        held: why they were held back before. Raises `InUse`.
        """
        if _presences(self._state):
            if held is None:
                self._installation.let_go()
            raise InUse(_SERVED)

    def _refuse_itself(self, state: StateStore, objects: ObjectStore) -> None:
        """Raise `Invalid` if one of these stores is the one that the installation is in."""
        name = f"installation/probe-{secrets.token_hex(8)}"
        self._state.put(LEASES, name, b"", ttl_seconds=60)
        self._objects.put(name, [b""])
        try:
            if state.get(LEASES, name) is not None or any(objects.list(name)):
                raise Invalid("The installation is in these stores already; name two others")
        finally:
            self._objects.delete([name])
            self._state.commit(LEASES, Change(deletes=(name,)))


def refuse_if_served(state: StateStore, lease_seconds: float) -> None:
    """Raise `InUse` if a process serves the installation or does its chores. Waits until one that died is known to be dead."""
    deadline = time.monotonic() + lease_seconds + 1
    first = _presences(state)
    while there := _presences(state):
        if any(there.get(name) != version for name, version in first.items() if name in there) or time.monotonic() > deadline:
            raise InUse(_SERVED)
        time.sleep(_BREATH_SECONDS)


def _presences(state: StateStore) -> dict[str, int]:
    """List who is present, each with the version of the last sign of life."""
    if state.is_empty():
        return {}
    return {name: document.version for prefix in _PRESENCES for name, document in state.scan_all(LEASES, prefix)}
