"""Makes the datasets that jobs ask for, part by part, so that another process goes on where one dies.

1. Whoever takes a job finds out what it asks for: a snapshot of the lake, and which homes are hidden. If there is a dataset of
   the same, made or being made, the job joins it. Else it gets a new one. See `preparing`.
2. Whoever holds the lease of a dataset makes it. A reader's lease keeps the files of its snapshot. See `making`.
   An engine of its own makes its parts, if there is one: see `engine_parts`.
3. Each part is put into the object store in each format, then noted. What is noted is not made again.
4. The file is put together of the parts, then the dataset is done, and the parts are removed.
5. If a home is forgotten, the parts are made again that may hold it. What nobody can make again without the rows of other days,
   or whose table is gone, is dropped, and its jobs get another dataset.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Final

import msgspec

from backends.ports import StoreError, StoreFull
from smarthouse_api.coordination.leases import LeaseLost
from smarthouse_api.errors import Refused, Unavailable
from smarthouse_api.states.jobs.book import Dropped, Known
from smarthouse_api.states.jobs.hands import lend_hand
from smarthouse_api.states.jobs.making import Making, Stopped
from smarthouse_api.states.jobs.model import Dataset, Job
from smarthouse_api.states.jobs.preparing import Preparing
from smarthouse_api.states.jobs.workshop import Workshop

_MOST_FAULTS: Final = 8
_LONGEST_REST_SECONDS: Final = 60.0
_FAILED: Final = "The service failed to make it, and its log says why; ask again, or tell its operator"

_FULL: Final = "The service has no room left on its disk"
_NO_STORE: Final = "The service could not read or write its storage"
_BUSY: Final = "Other work kept the data lake busy for too long"
_GOES_ON: Final = "the job goes on by itself"
_GIVEN_UP: Final = "tried {} times; ask again later, or tell the service's operator"

log = logging.getLogger(__name__)


class Maker:
    """Works on jobs: any number of makers may, in any process."""

    def __init__(self, shop: Workshop) -> None:
        self._shop, self.preparing = shop, Preparing(shop)

    def be_helped(self, hire: Callable[[], Connection | None]) -> None:
        """Have other processes make parts from now on. hire: gives a connection to one that `help`s; None if there is none."""
        self._shop.places.hire = hire

    def help(self, connection: Connection) -> None:
        """Make parts for the maker at the other end of a connection, until it wants no more."""
        lend_hand(self._shop, connection)

    def is_wanted(self) -> bool:
        """Tell whether there is something to do: a job whose time has come, and that nobody works on."""
        return any(self._is_free(id_) for _, id_, _ in self._shop.book.todo())

    def work(self, is_over: Callable[[], bool] = lambda: False, only: str | None = None) -> bool:
        """Work on the job whose turn it is, until it is done; whether there was one that nobody else works on.

        is_over: asked between two batches; if it says so, the rest is left to others. only: the one job to work on.
        """
        if not (todo := self._shop.book.todo()):
            return False
        done = (known.dataset.jobs for known in self._shop.book.datasets() if known.dataset.state == "done")
        for name, id_, _ in _in_turn(todo, [owner for jobs in done for _, owner in jobs]):
            if only not in (None, id_):
                continue
            found = self._shop.book.job(id_)
            if found is None or found[0].ended is not None:
                self._shop.book.forget_todo(name)
            elif found[0].retry_at <= self._shop.state.now() and self._is_worked_on(name, *found, is_over):
                return True
        return False

    def _is_free(self, id_: str) -> bool:
        found = self._shop.book.job(id_)
        if found is None or found[0].ended is not None:
            return True  # it is to be taken off the list
        known = None if found[0].dataset is None else self._shop.book.known(found[0].dataset)
        return found[0].retry_at <= self._shop.state.now() and not self._shop.leases.is_held(_lease_of(found[0], known))

    def _is_worked_on(self, name: str, job: Job, document: int, is_over: Callable[[], bool]) -> bool:
        known = None if job.dataset is None else self._shop.book.known(job.dataset)
        if known is None and job.dataset is not None and self._shop.book.dataset(job.dataset) is not None:
            self._shop.book.forget_todo(name)  # it was buried while the job joined it
            return True
        if (lease := self._shop.leases.try_hold(_lease_of(job, known))) is None:
            return False
        with lease:
            if known is None:
                self._attempt(job, partial(self.preparing.prepare, job, document))
            elif known.dataset.state == "done":
                self._shop.book.forget_todo(name)
            else:
                self._attempt(job, Making(self._shop, known.dataset, lease, is_over))
        return True

    def _attempt(self, job: Job, act: Making | Callable[[], None]) -> None:
        """Do something for a job. What fails is done again later, unless it would fail again."""
        making = act if isinstance(act, Making) else None
        dataset = None if making is None else making.dataset
        try:
            act()
        except Stopped:
            pass
        except LeaseLost:
            log.info("an export job was broken off, and goes on")
        except Dropped:
            pass
        except (Unavailable, StoreError, TimeoutError) as fault:
            log.warning("an export job met a fault: %s", fault)
            has_progressed = making is not None and making.has_progressed
            self._failed(job.id, dataset, _in_words(fault), is_final=False, has_progressed=has_progressed)
        except Refused as fault:
            self._failed(job.id, dataset, fault.detail, is_final=True)
        except Exception:  # a fault of ours, logged with its trace
            log.exception("an export job failed")
            self._failed(job.id, dataset, _FAILED, is_final=True)
        if dataset is not None:  # what was put behind a forget's back, if another process has not finished it
            if self._shop.book.known(dataset.version) is None:
                self._shop.remove(dataset)
            self._shop.remove_given_up(dataset.version)

    def _failed(self, id_: str, dataset: Dataset | None, told: str, *, is_final: bool, has_progressed: bool = False) -> None:
        """Note that an attempt failed, with each job that waits for it."""
        known = None if dataset is None else self._shop.book.known(dataset.version)
        if dataset is not None and known is None:
            self._shop.remove(dataset)
            return
        for one in [id_] if known is None else [job for job, _ in known.dataset.jobs]:
            while (found := self._shop.book.job(one)) is not None and found[0].ended is None:
                job, document = found
                faults = 1 if has_progressed else job.faults + 1
                if is_final or faults >= _MOST_FAULTS:
                    told = told if is_final else f"{told}; {_GIVEN_UP.format(faults)}"
                    if known is not None:
                        self._given_up(known, told)
                        return
                    failed = msgspec.structs.replace(job, ended="failed", told=told)
                else:
                    retry_at = self._shop.state.now() + min(0.5 * 2**faults, _LONGEST_REST_SECONDS)
                    words = f"{told}; {_GOES_ON}"
                    failed = msgspec.structs.replace(job, told=words, faults=faults, retry_at=retry_at)
                if self._shop.book.change(failed, document):
                    log.warning("an export job %s: %s", failed.ended or "is tried again", failed.told)
                    break

    def _given_up(self, known: Known | None, told: str) -> None:
        while known is not None and known.dataset.state == "making":
            if self._shop.book.bury(known, "failed", told):
                log.warning("an export job failed: %s", told)
                self._shop.remove(known.dataset)
                return
            known = self._shop.book.known(known.dataset.version)


def _in_words(fault: Exception) -> str:
    """Tell a client what happened. The log has the fault as it is."""
    if isinstance(fault, StoreFull):
        return _FULL
    if isinstance(fault, StoreError):
        return _NO_STORE
    return _BUSY if isinstance(fault, TimeoutError) else str(fault)


def _lease_of(job: Job, known: Known | None) -> str:
    """Name the lease of the process that works on a job, which may share its dataset with others."""
    return f"job/{job.id}" if known is None else f"dataset/{known.dataset.version}"


def _in_turn(todo: Sequence[tuple[str, str, str]], served: Sequence[str]) -> list[tuple[str, str, str]]:
    """Put jobs in the order in which their turn comes: first those of the clients that have had the fewest.

    served: whose the jobs are that are done, as often as each has any.
    """
    before = Counter(served)
    ranked = list[tuple[int, tuple[str, str, str]]]()
    for one in todo:
        ranked.append((before[one[2]], one))
        before[one[2]] += 1
    return [one for _, one in sorted(ranked)]
