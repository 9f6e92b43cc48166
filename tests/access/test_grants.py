"""Keys: what each opens, for how long, and who makes the first. On every pair of stores."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from backends.ports import Conflict, StateStore, StoreUnavailable
from config.settings import Settings
from smarthouse_api.access import grants as access_module
from smarthouse_api.access import keys
from smarthouse_api.access.grants import LARGEST_HOME, SPACE, Access
from smarthouse_api.access.keys import Owner
from smarthouse_api.errors import Forbidden, Invalid, Unauthorized
from smarthouse_api.house import House
from tests.conftest import Environment

UNKNOWN = f"shk_{'0' * 12}_{'0' * 64}"
HUGE = pytest.param("\u00fc" * 10**6, id="huge")


@pytest.fixture
def access(house: House) -> Access:
    return house.access


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets so many seconds pass by the clock that keys go by."""

    def pass_(seconds: float) -> None:
        now = access_module._now() + timedelta(seconds=seconds)
        monkeypatch.setattr(access_module, "_now", lambda: now)

    return pass_


def refused(access: Access, authorization: str | None) -> str:
    """What is told to whoever shows this."""
    with pytest.raises(Unauthorized) as told:
        access.authenticate(authorization)
    return told.value.detail


def opens(access: Access, text: str) -> bool:
    try:
        access.authenticate(f"Bearer {text}")
    except Unauthorized:
        return False
    return True


def open_homes(access: Access, text: str, *home_ids: int) -> list[int]:
    principal = access.authenticate(f"Bearer {text}")
    found = []
    for home_id in home_ids:
        try:
            access.require_home(principal, home_id)
        except Forbidden:
            continue
        found.append(home_id)
    return found


def stored(state: StateStore) -> bytes:
    return b"".join(document.value for _, document in state.scan_all(SPACE))


# What a key is


def test_a_key_says_who_shows_it_and_what_they_may_do(access: Access) -> None:
    record, text = access.create("Anna", homes=[7, 5, 7], datasources=["meter"], datasets=["d1"])
    principal = access.authenticate(f"ModeCloud {text}")
    assert principal.owner == Owner(type="user", id=record.id, name="Anna")
    assert (principal.homes, principal.project, principal.admin) == ((5, 7), None, False)
    assert (principal.datasources, principal.datasets) == (("meter",), ("d1",))


def test_an_owner_is_of_the_kind_that_the_key_is(access: Access) -> None:
    made = [
        access.create("n", homes=[1]),
        access.create("n", project="p", homes=[1]),
        access.create("n", project="p", admin=True),
    ]
    assert [access.authenticate(f"Bearer {text}").owner.type for _, text in made] == ["user", "project", "admin"]


@pytest.mark.parametrize("scheme", ["ModeCloud", "Bearer", "BEARER", "modecloud", "bearer   "])
def test_the_scheme_may_be_either_in_any_case_and_any_number_of_spaces_follows(access: Access, scheme: str) -> None:
    _, text = access.create("n", admin=True)
    assert access.authenticate(f"{scheme} {text}").admin


def test_a_list_tells_every_key_and_no_secret(access: Access) -> None:
    first, first_text = access.create("first", admin=True)
    second, second_text = access.create("second", project="p")
    assert access.list() == [first, second]
    for text in (first_text, second_text):
        assert text.rpartition("_")[2] not in repr(access.list())


def test_nothing_that_is_stored_holds_a_secret(house: House) -> None:
    record, text = house.access.create("n", admin=True)
    rotated = house.access.rotate(record.id, keep_old_seconds=60)
    assert rotated is not None
    assert record.id.encode() in stored(house.state)
    for secret in (text.rpartition("_")[2], rotated.rpartition("_")[2]):
        assert secret.encode() not in stored(house.state)
        assert bytes.fromhex(secret) not in stored(house.state)


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\nb", "a\x00", "a\x7f", "a\u2028b", "\ud800"])
def test_a_name_that_is_none_is_refused(access: Access, name: str) -> None:
    for wrong in ({"name": name, "admin": True}, {"name": "n", "project": name}, {"name": "n", "datasets": [name]}):
        with pytest.raises(Invalid, match="1 to 100 characters"):
            access.create(**wrong)
    assert access.list() == []


def test_a_name_may_be_of_any_script(access: Access) -> None:
    _, text = access.create("Žofie 🏠 " + "x" * 91, project="Дом")
    assert access.authenticate(f"Bearer {text}").project == "Дом"


