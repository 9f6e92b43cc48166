"""Presence: which processes run, and what they say of themselves."""

from __future__ import annotations

import pytest

from backends.memory import MemoryState
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.coordination.presence import Presence, ProcessNote, note_of_this


@pytest.fixture
def leases() -> Leases:
    return Leases(MemoryState("memory://"), 60)


def test_a_process_says_what_it_does_and_others_read_it(leases: Leases) -> None:
    doing: list[str | None] = [None]
    ours = Presence(leases, "serving", lambda: note_of_this("worker", keeps_house=True, doing=doing[0]))
    ours.renew()
    (told,) = Presence(leases, "serving").notes()
    assert (told.kind, told.keeps_house, told.doing) == ("worker", True, None)
    assert told.pid > 0
    doing[0] = "curate states"
    ours.renew()
    (told,) = Presence(leases, "serving").notes()
    assert told.doing == "curate states"
    ours.end()
    assert list(Presence(leases, "serving").notes()) == []


def test_a_process_that_says_nothing_is_counted_all_the_same(leases: Leases) -> None:
    silent = Presence(leases, "serving")
    silent.renew()
    assert (silent.count(), list(silent.notes())) == (1, [])
    silent.end()


def test_a_process_that_stands_still_while_it_announces_itself_does_so_the_next_time(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = ProcessNote("api", "host", 1, "0", 0.0, keeps_house=False)
    ours, share = Presence(leases, "serving", lambda: note), leases.share

    def shared_too_long_ago(name: str) -> Lease:
        lease = share(name)
        leases.break_shared(name, 0)
        return lease

    monkeypatch.setattr(leases, "share", shared_too_long_ago)
    ours.renew()
    assert ours.count() == 0
    monkeypatch.undo()
    ours.renew()
    assert list(ours.notes()) == [note]
    ours.end()


def test_a_process_whose_lease_was_broken_says_all_again(leases: Leases) -> None:
    note = ProcessNote("api", "host", 1, "0", 0.0, keeps_house=False)
    ours = Presence(leases, "serving", lambda: note)
    ours.renew()
    leases.break_shared("serving", 0)
    ours.renew()
    assert list(ours.notes()) == [note]
    ours.end()
