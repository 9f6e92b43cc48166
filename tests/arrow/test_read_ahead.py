"""Reading ahead: the order, the bound, faults, and the thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from smarthouse_api.arrow.read_ahead import read_ahead

NOISE = b"noise"


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def failing() -> Iterator[bytes]:
    yield NOISE
    raise OSError("the disk is gone")


def test_reading_ahead_keeps_the_order():
    chunks = [b"%d" % number for number in range(10_000)]
    assert list(read_ahead(iter(chunks), max_bytes=100)) == chunks


def test_reading_ahead_stops_at_its_bound():
    made = 0

    def source() -> Iterator[bytes]:
        nonlocal made
        for _ in range(10_000):
            made += 1
            yield bytes(10)

    for taken, _ in enumerate(read_ahead(source(), max_bytes=30), start=1):
        assert made <= taken + 3
    assert made == 10_000


def test_a_fault_comes_after_the_chunks_before_it():
    seen = []
    with pytest.raises(OSError, match="disk"):
        seen.extend(read_ahead(failing()))
    assert seen == [NOISE]


def test_nothing_starts_before_the_first_chunk_is_asked_for():
    before = threading.active_count()
    chunks = read_ahead(failing())
    assert threading.active_count() == before
    chunks.close()


def test_producing_runs_in_another_thread():
    def source() -> Iterator[bytes]:
        yield threading.current_thread().name.encode()

    assert list(read_ahead(source())) == [b"read-ahead"]


def test_an_iterator_that_nobody_holds_ends_even_if_its_own_thread_collects_it():
    held, dropped = list[Iterator[bytes]](), threading.Event()

    def source() -> Iterator[bytes]:
        try:
            yield NOISE
            held.clear()
            yield NOISE
        finally:
            dropped.set()

    held.append(read_ahead(source(), max_bytes=1))
    assert next(held[0]) == NOISE
    assert dropped.wait(10)
    for thread in threading.enumerate():
        if thread.name == "read-ahead":
            thread.join()