@pytest.mark.parametrize("home_id", [-1, LARGEST_HOME + 1])
def test_a_home_out_of_range_is_refused(access: Access, home_id: int) -> None:
    with pytest.raises(Invalid, match="integer from 0"):
        access.create("n", homes=[home_id])
    with pytest.raises(Invalid, match="integer from 0"):
        access.assign([1, home_id], "p")
    assert access.assignments() == {}


def test_a_key_that_would_open_nothing_is_refused(access: Access) -> None:
    with pytest.raises(Invalid, match="must open something"):
        access.create("n")


# What is no key


@pytest.mark.parametrize("authorization", [None, "", "   "])
def test_whoever_shows_no_key_is_told_how_to(access: Access, authorization: str | None) -> None:
    assert refused(access, authorization).startswith("A key is needed: send `Authorization: Bearer <key>`")


@pytest.mark.parametrize("authorization", [UNKNOWN, f"Basic {UNKNOWN}", f"Bearer{UNKNOWN}", "ſ K é \xff", "\x00", HUGE])
def test_another_scheme_is_told_the_right_ones(access: Access, authorization: str) -> None:
    told = refused(access, authorization)
    assert "Bearer <key>" in told
    assert "ModeCloud <key>" in told
    assert authorization not in told


@pytest.mark.parametrize(
    "text",
    ["", "x", UNKNOWN.upper(), UNKNOWN[:-1], f"{UNKNOWN}0", f"{UNKNOWN} x", f"{UNKNOWN}\n", f"{UNKNOWN[:-1]}٠", "\xff", HUGE],
)
def test_a_malformed_key_is_told_its_shape_and_not_repeated(access: Access, text: str) -> None:
    told = refused(access, f"Bearer {text}")
    assert told.startswith("The key is malformed; it is shk_")
    assert len(text) < 2 or text not in told


def test_unknown_wrong_expired_and_revoked_are_told_in_the_same_words(access: Access, pass_time) -> None:
    record, text = access.create("n", admin=True)
    _, expired = access.create("n", admin=True, expires_seconds=1)
    pass_time(1)
    wrong = f"{text[:-4]}{'0000' if text[-4:] != '0000' else '1111'}"
    told = {refused(access, f"Bearer {one}") for one in (UNKNOWN, wrong, expired)}
    access.revoke(record.id)
    assert told == {refused(access, f"Bearer {text}")}
    assert "shk_" not in told.pop()


def test_a_key_that_does_not_exist_is_compared_as_often_as_one_that_does(access: Access, monkeypatch) -> None:
    record, text = access.create("n", admin=True)
    access.rotate(record.id, keep_old_seconds=60)
    compared: list[int] = []
    compare = hmac.compare_digest

    def count(one: bytes, other: bytes) -> bool:
        compared.append(len(one) + len(other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", count)
    told = []
    for one in (text, f"shk_{record.id}_{'0' * 64}", UNKNOWN):
        compared.clear()
        opens(access, one)
        told.append(list(compared))
    assert told == [[64, 64]] * 3


def test_a_key_of_an_earlier_version_is_longer_and_works(access: Access, monkeypatch) -> None:
    assert len(access.create("new", admin=True)[1]) < 80, "it fits a line of a terminal"
    monkeypatch.setattr(keys, "new_secret", lambda: "ab" * 32)
    record, text = access.create("old", admin=True)
    assert (opens(access, text), keys.id_in(text)) == (True, record.id)
    assert [opens(access, wrong) for wrong in (text[:-1], text[:-2], f"{text}a", f"{text}ab")] == [False] * 4


# How long it works


def test_a_key_works_until_it_expires(access: Access, pass_time) -> None:
    _, text = access.create("n", admin=True, expires_seconds=60)
    pass_time(59)
    assert opens(access, text)
    pass_time(1)
    assert not opens(access, text)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e30])
def test_a_time_that_is_none_is_refused(access: Access, seconds: float) -> None:
    with pytest.raises(Invalid, match="100 years"):
        access.create("n", admin=True, expires_seconds=seconds)


def test_a_time_is_utc(access: Access) -> None:
    record, _ = access.create("n", admin=True, expires_seconds=60)
    (listed,) = access.list()
    assert listed.expires_at == record.expires_at
    assert listed.created_at.utcoffset() == timedelta(0)


