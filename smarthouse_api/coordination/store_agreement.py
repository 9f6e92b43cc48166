"""What the marks of two stores must say so that both are served: one installation, a format that is known, and no hold.

No version touches a format that it does not know.

| format | written by | what is different |
|---|---|---|
| 1 | versions 0.1 and 0.2, which wrote no number | states lie in the lake by their day of arrival |
| 2 | builds before 0.3 | states lie by their own day; see `smarthouse_api.states.records.placement` |
| 3 | builds before 0.3 | states have their attributes as uploaded, too; see `smarthouse_api.states.payload.uploaded` |
| 4 | builds before 0.3 | the stores and the lake bear the installation's id |
| 5 | builds before 0.3 | documents and entries of the state have checksums; see `smarthouse_api.coordination.adding_sums` |
| 6 | this version | states of days that are over lie in as many buckets as they need; see `smarthouse_api.states.days_over` |
"""

from __future__ import annotations

from typing import Final

from backends.ports import StoreUnfit
from smarthouse_api.coordination.store_marks import Marks

FORMAT: Final = 6
"""The format that this version writes. It reads this and every older one."""

MEND: Final = "set SMARTHOUSE_STATE_URL and SMARTHOUSE_OBJECTS_URL to two stores of one installation, or restore a backup"

WRITE_AGAIN: Final = "if both stores are the right ones, stop the service and run `smarthouse restore`, which marks them again"

OLDER: Final = (
    "the state store is older than the object store, as after a failover of Redis, or if an old copy of its file was put back:"
    " it lacks what was uploaded and deleted since; stop the service and its workers, put back the newest state if there is a"
    " newer one, and run `smarthouse restore`, which asks, and erases the data of homes that the state does not know"
)
"""Why an installation is held back whose state store has lost something; see `smarthouse_api.state_age`."""


class NewerFormat(StoreUnfit):
    """Says that a newer version wrote a store."""


class HeldBack(StoreUnfit):
    """Says that a command holds the installation back, and why."""


def agreed(state: Marks, objects: Marks) -> str | None:
    """Return the id that both stores bear; None if the state store bears none. Raises `StoreUnfit`."""
    refuse_newer(state, objects)
    refuse_held(state, objects)
    refuse_strangers(state, objects)
    _refuse_illegible(state, objects)
    return state.id


def refuse_newer(state: Marks, objects: Marks) -> None:
    """Raise `NewerFormat` if a newer version wrote a store."""
    for name, marks in {"state": state, "object": objects}.items():
        if marks.format > FORMAT:
            raise NewerFormat(
                f"the {name} store has format {marks.format}, and this version reads formats 1 to {FORMAT}; start the version"
                " that wrote it, or a newer one"
            )


def refuse_held(state: Marks, objects: Marks) -> None:
    """Raise `HeldBack` with the reason if a command holds the installation back."""
    if (reason := state.held or objects.held) is not None:
        raise HeldBack(reason)


def refuse_strangers(state: Marks, objects: Marks) -> None:
    """Raise `StoreUnfit` if the stores bear different ids, or a damaged one, or only the state store bears one."""
    for name, marks in {"state": state, "object": objects}.items():
        if marks.id is not None and not marks.has_id:
            raise StoreUnfit(f"the mark `installation/id` of the {name} store is damaged; {WRITE_AGAIN}")
    if state.id is not None and objects.id is None:
        raise StoreUnfit(
            "the object store bears no installation's id, but the state store does: the object store is empty, of an older"
            f" backup, or of another installation; {MEND}; {WRITE_AGAIN}"
        )
    if state.id is not None and objects.id is not None and state.id != objects.id:
        raise StoreUnfit(
            f"the state store is of the installation {state.id}, and the object store of the installation {objects.id}; {MEND}"
        )


def _refuse_illegible(state: Marks, objects: Marks) -> None:
    """Raise `StoreUnfit` if a store's number is damaged, and the other has none to write it again from."""
    for name, marks, other in (("state", state, objects), ("object", objects, state)):
        if marks.is_garbled and other.number is None:
            raise StoreUnfit(
                f"the mark `installation/format` of the {name} store is damaged, and the other store tells no format either: a"
                f" newer version may have written them; {WRITE_AGAIN}"
            )
