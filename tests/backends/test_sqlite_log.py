"""A log that does not belong to SQLite's file, or that lost what was committed, is never replayed and never ignored."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time

import pytest

from backends.ports import StoreDamaged
from backends.registry import open_state
from tests.backends.test_crashes import receive

COMMITS = 60


def write(url, commits, ready, reads=False, copies=False):
    """Commit, and wait to be killed. copies: the file gets all pages of the log. reads: a reader lets it get the first ones."""
    store = open_state(url)
    for number in range(commits):
        store.put("home", f"key-{number % 20}", b"%d" % number * 900)
        if reads and number == 20:
            reader = sqlite3.connect(url.removeprefix("sqlite://"), isolation_level=None)
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM documents").fetchall()
    store.put("home", "last", b"%d" % commits)
    if reads or copies:
        with sqlite3.connect(url.removeprefix("sqlite://"), isolation_level=None) as other:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    ready.send("written")
    time.sleep(60)


def look(url, answer):
    try:
        answer.send(open_state(url).get("home", "last"))
    except StoreDamaged as fault:
        answer.send(str(fault))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


@pytest.fixture
def kill(processes, path):
    """Fills a store, and kills the process."""

    def act(where=path, **options):
        ready, end = processes.Pipe(duplex=False)
        writer = processes.Process(target=write, args=(f"sqlite://{where}", COMMITS, end), kwargs=options)
        writer.start()
        receive(ready)
        writer.kill()
        writer.join(20)

    return act


def beside(path, ending):
    return path.with_name(path.name + ending)


def flip(log):
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)


def swap(log):
    url = f"sqlite://{log.parent}/other.db"
    store = open_state(url)
    store.put("home", "other", b"another's")
    shutil.copy(log.parent / "other.db-wal", log)
    store.close()


DAMAGES = {
    "missing": lambda log: log.unlink(),
    "empty": lambda log: log.write_bytes(b""),
    "too short": lambda log: os.truncate(log, log.stat().st_size // 2),
    "damaged": flip,
    "of another file": swap,
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_log_that_lost_what_was_committed_is_refused_and_left_alone(path, kill, what):
    kill()
    log, file = beside(path, "-wal"), path.read_bytes()
    whole = log.read_bytes()
    DAMAGES[what](log)
    left = log.read_bytes() if log.exists() else None
    store = open_state(f"sqlite://{path}")
    for ask in (lambda: store.get("home", "last"), store.check, lambda: store.put("home", "new", b"")):
        with pytest.raises(StoreDamaged, match=f"state.db-wal is {what}.*--keep-wal"):
            ask()
    assert (log.read_bytes() if log.exists() else None) == left
    assert path.read_bytes() == file
    log.write_bytes(whole)
    assert store.get("home", "last").value == b"%d" % COMMITS
    store.close()


@pytest.mark.parametrize("what", DAMAGES)
def test_the_loss_can_be_accepted(path, kill, what):
    kill()
    DAMAGES[what](beside(path, "-wal"))
    store = open_state(f"sqlite://{path}")
    with pytest.raises(StoreDamaged):
        store.check()
    store.accept_leftovers()
    assert bool(store.scan("home")) == (what in ("too short", "damaged"))
    assert list(store.verify()) == []
    store.put("home", "new", b"")
    store.close()


@pytest.mark.parametrize("what", DAMAGES)
def test_a_file_that_has_only_some_pages_of_a_lost_log_is_no_whole(path, kill, what):
    kill(reads=True)
    DAMAGES[what](beside(path, "-wal"))
    store = open_state(f"sqlite://{path}")
    if what in ("too short", "damaged"):  # the half that is left has what the file has
        store.accept_leftovers()
        assert list(store.verify()) == []
    else:
        for ask in (store.check, store.accept_leftovers):
            with pytest.raises(StoreDamaged) as refused:
                ask()
            assert str(refused.value).endswith("restore a backup")
    store.close()


def test_a_log_that_the_file_has_all_of_may_be_missing_but_not_cut(path, kill):
    kill()
    with sqlite3.connect(path) as one:
        one.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        for ending in ("", "-wal", "-shm"):
            shutil.copy(beside(path, ending), beside(path, f"{ending}.kept"))
    one.close()
    for left in (0, 2):
        for ending in ("", "-wal", "-shm"):
            shutil.copy(beside(path, f"{ending}.kept"), path.with_name(f"{left}.db{ending}"))
        copied = path.with_name(f"{left}.db")
        log, store = beside(copied, "-wal"), open_state(f"sqlite://{copied}")
        os.truncate(log, log.stat().st_size * left // 4)
        if left:
            with pytest.raises(StoreDamaged, match="too short"):
                store.check()
            store.accept_leftovers()
        assert store.get("home", "last").value == b"%d" % COMMITS
        assert list(store.verify()) == []
        store.close()


@pytest.mark.parametrize("is_copied", [False, True])
def test_a_file_that_was_put_back_over_a_crash_is_refused(path, kill, tmp_path, is_copied):
    kill()
    with sqlite3.connect(path) as crashed, sqlite3.connect(tmp_path / "backup") as backup:
        crashed.execute("PRAGMA wal_checkpoint").fetchall()
        crashed.backup(backup)
        backup.execute("DELETE FROM documents WHERE key > 'key-1'")
    for one in (crashed, backup):
        one.close()
    kill(copies=is_copied)
    times = path.stat()
    shutil.copy(tmp_path / "backup", path)
    if is_copied:  # as a copy does that keeps times
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    replaced, log = path.read_bytes(), beside(path, "-wal").read_bytes()
    store = open_state(f"sqlite://{path}")
    with pytest.raises(StoreDamaged, match=r"state.db and state.db-wal do not belong together.* remove state.db-wal"):
        store.check()
    assert (path.read_bytes(), beside(path, "-wal").read_bytes()) == (replaced, log)
    for ending in ("-wal", "-shm"):
        beside(path, ending).unlink()
    assert store.get("home", "last") is None
    store.close()


def test_a_file_that_is_missing_beside_its_log_is_refused(path, kill):
    kill()
    path.unlink()
    store = open_state(f"sqlite://{path}")
    with pytest.raises(StoreDamaged, match=r"state\.db is missing"):
        store.check()
    store.close()


def test_an_index_of_before_the_last_start_of_the_machine_tells_nothing(path, kill):
    kill()
    os.truncate(beside(path, "-wal"), beside(path, "-wal").stat().st_size // 2)
    os.utime(beside(path, "-shm"), (1, 1))
    store = open_state(f"sqlite://{path}")
    assert store.scan("home")
    store.close()


@pytest.mark.parametrize("ending", [None, "-wal"])
def test_processes_that_start_at_once_agree(path, kill, processes, ending):
    kill()
    if ending is not None:
        beside(path, ending).unlink()
    pipes = [processes.Pipe(duplex=False) for _ in range(6)]
    started = [processes.Process(target=look, args=(f"sqlite://{path}", end)) for _, end in pipes]
    for one in started:
        one.start()
    told = {str(receive(answer)) for answer, _ in pipes}
    for one in started:
        one.join(20)
    (only,) = told
    assert ("state.db-wal is missing" in only) == (ending is not None)


def test_a_process_beside_one_that_lives_looks_at_nothing(path, processes):
    ready, end = processes.Pipe(duplex=False)
    writer = processes.Process(target=write, args=(f"sqlite://{path}", COMMITS, end))
    writer.start()
    receive(ready)
    os.utime(path)
    store = open_state(f"sqlite://{path}")
    assert store.get("home", "last") is not None
    writer.kill()
    writer.join(20)
    store.close()


def test_a_file_that_is_damaged_beside_its_log_is_refused_and_what_the_log_does_not_have_stays_so(path, kill):
    store = open_state(f"sqlite://{path}.before")  # under its own name, this process would look at it only once
    store.put("home", "large", b"large value " * 5000)
    store.close()
    beside(path, ".before").rename(path)
    kill()
    octets = bytearray(path.read_bytes())
    octets[octets.rindex(b"large value")] ^= 1
    path.write_bytes(octets)
    store = open_state(f"sqlite://{path}")
    with pytest.raises(StoreDamaged, match=r"or state\.db is damaged; the safe way is to restore a backup"):
        store.check()
    with pytest.raises(StoreDamaged, match=r"is damaged, with its log, too: document home/large; restore a backup"):
        store.accept_leftovers()
    assert store.get("home", "last").value == b"%d" % COMMITS
    with pytest.raises(StoreDamaged):
        store.get("home", "large")
    store.close()
