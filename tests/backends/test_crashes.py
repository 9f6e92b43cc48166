"""What the stores promise when processes are killed, at random moments of many short lives."""

from __future__ import annotations

import random
import time

from backends.ports import Change, Put
from backends.registry import open_objects, open_state

CRASHING_SECONDS = 3.0


def commit_until_killed(url, acknowledged):
    store = open_state(url)
    for number in range(store.last_sequence("home", "kept") + 1, 10**9):
        change = Change(
            puts=(Put("count", b"%d" % number), Put(f"key-{number % 50}", b"%d" % number * 500)),
            appends=(("kept", b"%d" % number), ("dropped", b"")),
            drops=(("dropped", number),),
        )
        acknowledged.send((number, store.commit("home", change).version))


def test_a_commit_survives_a_kill_whole_or_not_at_all(shared_state, processes):
    count = highest = 0
    for last, version in killed_at_random(processes, commit_until_killed, shared_state.url, nothing=(0, 0)):
        known = max(count, last)
        store = shared_state.open()
        entries = store.read("home", "kept", limit=10**6)
        count = len(entries)
        assert known <= count <= known + 1
        assert [entry.value for entry in entries] == [b"%d" % (number + 1) for number in range(count)]
        assert count == 0 or store.get("home", "count").value == b"%d" % count
        assert store.last_sequence("home", "kept") == store.last_sequence("home", "dropped") == count
        assert store.read("home", "dropped") == []
        highest, before = store.commit("home", Change()).version, max(highest, version)
        assert highest > before
        store.close()
    assert count > 0


def put_until_killed(url, acknowledged):
    store = open_objects(url)
    for number in range(10**9):
        store.put(f"a/{number % 3}/key", [b"%09d" % number * 2000] * 3)
        acknowledged.send(number)


def test_a_put_survives_a_kill_whole_or_not_at_all(shared_objects, processes):
    store = shared_objects.open()
    for last in killed_at_random(processes, put_until_killed, shared_objects.url, nothing=-1):
        found = {info.key: store.get(info.key) for info in store.list()}
        assert all(len(data) == 54_000 and data == data[:9] * 6000 for data in found.values())
        if last >= 0:
            assert int(found[f"a/{last % 3}/key"][:9]) in (last, last + 3)
        store.sweep()
        assert store.sweep() == 0
        assert {key: store.get(key) for key in found} == found
        store.delete(found)


def test_the_half_of_an_object_whose_writer_died_is_swept_away(shared_objects, processes):
    def is_kept():
        return shared_objects.files is None or b"half of it" in shared_objects.files()

    ready, end = processes.Pipe(duplex=False)
    writer = processes.Process(target=put_half, args=(shared_objects.url, end))
    writer.start()
    receive(ready)
    store = shared_objects.open()
    assert store.sweep() == 0
    writer.kill()
    writer.join(20)
    assert is_kept()
    # Not every store can tell the dead from the living but by their age.
    assert shared_objects.open_later().sweep() == 1
    assert shared_objects.files is None or not is_kept()
    assert store.sweep() == 0
    assert list(store.list()) == []


def put_half(url, ready):
    def chunks():
        for _ in range(40):  # more than a store may hold back before it writes
            yield b"half of it" * 50_000
        ready.send("half")
        time.sleep(60)

    open_objects(url).put("key", chunks())


def killed_at_random(processes, target, url, nothing):
    """Kill a process that runs `target` at random moments; for each the last that it acknowledged."""
    deadline, is_first = time.monotonic() + CRASHING_SECONDS, True
    while time.monotonic() < deadline:
        acknowledged, end = processes.Pipe(duplex=False)
        victim = processes.Process(target=target, args=(url, end))
        victim.start()
        end.close()
        last = receive(acknowledged) if is_first or random.random() < 0.8 else nothing
        is_first = False
        pause = time.monotonic() + random.uniform(0, 0.02)
        while time.monotonic() < pause:
            time.sleep(0.0005)
        victim.kill()
        try:
            while acknowledged.poll(5):
                last = acknowledged.recv()
        except EOFError:
            pass
        victim.join(20)
        yield last


def receive(answer):
    assert answer.poll(30), "the other process does not answer"
    return answer.recv()
