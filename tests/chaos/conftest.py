"""How many rounds, and the cast that the rounds of one pair share."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from tests.chaos.cast import PAIRS, Cast
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.ledger import Ledger
from tests.chaos.load import Client

MOST_SECONDS = 600
SEED = os.environ.get("CHAOS_SEED") or str(random.randrange(10**6))


@dataclass(frozen=True)
class Round:
    """One fault, once. seed: of everything that is left to chance."""

    number: int
    fault: Fault

    @property
    def seed(self) -> str:
        return f"{SEED}/{self.number}/{self.fault.name}"

    def __str__(self) -> str:
        return f"{self.number}-{self.fault.pair}-{self.fault.name}"


def rounds() -> list[Round]:
    """`CHAOS_ROUNDS` of them, dealt out over all faults, pair by pair; without it the short form's."""
    wanted = os.environ.get("CHAOS_ROUNDS")
    faults = itertools.islice(itertools.cycle(FAULTS), int(wanted)) if wanted else (one for one in FAULTS if one.short)
    chosen = os.environ.get("CHAOS_ONLY", "")
    numbered = [Round(number, fault) for number, fault in enumerate(faults)]
    wanted_rounds = [one for one in numbered if chosen in str(one)]
    # Pairs of few rounds come first: the time may end before the last ones.
    counts = Counter(one.fault.pair for one in wanted_rounds)
    return sorted(wanted_rounds, key=lambda one: (counts[one.fault.pair], one.fault.pair))


@dataclass
class Stage:
    """A cast with its ledger. sound: no round has failed on it."""

    cast: Cast
    client: Client
    running: AbstractContextManager[Cast]
    sound: bool = True


class Stages:
    """One stage at a time: a new one for another pair, and after a round that failed."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._ends_at = time.monotonic() + MOST_SECONDS
        self._stage: Stage | None = None

    def of(self, pair: str) -> Stage:
        """Where the pair's next round takes place."""
        if time.monotonic() > self._ends_at:
            pytest.skip(f"the {MOST_SECONDS} seconds for all rounds are over")
        if self._stage is not None and self._stage.sound and self._stage.cast.pair == pair:
            return self._stage
        self.close()
        running = PAIRS[pair](self._factory.mktemp(pair))
        cast = running.__enter__()
        self._stage = Stage(cast, Client(cast, Ledger()), running)
        self._stage.client.begin_base()
        return self._stage

    def close(self) -> None:
        if self._stage is not None:
            stage, self._stage = self._stage, None
            stage.running.__exit__(None, None, None)


@pytest.fixture(scope="package")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    made = Stages(tmp_path_factory)
    yield made
    made.close()
