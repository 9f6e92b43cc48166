"""What an owner looks at: a home's entities, each beside what is published of it, and the states of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable
from sqlglot import exp

from config.groups import ExportSettings
from smarthouse_api.archives.entities import of_home
from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.arrow.times import microseconds, time_of
from smarthouse_api.arrow.views import without_views
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.lake.datafusion import EmbeddedEngine
from smarthouse_api.lake.planning import instant
from smarthouse_api.states.homes import Home
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records import rules
from smarthouse_api.states.records.privacy import entity_name, home_name
from smarthouse_api.states.records.schema import KEY
from smarthouse_api.states.service import States

_PUBLISHED_DAYS: Final = 7
MOST_STATES: Final = 100_000
"""States of one entity that are looked at: the newest."""

_TEXTS: Final = ("entity_id", "type", "unit", "device_class")


@dataclass(frozen=True)
class Entity:
    """Is an entity of a home. published, published_state: its id and its newest state as published in the home's last days.

    first_us, last_us: the times of its states, in microseconds since 1970. is_publishable: its kind may be published at all.
    name: the id with which it is published, if it is.
    """

    id: str
    type: str
    unit: str | None
    device_class: str | None
    states: int
    first_us: int
    last_us: int
    published: str | None = None
    published_state: str | None = None
    is_publishable: bool = True
    name: str = ""


@dataclass(frozen=True)
class Looked:
    """Holds what the lake has of a home. pseudonym: None if each export has another one.

    since_us: when the days begin that were looked at for what is published, in microseconds since 1970.
    """

    pseudonym: str | None
    entities: tuple[Entity, ...]
    since_us: int = 0


@dataclass(frozen=True)
class History:
    """Holds the states of an entity, in order of time. at: in microseconds since 1970. values: NaN where there is no number."""

    at: np.ndarray[Any, np.dtype[np.int64]]
    values: np.ndarray[Any, np.dtype[np.float64]]
    words: list[str]


class Looking:
    """Lets the owner of a home look at its rows in the lake."""

    def __init__(self, states: States, settings: ExportSettings) -> None:
        self._states, self._settings = states, settings

    def entities(self, home: Home | None) -> Looked:
        """List the entities that have states, and what is published of each. A home that is not known has none."""
        asking = self._states.contents.asking
        secret = asking.secret()
        if home is None:
            return Looked(None, ())
        name = home_name(secret, home.key)
        with self._opened() as (snapshot, lease):
            found = [] if snapshot is None else self._entities(snapshot, home.key)
            last = max((one.last_us for one in found), default=None)
            published, first = dict[str, str](), date.min
            if snapshot is not None and last is not None:
                until = time_of(last).date()
                first = until - min(until - date.min, timedelta(days=_PUBLISHED_DAYS - 1))
                published = self._published(snapshot, lease, home.key, secret, first, until)
        told = [self._told(one, secret, name, published) for one in found]
        since_us = microseconds(datetime.combine(first, time.min, UTC))
        return Looked(name if asking.has_lasting_names else None, tuple(told), since_us)

    def history(self, home: Home, entity: str, since_us: int, until_us: int) -> History:
        """Read the states of an entity: the newest ones, if they are more than `MOST_STATES`. The ends are inclusive."""
        at, state, value = (exp.column(name) for name in ("time", "state", "value"))
        query = (
            exp.select(at, state, value)
            .distinct()
            .from_(self._states.table.name)
            .where(*of_home(self._states.table, home.key), exp.column("entity_id").eq(entity))
            .where(at >= instant(since_us), at <= instant(until_us))
            .order_by(at.copy().desc())
            .limit(MOST_STATES)
        )
        with self._opened() as (snapshot, _):
            batches = [] if snapshot is None else [without_views(one) for one in EmbeddedEngine().stream(snapshot, query)]
        if not batches:
            return History(np.zeros(0, np.int64), np.zeros(0), [])
        table = pa.Table.from_batches(batches).sort_by("time")
        times = table["time"].cast(TIMESTAMP).cast(pa.int64()).to_numpy()
        values = table["value"].to_numpy(zero_copy_only=False).astype(np.float64)
        return History(times, values, table["state"].to_pylist())

    @contextmanager
    def _opened(self) -> Iterator[tuple[DeltaTable | None, Lease]]:
        table = self._states.table
        with table.reading() as lease:
            snapshot = table.open()
            if snapshot is not None:
                table.note(lease, snapshot)
            yield snapshot, lease
            lease.check()

    def _entities(self, snapshot: DeltaTable, key: str) -> list[Entity]:
        """List the entities. A repeat of a state that is not merged yet counts once."""
        columns = [exp.column(name) for name in dict.fromkeys((*KEY, *_TEXTS, "time"))]
        once = exp.select(*columns).distinct().from_(self._states.table.name).where(*of_home(self._states.table, key))
        at = exp.column("time")
        told = [exp.Max(this=exp.column(name)).as_(name) for name in _TEXTS[1:]]
        query = (
            exp.select(
                exp.column("entity_id"),
                *told,
                exp.Count(this=exp.Star()).as_("states"),
                exp.Min(this=at).as_("first"),
                exp.Max(this=at.copy()).as_("last"),
            )
            .from_(once.subquery("once"))
            .group_by(exp.column("entity_id"))
        )
        found = []
        for batch in EmbeddedEngine().stream(snapshot, query):
            rows = without_views(batch)
            ends = [rows.column(name).cast(TIMESTAMP).cast(pa.int64()).to_pylist() for name in ("first", "last")]
            columns_ = (rows.column(name).to_pylist() for name in (*_TEXTS, "states"))
            found += [Entity(*one) for one in zip(*columns_, *ends, strict=True)]
        return sorted(found, key=lambda one: one.id)

    def _published(
        self, snapshot: DeltaTable, lease: Lease, key: str, secret: bytes, first: date, last: date
    ) -> dict[str, str]:
        """Find the newest published state of each published entity, in these days."""
        exports, asking = self._states.exports, self._states.contents.asking
        filters = Filters(since=first, until=last, keys=(key,)).kept(self._states.table.first_kept_day())
        if (asked := asking.ready(filters)) is None:
            return {}
        found = dict[str, str]()
        for batch in exports.rows(snapshot, asked, lease, secret, exports.looks(snapshot, asked)):
            found.update(zip(batch.column("entity_id").to_pylist(), batch.column("state").to_pylist(), strict=True))
        return found

    def _told(self, entity: Entity, secret: bytes, name: str, published: dict[str, str]) -> Entity:
        level = self._settings.privacy
        id_ = entity.id if level == "raw" else entity_name(secret, name, entity.id, strict=level == "strict")
        if id_ not in published:
            kind = rules.kind_of(entity.type, entity.id)
            back = bool(self._settings.words) and rules.is_published_if_reviewed(kind)
            is_publishable = level == "raw" or back or rules.is_published(kind, entity.id)
            return replace(entity, is_publishable=is_publishable, name=id_)
        return replace(entity, published=id_, published_state=published[id_])
