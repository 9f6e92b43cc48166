"""Verifying: looks through all that an installation keeps, and tells what is wrong, while the service runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

from backends.ports import KeepsSums, PartDamaged, StateStore, StoreError, StoreUnfit
from smarthouse_api.collections.service import Collections
from smarthouse_api.coordination.damage import Damages, Problem
from smarthouse_api.coordination.findings import MOST_KEPT, Findings
from smarthouse_api.coordination.installation import Installation, NoInstallation
from smarthouse_api.coordination.milestones import Milestones
from smarthouse_api.coordination.notes import Notes
from smarthouse_api.coordination.state_damage import StateDamage
from smarthouse_api.coordination.store_ages import StoreAges
from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.setting_aside import look_at_noted
from smarthouse_api.lake.table import LakeTable
from smarthouse_api.lake.verification import table_problems
from smarthouse_api.states.service import States
from smarthouse_api.streams.service import Streams


class Step(NamedTuple):
    """Looks at one part of what is kept, in one store. name: the part's.

    is_around: it looks at what documents name that can be read, and leaves damaged ones out: they are named for themselves. A
    step that concludes something from what is not there must not.
    """

    store: str
    name: str
    problems: Callable[[], Iterable[Problem]]
    is_around: bool = False


class Verifying:
    """Looks for what is wrong in both stores and in the lake.

    Nothing that others store, move or erase meanwhile is a problem. Damaged files are noted for readiness, too.
    """

    def __init__(
        self,
        state: StateStore,
        notes: Notes,
        installation: Installation,
        ages: StoreAges,
        states: States,
        streams: Streams,
        collections: Collections,
    ) -> None:
        self._installation, self._ages = installation, ages
        self._state, self._notes, self._damages = state, notes, Damages(state)
        self._state_damage = StateDamage(state)
        self.findings = Findings(state)
        self._states, self._streams, self._collections = states, streams, collections
        self._tables: list[LakeTable] = [states.table, states.statistics, collections.table]
        self.is_unanswered = False
        """Whether nothing was looked at, since a store does not answer or both are empty."""

    def run(self, share: float, advance: Callable[[int, int], None]) -> Iterator[Problem]:
        """Tell each problem once. share: of uploads, segments and files of the lake to be read, from 0 to 1.

        advance: is told after each step how many steps are done, and how many there are. Stores that do not belong together are
        looked at no further: nothing is noted in another's.
        """
        began, count, first = time.time(), 0, list[Problem]()
        for problem in self._found(share, advance):
            count += 1
            if count <= MOST_KEPT:
                first.append(problem)
            yield problem
        if self._installation.is_settled:
            percent = round(100 * share)
            Milestones(self._state).note("verify", problems=count, percent=percent)
            self.findings.note(began, percent, count, first)

    def _found(self, share: float, advance: Callable[[int, int], None]) -> Iterator[Problem]:
        yield from self._guarded(Step("state", "files", self._of_the_state))
        try:
            self._installation.check()
        except PartDamaged:
            pass  # it is named below, and the rest is looked at all the same
        except StoreError as fault:
            self.is_unanswered = isinstance(fault, NoInstallation) or not isinstance(fault, StoreUnfit)
            yield Problem("stores", "installation", None, str(fault))
            return
        documents = Step("state", "documents", self._state_damage.find)
        told, steps = set[str](), [documents, *self._steps(share)]
        for done, step in enumerate(steps, 1):
            for problem in self._guarded(step):
                if problem.name not in told:
                    told.add(problem.name)
                    yield problem
            advance(done, len(steps))

    def _steps(self, share: float) -> list[Step]:
        uploads = self._states.uploads.healing
        with self._reading_around():
            known, everything = self._states.homes.known(), list(self._streams.catalogue.everything())
        homes = [Step("objects", f"raw/{one}/", partial(uploads.verify, one, share), is_around=True) for one in known]
        streams = [
            Step(
                "objects",
                f"packets/{one.home_key}/{one.key}/",
                partial(self._streams.verify, one, share),
                is_around=True,
            )
            for one in everything
        ]
        tables = [Step("lake", f"tables/{table.name}", partial(self._of_the_table, table, share)) for table in self._tables]
        strangers = Step("objects", "raw/", uploads.strangers)
        notes = Step("objects", "forgotten/", self._notes.problems)
        age = Step("state", "age", self._ages.problems)
        repairs = Step("lake", "missing rows", self._of_the_repairs)
        losses = Step("lake", "lost records", self._of_the_losses)
        return [
            *homes,
            strangers,
            *streams,
            notes,
            age,
            *tables,
            repairs,
            losses,
            Step("objects", "jobs/", partial(self._states.jobs.files.verify, share)),
            Step("objects", "releases/", partial(self._states.releases.verify, share)),
            Step("state", "damage", self._damages.noted),
        ]

    def _guarded(self, step: Step) -> Iterator[Problem]:
        """Tell the problems of a step. If its store fails, that is one."""
        try:
            problems = iter(step.problems())
            while True:
                with self._reading_around() if step.is_around else nullcontext():
                    if (problem := next(problems, None)) is None:
                        return
                yield problem
        except PartDamaged:
            yield Problem(step.store, step.name, None, "not looked at, because a document that it needs is damaged; see above")
        except (StoreError, Unavailable) as fault:
            yield Problem(step.store, step.name, None, str(fault))

    def _reading_around(self) -> AbstractContextManager[None]:
        return self._state.reading_around() if isinstance(self._state, KeepsSums) else nullcontext()

    def _of_the_state(self) -> Iterator[Problem]:
        for number, what in enumerate(self._state.verify(), 1):
            yield Problem("state", f"files {number}", None, what)

    def _of_the_table(self, table: LakeTable, share: float) -> Iterator[Problem]:
        yield from table_problems(table, self._damages, share)
        look_at_noted(table, self._damages, None)

    def _of_the_repairs(self) -> Iterator[Problem]:
        for rebuilding in (self._states.rebuilding, self._collections.chores.rebuilding):
            for what in rebuilding.repairs.unfinished():
                yield Problem("lake", what, None, "its rows are missing until the service has made them again, by itself")

    def _of_the_losses(self) -> Iterator[Problem]:
        for rebuilding in (self._states.rebuilding, self._collections.chores.rebuilding):
            for what in rebuilding.repairs.lost():
                yield Problem(
                    "lake", what, None, "its records are lost for good; `smarthouse rebuild --accept-losses` ends this line"
                )
