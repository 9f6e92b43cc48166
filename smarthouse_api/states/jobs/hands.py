"""Hands: processes that make parts of a dataset beside the one that makes it. Threads of one would wait for the interpreter.

1. A hand is given an order: all that it needs to plan the same parts. Then the numbers of parts, one after the other.
2. It puts a part, and tells what it has made. The maker notes the part, as if a thread of its own had made it.
3. A fault of the data or of a store is raised in the maker. What a hand cannot make, or dies over, the maker makes itself.
4. A hand ends when the maker has closed its side, or has died. The maker waits for that: nothing is put behind a forget's back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Final

from deltalake import DeltaTable

from smarthouse_api.coordination.leases import Lease, LeaseLost
from smarthouse_api.errors import Refused, StoreError, portable
from smarthouse_api.lake.snapshot_marks import SnapshotMark
from smarthouse_api.states.export.published_rows import PublishedRows
from smarthouse_api.states.jobs.model import Dataset, Part
from smarthouse_api.states.jobs.part_making import Freeing, Tell, make_part
from smarthouse_api.states.jobs.plan import Days, Plan, PlannedPart, plan_of
from smarthouse_api.states.jobs.side_by_side import LOOK_SECONDS, Ended
from smarthouse_api.states.jobs.workshop import Workshop
from smarthouse_api.states.query import Filters

_TELL_SECONDS: Final = 0.05

Made = tuple[Part, set[str]]
ByEngine = Callable[[PublishedRows, Sequence[Days] | None], list[PlannedPart] | None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """Says of what the parts of a dataset are made. asked: its filters, made ready. mark, statistics: of the snapshots.

    secret: of the pseudonyms. reader: the token of the reader's lease. days: of the parts, if they are planned already.
    """

    dataset: Dataset
    asked: Filters
    mark: SnapshotMark | None
    statistics: SnapshotMark | None
    secret: bytes
    reader: tuple[str, bytes]
    days: Sequence[Days] | None


def planned(
    shop: Workshop,
    order: Order,
    snapshot: DeltaTable | None,
    statistics: DeltaTable | None,
    reader: Lease,
    by_engine: ByEngine = lambda rows, days: None,
) -> Plan:
    """Plan the parts. snapshot, statistics: what `order` marks. reader: a lease that keeps their files. See `plan_of`."""
    exports, aggregation = shop.exports, order.dataset.request.aggregation

    def source(states: DeltaTable, filters: Filters) -> PublishedRows:
        return exports.rows(states, filters, reader, order.secret, exports.looks(states, filters))

    has_states = aggregation is None or aggregation.has_states
    rows = partial(source, snapshot) if snapshot is not None and has_states else None
    periods = None if statistics is None else exports.periods(statistics, snapshot, order.asked, reader, order.secret)
    return plan_of(order.dataset, order.asked, exports, rows, periods, by_engine, order.days)


class Hands:
    """Has hands make parts of one dataset, for several threads at once. plan: of its parts."""

    def __init__(self, shop: Workshop, order: Order, plan: Plan) -> None:
        self._hire, self._order, self._parts = shop.places.hire, order, plan.parts
        self._free = list[Connection]()
        aggregation = order.dataset.request.aggregation
        self._is_of_use = aggregation is None or aggregation.layout == "long"  # else each would look for the columns first

    def make(self, number: int, tell: Tell) -> Made | None:
        """Have a hand make a part; None if none can. tell: is called several times a second. What it raises ends the hand."""
        if (hand := self._hand()) is None:
            return None
        try:
            hand.send((number, self._parts[number].days))
            made = _answered(hand, tell)
        except (EOFError, OSError) as fault:
            hand.close()
            log.warning("A process that made a part of an export job has ended, and the part is made again (%r)", fault)
            return None
        except BaseException:
            _end(hand)
            raise
        self._free.append(hand)
        if isinstance(made, Exception):
            raise made
        return made

    def close(self) -> None:
        """End the hands, and wait until they have."""
        while self._free:
            _end(self._free.pop())

    def _hand(self) -> Connection | None:
        with suppress(IndexError):
            return self._free.pop()
        if not self._is_of_use or (hand := self._hire()) is None:
            return None
        with suppress(OSError):  # it has died, which is found out later
            hand.send(self._order)
        return hand


def _answered(hand: Connection, tell: Tell) -> Made | Exception | None:
    told = 0, 0
    while True:
        if hand.poll(LOOK_SECONDS):
            is_told, said = hand.recv()
            if not is_told:
                answer: Made | Exception | None = said
                return answer
            told = said
        tell(*told)


def _end(hand: Connection) -> None:
    with hand, suppress(EOFError, OSError):
        hand.send(None)
        while True:
            hand.recv()


def lend_hand(shop: Workshop, connection: Connection) -> None:
    """Make parts, as the process at the other end asks for them, until it wants no more, or has died."""
    with suppress(EOFError, OSError, Ended):
        order: Order = connection.recv()
        plan: Plan | None = None
        freeing = Freeing()
        while (asked := connection.recv()) is not None:
            number, days = asked
            answer: Made | Exception | None = None
            try:
                plan = plan or _opened(shop, order)
                answer = _made(shop, order.dataset, plan, number, days, _telling(connection))
            except LeaseLost:
                pass
            except (Refused, StoreError) as fault:
                answer = portable(fault)
            except (OSError, Ended):
                raise
            except Exception:
                log.exception("A part of an export job could not be made in a process that helps")
            connection.send((False, answer))
            if isinstance(answer, tuple):
                freeing.made(answer[0].rows)


def _opened(shop: Workshop, order: Order) -> Plan | None:
    """Open what an order says; None if files of it are gone."""
    snapshot = None if order.mark is None else shop.table.open_marked(order.mark)
    statistics = None if order.statistics is None else shop.exports.statistics_of(order.statistics)
    if (order.mark is not None and snapshot is None) or (order.statistics is not None and statistics is None):
        return None
    return planned(shop, order, snapshot, statistics, shop.leases.of_another(order.reader))


def _made(shop: Workshop, dataset: Dataset, plan: Plan | None, number: int, days: tuple[str, str], tell: Tell) -> Made | None:
    if plan is None or number >= len(plan.parts) or plan.parts[number].days != days:
        return None
    return make_part(shop, dataset, number, plan.parts[number], plan.shape, tell)


def _telling(connection: Connection) -> Tell:
    told_at = float("-inf")

    def tell(rows: int, size: int) -> None:
        nonlocal told_at
        if connection.poll():  # it wants no more, or has died
            raise Ended
        if time.monotonic() - told_at > _TELL_SECONDS:
            told_at = time.monotonic()
            connection.send((True, (rows, size)))

    return tell
