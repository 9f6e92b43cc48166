"""Hands: other processes that make parts of a dataset. Here each is a thread with stores of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pytest

from smarthouse_api.coordination.leases import LeaseLost
from smarthouse_api.errors import Unavailable
from smarthouse_api.house import House
from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.jobs import hands
from smarthouse_api.states.jobs.model import Progress
from smarthouse_api.states.jobs.service import OPERATOR
from smarthouse_api.states.query import Filters
from tests.conftest import HOME, OTHER_HOME, on_pairs, unzipped
from tests.each import on_disk
from tests.states.test_jobs import exported, file, forget, receive, view, work
from tests.waiting import pass_time, soon

environment = on_pairs("embedded_pair", "production_pair")

Make = Callable[..., House]
DAYS = 6


class Hired:
    """Lends hands to a house. threads: one for each that was asked for. house: theirs."""

    def __init__(self, house: House, other: House) -> None:
        self.house, self.threads = other, list[threading.Thread]()
        house.states.jobs.maker.be_helped(self.hire)

    def hire(self) -> Connection:
        ours, theirs = Pipe()
        self.threads.append(threading.Thread(target=self._help, args=(theirs,)))
        self.threads[-1].start()
        return ours

    def _help(self, connection: Connection) -> None:
        with connection, suppress(Dead):
            self.house.states.jobs.maker.help(connection)


class Dead(BaseException):
    """Ends a hand in any line, as a signal would."""


@pytest.fixture
def hired(house: House, make_house: Make, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hired]:
    """Hands for a house whose lake has days of two homes; each day is a part."""
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 18)
    receive(house, HOME, days=DAYS)
    receive(house, OTHER_HOME, days=DAYS, value=100)
    hired = Hired(house, make_house())
    yield hired
    for thread in hired.threads:
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture
def house(make_house: Make) -> House:
    return make_house(job_parts_at_once=3)


def ask(house: House, *formats: str, aggregation: Aggregation | None = None) -> str:
    request = house.states.jobs.request(Filters(), formats or ("jsonl",), metadata=False, aggregation=aggregation)
    return house.states.jobs.ask(request, OPERATOR).id


def patch(monkeypatch: pytest.MonkeyPatch, act: Callable[..., Any]) -> Callable[..., Any]:
    """Have hands do something in the place of making a part; what they would do is returned."""
    make_part = hands.make_part
    monkeypatch.setattr(hands, "make_part", act)
    return make_part


def test_hands_make_parts_as_the_maker_itself_would(house: House, hired: Hired, monkeypatch: pytest.MonkeyPatch) -> None:
    book, by_hands, told = house.states.jobs.maker._shop.book, list[int](), list[Progress]()

    def counted(shop: Any, dataset: Any, number: int, *given: Any) -> Any:
        by_hands.append(number)
        return make_part(shop, dataset, number, *given)

    def note(one: Any, progress: Progress) -> None:
        assert sum(part.rows for part in book.parts(one.version).values()) <= progress.rows <= 20 * DAYS
        told.append(progress)
        tell(one, progress)

    make_part, tell = patch(monkeypatch, counted), book.tell
    monkeypatch.setattr(book, "tell", note)
    id_ = ask(house, "csv", "parquet")
    work(house)
    members, streamed = unzipped(file(house, id_)), exported(house, "csv", "parquet")
    assert members == streamed
    assert 1 < len(by_hands) == len(set(by_hands)) < DAYS, "the maker makes parts, too"
    for figures in zip(*((one.rows, one.bytes, one.parts) for one in told), strict=True):
        assert list(figures) == sorted(figures)
    assert (view(house, id_).rows, told[-1].parts) == (20 * DAYS, told[-1].parts_in_all)
    assert house.states.jobs.files.usable(str(view(house, id_).version)).knows_homes
    monkeypatch.setattr("smarthouse_api.states.jobs.plan._TIMES_LONGER", 1)
    asked, made = Aggregation("1d", "1h"), len(by_hands)
    id_ = ask(house, aggregation=asked)
    work(house)
    assert len(by_hands) > made
    export = house.states.exports.open(("jsonl",), Filters(), metadata=False, aggregation=asked)
    assert export is not None
    assert unzipped(file(house, id_)) == unzipped(b"".join(export))
    export.close()
    hirings = len(hired.threads)
    ask(house, aggregation=Aggregation("1d", "1h", figures=("max", "known")))
    work(house)
    assert len(hired.threads) == hirings, "each would look for the columns first"


@on_disk
@pytest.mark.parametrize("fault", [Dead(), LeaseLost("broken off"), ZeroDivisionError("odd")])
def test_the_maker_makes_what_hands_do_not(
    house: House, hired: Hired, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: BaseException
) -> None:
    def fail(*_: Any) -> None:
        raise fault

    patch(monkeypatch, fail)
    id_ = ask(house)
    work(house)
    assert (view(house, id_).state, view(house, id_).told) == ("done", None)
    assert unzipped(file(house, id_)) == exported(house, "jsonl")
    is_quiet = isinstance(fault, LeaseLost)
    assert is_quiet is not ("could not be made in a process that helps" in caplog.text or "has ended" in caplog.text)


@on_disk
def test_what_a_hand_says_is_wrong_with_the_data_is_told(house: House, hired: Hired, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise Unavailable("the lake: a file of it is damaged")

    make_part, id_ = patch(monkeypatch, fail), ask(house)
    work(house)
    told = view(house, id_)
    assert told.told == "the lake: a file of it is damaged; the job goes on by itself"
    monkeypatch.setattr(hands, "make_part", make_part)
    pass_time(house, 60, monkeypatch)
    work(house)
    assert unzipped(file(house, id_)) == exported(house, "jsonl")


@on_disk
@pytest.mark.parametrize("how", ["cancelled", "over"])
def test_a_hand_ends_before_its_maker_goes_on(house: House, hired: Hired, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    began, ends = threading.Event(), list[str]()

    def endless(*given: Any) -> None:
        tell = given[-1]
        try:
            while True:
                tell(1, 1)
                began.set()
                time.sleep(0.01)
        except BaseException as fault:
            time.sleep(0.1)
            ends.append(type(fault).__name__)
            raise

    patch(monkeypatch, endless)
    id_ = ask(house)
    house.states.jobs.maker.work()
    maker = threading.Thread(target=house.states.jobs.maker.work, args=(lambda: how == "over" and began.is_set(),))
    maker.start()
    assert began.wait(10)
    if how == "cancelled":
        hired.house.states.jobs.cancel(id_)
    maker.join(10)
    assert not maker.is_alive()
    assert set(ends) == {"Ended"}
    assert len(ends) == len(hired.threads)


def test_a_home_that_is_forgotten_while_a_hand_reads_is_in_no_file(
    house: House, hired: Hired, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, forgetting = threading.Lock(), threading.Thread(target=forget, args=(hired.house, OTHER_HOME))

    def forgotten(*given: Any) -> Any:
        if first.acquire(blocking=False):
            forgetting.start()
        soon(lambda: house.states.homes.hidden() or not forgetting.is_alive())
        return make_part(*given)

    make_part, id_ = patch(monkeypatch, forgotten), ask(house)
    work(house)
    forgetting.join()
    assert (view(house, id_).state, view(house, id_).rows) == ("done", 10 * DAYS)
    assert unzipped(file(house, id_)) == exported(house, "jsonl")
