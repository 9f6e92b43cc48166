"""Sessions of people at the console: found only with the browser's token, and readable by nobody else."""

from __future__ import annotations

import pytest

from smarthouse_api.access.sessions import IDLE_SECONDS, LONGEST_SECONDS, Sessions
from smarthouse_api.house import House
from tests.waiting import pass_time


def test_a_session_is_found_by_its_token_until_it_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(house.state)
    one, other = sessions.begin("home", "whose", "proof"), sessions.begin("home", "whose", "proof")
    assert one.token != other.token
    assert one.said.form_token != other.said.form_token
    found = sessions.find("home", one.token)
    assert found is not None
    assert (found.said.who, found.said.proof) == ("whose", "proof")
    assert [found.sent(sent) for sent in (one.said.form_token, other.said.form_token, "", None)] == [True, False, False, False]
    assert sessions.find("operator", one.token) is None
    assert sessions.find("home", f"{one.token}x") is None
    kept = [document.value for _, document in house.state.scan_all("access", "session/")]
    assert len(kept) == 2
    assert not any(b"whose" in value or b"proof" in value for value in kept)
    sessions.end(other.token)
    sessions.end(other.token)
    assert sessions.find("home", other.token) is None
    pass_time(house, IDLE_SECONDS - 1, monkeypatch)
    assert sessions.find("home", one.token) is not None  # from now on, it has as long again
    pass_time(house, IDLE_SECONDS - 1, monkeypatch)
    assert sessions.find("home", one.token) is not None
    for _ in range(int(LONGEST_SECONDS / IDLE_SECONDS) - 2):
        pass_time(house, IDLE_SECONDS - 1, monkeypatch)
        assert sessions.find("home", one.token) is not None
    pass_time(house, 100, monkeypatch)
    assert sessions.find("home", one.token) is None  # however often it is renewed
    last = sessions.begin("home", "whose", "proof")
    pass_time(house, IDLE_SECONDS - 1, monkeypatch)
    assert sessions.find("home", last.token, goes_on=False) is not None
    pass_time(house, 2, monkeypatch)
    assert sessions.find("home", last.token) is None
