"""Notes of what was deleted for good, in both stores."""

from __future__ import annotations

from typing import Any

import pytest

from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.house import House


@pytest.mark.parametrize("dies_at", ["delete", "commit"])
def test_a_note_whose_withdrawal_dies_is_not_left_again(house: House, monkeypatch: pytest.MonkeyPatch, dies_at: str) -> None:
    """It is of an objection: the home has agreed anew, and a later erasure without an objection must not bring it back."""
    notes, digest, other = house.notes, digest_of("objection/one"), digest_of("another")
    notes.leave([digest, other])
    store: Any = house.objects if dies_at == "delete" else house.state

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if dies_at == "commit":
            patched.setattr(house.objects, "delete", lambda _: patched.setattr(store, "commit", die))
        else:
            patched.setattr(store, "delete", die)
        with pytest.raises(KeyboardInterrupt):
            notes.withdraw(digest)
    assert not notes.is_left(digest)
    assert list(notes.problems()) == []
    notes.mend()
    assert (notes.is_left(digest), notes.left()) == (False, {other})
    assert house.notes.in_objects() == {other}
    notes.leave([digest])
    assert notes.is_left(digest)
    assert notes.left() == {digest, other}


def test_a_note_that_is_left_while_it_is_withdrawn_stays(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    notes, digest, delete = house.notes, digest_of("objection/one"), house.objects.delete

    def leave_and_delete(keys: Any) -> None:
        notes.leave([digest])
        delete(keys)

    notes.leave([digest])
    with monkeypatch.context() as patched:
        patched.setattr(house.objects, "delete", leave_and_delete)
        notes.withdraw(digest)
    notes.mend()
    assert (notes.in_state(), notes.in_objects()) == ({digest}, {digest})
