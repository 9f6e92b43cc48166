"""What the stores promise when threads, processes and forks of processes use them at once."""

from __future__ import annotations

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends.ports import ABSENT, Change, Conflict, NoSuchObject, ObjectStore, Put, StateStore, StoreError
from backends.registry import open_objects, open_state

PROCESSES, THREADS = 2, 8


def count_up(store: StateStore, rounds: int) -> list[tuple[int, int]]:
    """Raise two counters by compare-and-set and append to a log; the version and the sequence of each success."""
    done = []
    while len(done) < rounds:
        key = random.choice(["one", "two"])
        document = store.get("home", key)
        count, version = (int(document.value), document.version) if document else (0, ABSENT)
        try:
            made = store.commit(
                "home",
                Change(expect={key: version}, puts=(Put(key, b"%d" % (count + 1)),), appends=(("log", b"%d" % os.getpid()),)),
            )
        except Conflict:
            continue
        done.append((made.version, made.sequences[0]))
    return done


def count_up_in_threads(store: StateStore, rounds: int) -> list[tuple[int, int]]:
    with ThreadPoolExecutor(THREADS) as pool:
        return [made for done in pool.map(lambda _: count_up(store, rounds), range(THREADS)) for made in done]


def count_up_elsewhere(url, rounds, answer):
    answer.send(count_up_in_threads(open_state(url), rounds))


def assert_counted(store: StateStore, done: list[tuple[int, int]], total: int) -> None:
    assert len(done) == total
    assert sum(int(document.value) for _, document in store.scan("home")) == total
    assert len({version for version, _ in done}) == total
    assert sorted(sequence for _, sequence in done) == list(range(1, total + 1))
    assert [entry.sequence for entry in store.read("home", "log", limit=total + 1)] == list(range(1, total + 1))


def test_threads_that_race_lose_no_update(state):
    assert_counted(state, count_up_in_threads(state, 20), THREADS * 20)


def test_processes_that_race_lose_no_update(shared_state, processes):
    answers = []
    for _ in range(PROCESSES):
        answer, end = processes.Pipe(duplex=False)
        processes.Process(target=count_up_elsewhere, args=(shared_state.url, 20, end)).start()
        answers.append(answer)
    done = [made for answer in answers for made in receive(answer)]
    assert_counted(shared_state.open(), done, PROCESSES * THREADS * 20)


def test_a_reader_of_a_log_never_passes_by_an_entry(state):
    stop = threading.Event()

    def append():
        while not stop.is_set():
            state.commit("home", Change(appends=(("log", b""), ("log", b""))))

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(append) for _ in range(4)]
        seen, deadline = 0, time.monotonic() + 0.3
        while time.monotonic() < deadline:
            page = state.read("home", "log", after=seen)
            assert [entry.sequence for entry in page] == list(range(seen + 1, seen + 1 + len(page)))
            seen += len(page)
        stop.set()
    assert [writer.result() for writer in writers] == [None] * 4
    assert seen > 0


def test_of_commits_that_wait_together_each_has_its_own_outcome(state):
    state.put("home", "taken", b"")

    def commit(number):
        if number % 3 == 0:
            with pytest.raises(Conflict):
                state.put("home", "taken", b"", expect=ABSENT)
        elif number % 3 == 1:
            with pytest.raises((TypeError, StoreError)):
                state.put("home", "never", object(), expect=ABSENT, ttl_seconds="soon")
        else:
            state.put("home", f"key-{number}", b"", expect=ABSENT)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(commit, range(60)))
    assert len(state.scan("home", "key-")) == 20
    assert state.get("home", "never") is None


def put_alike(store: ObjectStore, seconds: float) -> None:
    """Put, again and again, an object all of whose bytes are the same, in many chunks; now and then delete it before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        letter = bytes([random.randrange(256)])
        if random.random() < 0.2:
            store.delete(["a/key"])
        store.put("a/key", [letter * 20_000] * 10)


def put_alike_elsewhere(url, seconds):
    put_alike(open_objects(url), seconds)


def read_alike(store: ObjectStore, seconds: float) -> int:
    """Read that object as often, in every way, and see that it is whole; how often it was there."""
    deadline, seen = time.monotonic() + seconds, 0
    # A slow store may show it for the first time when the writers are done.
    while (now := time.monotonic()) < deadline or (not seen and now < deadline + 20):
        assert all(info.size_bytes == 200_000 for info in store.list())
        try:
            for data in (store.get("a/key"), b"".join(store.stream("a/key", chunk_bytes=7_000))):
                assert data == data[:1] * 200_000
        except NoSuchObject:
            continue
        seen += 1
    return seen


def test_a_reader_sees_whole_objects_while_threads_put_and_delete(objects):
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(put_alike, objects, 0.4) for _ in range(3)]
        assert read_alike(objects, 0.4) > 0
    assert [writer.result() for writer in writers] == [None] * 3


def test_a_reader_sees_whole_objects_while_processes_put_and_delete_and_others_sweep(shared_objects, processes):
    writers = [processes.Process(target=put_alike_elsewhere, args=(shared_objects.url, 0.8)) for _ in range(PROCESSES)]
    for writer in writers:
        writer.start()
    objects = shared_objects.open()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_alike, objects, 1.5)
        while not reading.done():
            objects.sweep()
            time.sleep(0.001)
    for writer in writers:
        writer.join(20)
    assert [writer.exitcode for writer in writers] == [0] * PROCESSES
    assert reading.result() > 0


@pytest.mark.parametrize("busy", [False, True])
def test_a_store_that_was_used_before_a_fork_is_used_after_it_by_both(shared_state, busy):
    store = shared_state.open()
    store.put("home", "before", b"")
    stop = threading.Event()
    threads = [threading.Thread(target=keep_committing, args=(store, stop)) for _ in range(4 if busy else 0)]
    for thread in threads:
        thread.start()
    children = []
    for number in range(5):
        child = os.fork()
        if not child:
            count_up(store, 5)
            os._exit(0 if store.get("home", "before") else 1)
        children.append(child)
        store.put("home", f"parent-{number}", b"")
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 5
    stop.set()
    for thread in threads:
        thread.join()
    assert store.last_sequence("home", "log") == 25
    assert len(store.scan("home", "parent-")) == 5


def keep_committing(store, stop):
    while not stop.is_set():
        store.put("busy", "key", b"")


def receive(answer):
    assert answer.poll(30), "the other process does not answer"
    return answer.recv()