def test_a_revoked_key_works_no_more(access: Access) -> None:
    record, text = access.create("n", admin=True)
    assert access.revoke(record.id)
    assert not opens(access, text)
    assert access.list() == []


@pytest.mark.parametrize("id_", ["0" * 12, "", "x", "a\x00", "0" * 1000, UNKNOWN])
def test_a_key_that_is_not_there_is_neither_revoked_nor_rotated(access: Access, id_: str) -> None:
    assert access.revoke(id_) is False
    assert access.rotate(id_) is None


@pytest.mark.parametrize("shared", ["embedded_pair", "production_pair"])
def test_what_one_process_revokes_is_worthless_in_another_at_once(shared: str, request: pytest.FixtureRequest) -> None:
    environment: Environment = request.getfixturevalue(shared)
    here, there = (House(Settings.from_env(environment)) for _ in range(2))
    record, text = here.access.create("n", admin=True)
    assert opens(there.access, text)
    here.access.revoke(record.id)
    assert not opens(there.access, text)
    here.close()
    there.close()


# Rotation


def test_a_rotated_key_keeps_all_but_its_secret(access: Access) -> None:
    record, old = access.create("n", project="p", homes=[1], expires_seconds=60)
    new = access.rotate(record.id)
    assert new is not None
    assert not opens(access, old)
    assert opens(access, new)
    assert access.list() == [record]


def test_the_secret_before_works_beside_the_new_one_for_as_long_as_was_asked(access: Access, pass_time) -> None:
    record, old = access.create("n", admin=True)
    new = access.rotate(record.id, keep_old_seconds=60)
    assert new is not None
    pass_time(59)
    assert (opens(access, old), opens(access, new)) == (True, True)
    pass_time(1)
    assert (opens(access, old), opens(access, new)) == (False, True)


def test_a_secret_that_was_kept_does_not_outlast_the_next_rotation(access: Access) -> None:
    record, oldest = access.create("n", admin=True)
    old, new = (access.rotate(record.id, keep_old_seconds=60) for _ in range(2))
    assert old is not None
    assert new is not None
    assert [opens(access, text) for text in (oldest, old, new)] == [False, True, True]


def test_a_kept_secret_does_not_outlast_the_key(access: Access, pass_time) -> None:
    record, old = access.create("n", admin=True, expires_seconds=60)
    access.rotate(record.id, keep_old_seconds=3600)
    pass_time(60)
    assert not opens(access, old)


def test_two_who_rotate_at_once_each_get_a_key_and_the_last_one_works(house: House, monkeypatch) -> None:
    record, _ = house.access.create("n", admin=True)
    put, others = house.state.put, []

    def be_overtaken(*arguments, **options):
        monkeypatch.undo()
        others.append(house.access.rotate(record.id))
        return put(*arguments, **options)

    monkeypatch.setattr(house.state, "put", be_overtaken)
    last = house.access.rotate(record.id)
    assert last is not None
    assert (opens(house.access, others[0]), opens(house.access, last)) == (False, True)


def test_a_rotation_of_which_only_the_answer_was_lost_gives_the_new_secret(house: House, monkeypatch) -> None:
    record, old = house.access.create("n", admin=True)
    put = house.state.put

    def lose_the_answer(*arguments, **options):
        version = put(*arguments, **options)
        if arguments[1].startswith("key/"):
            raise StoreUnavailable("no answer")
        return version

    monkeypatch.setattr(house.state, "put", lose_the_answer)
    new = house.access.rotate(record.id, keep_old_seconds=60)
    assert new is not None
    assert (opens(house.access, old), opens(house.access, new)) == (True, True)


def test_a_rotation_that_was_not_made_is_told_and_leaves_the_key_as_it_was(house: House, monkeypatch) -> None:
    record, old = house.access.create("n", admin=True)

    def fail(*_, **__):
        raise StoreUnavailable("away")

    monkeypatch.setattr(house.state, "put", fail)
    with pytest.raises(StoreUnavailable):
        house.access.rotate(record.id)
    assert opens(house.access, old)


def test_a_key_that_is_revoked_while_it_is_rotated_stays_revoked(house: House, monkeypatch) -> None:
    record, _ = house.access.create("n", admin=True)
    put = house.state.put

    def be_overtaken(*arguments, **options):
        if arguments[1].startswith("key/"):
            house.access.revoke(record.id)
        return put(*arguments, **options)

    monkeypatch.setattr(house.state, "put", be_overtaken)
    assert house.access.rotate(record.id) is None
    assert house.access.list() == []


