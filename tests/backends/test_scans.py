"""What `StateStore` promises of scans, held against every backend."""

from __future__ import annotations

import pytest

from backends.ports import Change, Document, Put

# Beyond the basic plane, UTF-8 and UTF-16 disagree about the order: 0xEF.. before 0xF0.., but 0xD8.. before 0xFF...
ODD_NAMES = [
    "a",
    "a/b",
    "a/",
    "ab",
    "%",
    "_",
    "a%b",
    "*",
    "[a]",
    "?",
    "'",
    '"',
    "é",
    "e\u0301",
    "\uffee",
    "😀",
    "a b",
    "\n",
    "ü" * 256,
]


def keys_of(found):
    return [key for key, _ in found]


def test_a_scan_goes_by_utf8_byte_order(state):
    state.commit("home", Change(puts=tuple(Put(name, b"") for name in ODD_NAMES)))
    assert keys_of(state.scan("home")) == sorted(ODD_NAMES, key=str.encode)


@pytest.mark.parametrize(
    "prefix", ["", "a", "a/", "a%", "%", "_", "*", "[", "?", "'", "é", "\uffee", "😀", "none", "\U0010ffff"]
)
def test_a_prefix_is_taken_letter_by_letter(state, prefix):
    state.commit("home", Change(puts=tuple(Put(name, b"") for name in ODD_NAMES)))
    assert set(keys_of(state.scan("home", prefix))) == {name for name in ODD_NAMES if name.startswith(prefix)}


def test_a_scan_begins_after_the_key_it_is_given(state):
    state.commit("home", Change(puts=tuple(Put(key, b"") for key in ("a", "b", "ba", "c"))))
    assert keys_of(state.scan("home", after="b")) == ["ba", "c"]
    assert keys_of(state.scan("home", "b", after="b")) == ["ba"]
    assert keys_of(state.scan("home", "b", after="a")) == ["b", "ba"]
    assert keys_of(state.scan("home", "b", after="c")) == []


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4])
def test_a_scan_stops_at_its_limit(state, limit):
    state.commit("home", Change(puts=tuple(Put(key, b"") for key in "abc")))
    assert keys_of(state.scan("home", limit=limit)) == ["a", "b", "c"][:limit]


def test_a_limit_counts_live_documents_only(state):
    state.commit("home", Change(puts=(Put("a", b"", ttl_seconds=0), Put("b", b""), Put("c", b""))))
    assert keys_of(state.scan("home", limit=2)) == ["b", "c"]


def test_pages_hold_what_was_there_throughout_once(state):
    there = [f"{number:03}" for number in range(0, 20, 2)]
    state.commit("home", Change(puts=tuple(Put(key, b"") for key in there)))
    seen, after = [], ""
    while (page := state.scan("home", after=after, limit=3)) and len(seen) < 100:
        seen += keys_of(page)
        after = seen[-1]
        state.put("home", f"{after}-ahead"[:8], b"")
        state.put("home", "000-behind", b"")
    assert [key for key in seen if key in there] == there
    assert len(seen) == len(set(seen))


def test_scan_all_reads_beyond_one_page(state):
    names = [f"key-{number:04}" for number in range(2500)]
    state.commit("home", Change(puts=(*(Put(name, b"") for name in names), Put("other", b""))))
    assert keys_of(state.scan_all("home", "key-")) == names


def test_a_scan_gives_values_and_versions(state):
    version = state.put("home", "key", b"value")
    assert state.scan("home") == [("key", Document(b"value", version))]
