"""What `StateStore` promises to one caller, held against every backend. What it promises in a crowd is in `test_races`."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from backends.ports import ABSENT, Add, Change, Conflict, Document, Entry, Put

ODD_NAMES = ["a", "a/b", "a/", "ab", "%", "_", "*", "[a]", "'", "é", "e\u0301", "\uffee", "😀", "a b", "\n", "ü" * 256]
VALUES = [b"", b"\0", b"a\0b", bytes(range(256)), b"\xff\xfe", b"x" * (1 << 20)]


def keys_of(found):
    return [key for key, _ in found]


def test_what_was_put_can_be_got_with_the_version_of_its_commit(state):
    version = state.put("home", "key", b"value")
    assert state.get("home", "key") == Document(b"value", version)


def test_a_document_that_was_never_put_is_none(state):
    assert state.get("home", "key") is None


def test_many_documents_are_got_at_once_each_as_alone(state):
    for number in range(0, 3000, 3):
        state.put("home", str(number), str(number).encode())
    state.put("home", "over", b"x", ttl_seconds=-1)
    keys = [*map(str, range(2500)), "over", "0"]
    assert state.get_many("home", keys) == [state.get("home", key) for key in keys]
    assert state.get_many("home", []) == []


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{len(value)}-{value[:3].hex()}")
def test_a_value_comes_back_byte_for_byte(state, value):
    state.commit("home", Change(puts=(Put("key", value),), appends=(("log", value),)))
    assert state.get("home", "key").value == value
    assert state.read("home", "log") == [Entry(1, value)]


def test_odd_names_are_each_their_own(state):
    for name in ODD_NAMES:
        state.commit(name, Change(puts=(Put(name, name.encode()),), appends=((name, name.encode()),)))
    for name in ODD_NAMES:
        assert state.get(name, name).value == name.encode()
        assert state.read(name, name) == [Entry(1, name.encode())]


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 513, "ü" * 257, "\ud800"], ids=ascii)
@pytest.mark.parametrize(
    "ask",
    [
        lambda store, name: store.get(name, "key"),
        lambda store, name: store.get("home", name),
        lambda store, name: store.scan(name),
        lambda store, name: store.read(name, "log"),
        lambda store, name: store.read("home", name),
        lambda store, name: store.last_sequence("home", name),
        lambda store, name: store.erase(name),
        lambda store, name: store.commit(name, Change()),
        lambda store, name: store.put("home", name, b""),
        lambda store, name: store.commit("home", Change(expect={name: ABSENT})),
        lambda store, name: store.commit("home", Change(deletes=(name,))),
        lambda store, name: store.commit("home", Change(appends=((name, b""),))),
        lambda store, name: store.commit("home", Change(drops=((name, 1),))),
        lambda store, name: store.commit("home", Change(adds=(Add(name, (1,)),))),
    ],
)
def test_a_name_that_is_none_is_refused(state, ask, name):
    with pytest.raises(ValueError):
        ask(state, name)


def test_a_key_may_be_used_in_two_spaces(state):
    state.put("one", "key", b"1")
    state.put("two", "key", b"2")
    assert (state.get("one", "key").value, state.get("two", "key").value) == (b"1", b"2")
    assert keys_of(state.scan("one")) == ["key"]


def test_a_log_may_bear_the_name_of_a_document(state):
    state.commit("home", Change(puts=(Put("name", b"document"),), appends=(("name", b"entry"),)))
    assert state.get("home", "name").value == b"document"
    assert state.read("home", "name") == [Entry(1, b"entry")]


def test_versions_rise_with_every_commit_to_a_space(state):
    versions = [
        state.put("home", "a", b""),
        state.commit("home", Change(deletes=("a",))).version,
        state.commit("home", Change(appends=(("log", b""),))).version,
        state.commit("home", Change()).version,
        state.put("home", "a", b""),
    ]
    assert versions == sorted(set(versions))
    assert versions[0] > ABSENT


def test_all_documents_of_a_commit_carry_its_version(state):
    version = state.commit("home", Change(puts=(Put("a", b""), Put("b", b"")))).version
    assert {document.version for _, document in state.scan("home")} == {version}


def test_an_expected_version_lets_the_commit_through(state):
    first = state.put("home", "key", b"1", expect=ABSENT)
    state.put("home", "key", b"2", expect=first)
    assert state.get("home", "key").value == b"2"


@pytest.mark.parametrize("wanted", [ABSENT, 10**6, -1, 2**70])
def test_another_version_is_a_conflict(state, wanted):
    state.put("home", "key", b"1")
    with pytest.raises(Conflict):
        state.put("home", "key", b"2", expect=wanted)
    assert state.get("home", "key").value == b"1"


def test_a_document_that_is_not_there_has_no_version_but_absent(state):
    with pytest.raises(Conflict):
        state.put("home", "key", b"1", expect=1)
    assert state.get("home", "key") is None


def test_an_expectation_may_concern_a_key_that_is_not_written(state):
    state.put("home", "fence", b"")
    with pytest.raises(Conflict):
        state.commit("home", Change(expect={"fence": ABSENT}, puts=(Put("key", b""),)))
    assert state.get("home", "key") is None


def test_of_a_commit_in_conflict_nothing_is_stored(state):
    state.commit("home", Change(puts=(Put("kept", b"old"),), appends=(("log", b"kept"),)))
    change = Change(
        expect={"free": ABSENT, "kept": ABSENT},
        puts=(Put("free", b"new"), Put("kept", b"new")),
        deletes=("kept",),
        appends=(("log", b"new"), ("other", b"new")),
        drops=(("log", 1),),
    )
    with pytest.raises(Conflict):
        state.commit("home", change)
    assert [(key, document.value) for key, document in state.scan("home")] == [("kept", b"old")]
    assert state.read("home", "log") == [Entry(1, b"kept")]
    assert (state.last_sequence("home", "log"), state.last_sequence("home", "other")) == (1, 0)


def test_a_deleted_document_is_absent(state):
    state.put("home", "key", b"")
    state.commit("home", Change(deletes=("key", "never there")))
    assert state.get("home", "key") is None
    assert state.scan("home") == []
    state.put("home", "key", b"again", expect=ABSENT)


def test_a_key_that_is_put_and_deleted_is_gone(state):
    state.commit("home", Change(puts=(Put("key", b""),), deletes=("key",)))
    assert state.get("home", "key") is None


def test_sequences_count_from_one_in_each_log_in_the_order_of_the_appends(state):
    change = Change(appends=(("a", b"1"), ("b", b"2"), ("a", b"3")))
    assert state.commit("home", change).sequences == (1, 1, 2)
    assert state.commit("home", change).sequences == (3, 2, 4)
    assert state.commit("elsewhere", change).sequences == (1, 1, 2)
    assert state.read("home", "a") == [Entry(1, b"1"), Entry(2, b"3"), Entry(3, b"1"), Entry(4, b"3")]


def test_a_log_is_read_from_after_a_sequence_up_to_a_limit(state):
    state.commit("home", Change(appends=tuple(("log", b"%d" % number) for number in range(1, 12))))
    assert [entry.sequence for entry in state.read("home", "log", after=3, limit=4)] == [4, 5, 6, 7]
    assert [entry.sequence for entry in state.read("home", "log", after=9)] == [10, 11]
    assert (
        state.read("home", "log", after=11)
        == state.read("home", "log", after=2**70)
        == state.read("home", "log", limit=0)
        == []
    )


def test_a_log_without_entries_is_empty(state):
    assert state.read("home", "log") == []
    assert state.last_sequence("home", "log") == 0


def test_a_dropped_entry_is_gone_and_its_sequence_is_not_given_again(state):
    state.commit("home", Change(appends=(("log", b"1"), ("log", b"2"), ("log", b"3"))))
    state.commit("home", Change(drops=(("log", 1), ("log", 3), ("log", 99), ("log", 2**70), ("other", 1))))
    assert state.read("home", "log") == [Entry(2, b"2")]
    assert state.last_sequence("home", "log") == 3
    assert state.commit("home", Change(appends=(("log", b"4"),))).sequences == (4,)


def test_a_document_lives_as_long_as_its_ttl(state):
    state.put("home", "key", b"", ttl_seconds=0.05)
    assert state.get("home", "key") is not None
    time.sleep(0.06)
    assert state.get("home", "key") is None
    assert state.scan("home") == []


def test_a_document_whose_time_is_over_counts_as_absent(state):
    old = state.put("home", "key", b"old", ttl_seconds=0)
    with pytest.raises(Conflict):
        state.put("home", "key", b"new", expect=old)
    state.put("home", "key", b"new", expect=ABSENT)
    assert state.get("home", "key").value == b"new"


def test_a_put_without_ttl_takes_the_old_ttl_away(state):
    state.put("home", "key", b"", ttl_seconds=0.02)
    state.put("home", "key", b"for good")
    time.sleep(0.03)
    state.commit("home", Change())
    assert state.get("home", "key").value == b"for good"


def test_a_later_commit_is_seen_through_every_handle(state_backend):
    one, other = state_backend.open(), state_backend.open()
    for number in range(10):
        one.commit("home", Change(puts=(Put("key", b"%d" % number),), appends=(("log", b""),)))
        assert other.get("home", "key").value == b"%d" % number
        assert other.last_sequence("home", "log") == number + 1


def test_a_closed_store_opens_again_when_it_is_used(state_backend):
    store = state_backend.open()
    store.put("home", "key", b"value")
    store.close()
    assert store.get("home", "key").value == b"value"


def test_a_store_in_order_says_so_in_one_line(state):
    assert state.check()
    assert "\n" not in state.check()


def test_a_check_changes_nothing(state):
    version = state.put("home", "key", b"")
    state.check()
    assert state.scan("home") == [("key", Document(b"", version))]


def test_a_store_that_is_whole_has_nothing_wrong(state):
    state.commit("home", Change(puts=(Put("key", b"value"),), appends=(("log", b"entry"),)))
    assert list(state.verify()) == []
    assert state.get("home", "key").value == b"value"


def test_a_scrub_keeps_what_is_alive(state):
    state.commit("home", Change(puts=(Put("key", b"value"), Put("a while", b"value", 60)), appends=(("log", b"entry"),)))
    before = state.scan("home")
    state.scrub()
    assert state.scan("home") == before
    assert state.read("home", "log") == [Entry(1, b"entry")]
    assert state.commit("home", Change(appends=(("log", b""),))).sequences == (2,)


def test_nothing_is_left_of_an_erased_space(state):
    puts = (Put("key", b"value"), Put("brief", b"", 0), Put("later", b"", 60))
    state.commit("home", Change(puts=puts, appends=(("log", b"entry"), ("other/log", b"entry"))))
    state.commit("home", Change(drops=(("log", 1),)))
    for _ in range(2):
        state.erase("home")
    assert state.scan("home") == []
    assert [state.read("home", log) for log in ("log", "other/log")] == [[], []]
    assert [state.last_sequence("home", log) for log in ("log", "other/log")] == [0, 0]


def test_erasing_a_space_leaves_the_others(state):
    for space in ("home", "home2", "hom"):
        state.commit(space, Change(puts=(Put("key", b"value"),), appends=(("log", b"entry"),)))
    state.erase("home")
    for space in ("home2", "hom"):
        assert state.get(space, "key").value == b"value"
        assert state.read(space, "log") == [Entry(1, b"entry")]


def test_an_erased_space_that_never_was_is_fine(state):
    state.erase("never")


def test_a_counter_is_added_to_without_being_read(state):
    for amounts in ((3, 1), (2**52, 0, 5), (-3, -1)):
        state.commit("home", Change(adds=(Add("counter", amounts),), puts=(Put("key", b""),), appends=(("log", b""),)))
    assert state.get("home", "counter").value == b"%d 0 5" % 2**52
    assert state.get("home", "counter").version == state.get("home", "key").version
    assert keys_of(state.scan("home")) == ["counter", "key"]


def test_a_commit_that_raises_a_counter_above_its_most_does_nothing(state):
    commit = Change(adds=(Add("free", (1,)), Add("counter", (6, 1), most=10)), puts=(Put("key", b""),))
    state.commit("home", commit)
    with pytest.raises(Conflict, match="'counter' would be 12"):
        state.commit("home", replace(commit, puts=(Put("other", b""),)))
    assert {key: document.value for key, document in state.scan("home")} == {"counter": b"6 1", "free": b"1", "key": b""}
    state.commit("home", Change(adds=(Add("counter", (-1, 1), most=1),)))
    state.commit("home", Change(adds=(Add("counter", (5,), most=10),)))
    assert state.get("home", "counter").value == b"10 2"


def test_a_counter_expires_and_begins_anew(state):
    state.commit("home", Change(adds=(Add("counter", (7,), ttl_seconds=-1),)))
    assert state.get("home", "counter") is None
    state.commit("home", Change(adds=(Add("counter", (2,), ttl_seconds=60),)))
    assert state.get("home", "counter").value == b"2"


@pytest.mark.parametrize(
    "change",
    [Change(puts=(Put("a", b""),)), Change(deletes=("a",)), Change(adds=(Add("a", (1,)),))],
    ids=["put", "delete", "add"],
)
def test_a_counter_is_written_once_in_a_commit(state, change):
    with pytest.raises(ValueError):
        state.commit("home", replace(change, adds=(*change.adds, Add("a", (1,)))))


def test_a_store_tells_its_room_if_it_has_a_bound(state):
    assert (free := state.free_bytes()) is None or free > 0


def test_the_stores_clock_goes_on(state):
    before = state.now()
    assert abs(before - time.time()) < 60
    time.sleep(0.002)
    assert state.now() > before