# Homes


def test_a_user_key_opens_its_homes_alone(access: Access) -> None:
    _, text = access.create("n", homes=[1, LARGEST_HOME])
    access.assign([2], "p")
    assert open_homes(access, text, 0, 1, 2, LARGEST_HOME) == [1, LARGEST_HOME]


def test_a_project_key_opens_the_homes_of_its_project_and_those_it_names(access: Access) -> None:
    _, text = access.create("n", project="p", homes=[9])
    access.assign([1, 2], "p")
    access.assign([3], "other")
    assert open_homes(access, text, 1, 2, 3, 4, 9) == [1, 2, 9]


def test_an_admin_key_opens_every_home(access: Access) -> None:
    _, text = access.create("n", admin=True)
    assert open_homes(access, text, 0, 1, LARGEST_HOME) == [0, 1, LARGEST_HOME]


def test_a_home_that_exists_is_refused_in_the_words_of_one_that_does_not(access: Access) -> None:
    _, text = access.create("n", project="p")
    principal = access.authenticate(f"Bearer {text}")
    access.assign([1], "other")
    told = set()
    for home_id in (1, 2, -1, 10**600):
        with pytest.raises(Forbidden) as fault:
            access.require_home(principal, home_id)
        told.add(fault.value.detail)
    assert len(told) == 1


def test_a_home_belongs_to_the_project_that_it_was_assigned_to_last(access: Access) -> None:
    access.assign([10, 9, 8], "p")
    access.assign([9], "q")
    access.assign([8], None)
    access.unassign(7)
    assert list(access.assignments().items()) == [(9, "q"), (10, "p")]


def test_a_home_that_was_taken_from_its_project_is_closed_to_it_at_once(access: Access) -> None:
    _, text = access.create("n", project="p")
    access.assign([1], "p")
    assert open_homes(access, text, 1) == [1]
    access.unassign(1)
    assert open_homes(access, text, 1) == []


# The first key


def test_a_new_installation_gets_one_first_key_which_opens_everything(access: Access) -> None:
    text = access.first_key()
    assert text is not None
    assert access.authenticate(f"Bearer {text}").admin
    assert [record.name for record in access.list()] == ["first"]
    assert access.first_key() is None


def test_of_two_who_ask_at_once_one_gets_the_first_key(house: House) -> None:
    together = Barrier(2)

    def ask(_: int) -> str | None:
        together.wait(10)
        return Access(house.state, house.notes).first_key()

    with ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(ask, range(2)))
    assert texts.count(None) == 1
    assert len(house.access.list()) == 1


def test_whoever_is_overtaken_between_looking_and_making_gets_no_key(house: House, monkeypatch) -> None:
    commit, others = house.state.commit, []

    def be_overtaken(*arguments):
        monkeypatch.undo()
        others.append(house.access.first_key())
        return commit(*arguments)

    monkeypatch.setattr(house.state, "commit", be_overtaken)
    assert house.access.first_key() is None
    assert opens(house.access, others[0])


def test_an_installation_with_a_key_gets_no_first_one_though_it_be_revoked(access: Access) -> None:
    record, _ = access.create("n", homes=[1])
    access.revoke(record.id)
    assert access.first_key() is None


def test_an_installation_older_than_keys_gets_no_first_one(house: House) -> None:
    house.states.homes.tag("6f1b1a52-5a0e-4c0b-9b53-0c8f0f3d2a11")
    assert house.access.first_key() is None
    assert house.access.list() == []


def test_a_key_whose_id_is_taken_replaces_none(house: House, monkeypatch) -> None:
    record, text = house.access.create("n", admin=True)
    monkeypatch.setattr("smarthouse_api.access.keys.new_id", lambda: record.id)
    with pytest.raises(Conflict):
        house.access.create("other", homes=[1])
    assert opens(house.access, text)


def test_a_document_of_a_later_version_is_still_read(house: House) -> None:
    record, text = house.access.create("n", admin=True)
    found = house.state.get(SPACE, f"key/{record.id}")
    assert found is not None
    house.state.put(SPACE, f"key/{record.id}", found.value.replace(b'{"record"', b'{"later":1,"record"'), expect=found.version)
    assert opens(house.access, text)
