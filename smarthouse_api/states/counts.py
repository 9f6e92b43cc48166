"""Counts: how much is kept raw, of each home and of all, and how much each address sent today; and the quotas on these.

They change in the commit that stores or removes what they count. In the state store, in the space of the homes:

    kept/<home key>         counter: bytes of raw uploads, uploads, records (statistics included)
    kept-in-all             the same, of all homes
    first/<home key>        when the home uploaded first, in microseconds since 1970
    last/<home key>         when it did so last
    expired/<home key>      counter: the same of what has expired: each upload counts whenever it expires
    expired-in-all          the same, of all homes that there ever were
    erased-in-all           counter: the same of what was erased with its home, of all such homes
    dropped/<table>         counter: rows that were dropped from a table of the lake for their age
    sent/<day>/<tag>        counter: bytes that came from one address on one UTC day; the tag is another on each day
    rights/<day>/<tag>      counter: consents and objections that came so
    counted                 says that every receipt is counted

A receipt that has `bytes` is counted. Those of earlier versions have none, and `CountingOld` counts them.
"""

from __future__ import annotations

import hmac
import logging
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from backends.counters import numbers_of
from backends.ports import Add, Change, Conflict, Document, Put, StateStore
from config.groups import GrowthSettings
from smarthouse_api.access.addresses import network_of
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.errors import HOME_QUOTA, NoRoom, TooLarge, TooMany
from smarthouse_api.states.homes import SPACE

log = logging.getLogger(__name__)

COUNTED: Final = "counted"
_IN_ALL: Final = "kept-in-all"
_EXPIRED_IN_ALL: Final = "expired-in-all"
_ERASED_IN_ALL: Final = "erased-in-all"
_DAY_SECONDS: Final = 86400
_LOOKS_FIRST_SECONDS: Final = 10.0
_MOST_SEEN: Final = 10_000


@dataclass(frozen=True, slots=True)
class Kept:
    """Counts what is kept raw: bytes, uploads, and the records that were recognised in them.

    first_us, last_us: when the first and the last of them came, in microseconds since 1970; None if that is not known.
    """

    bytes: int = 0
    uploads: int = 0
    records: int = 0
    first_us: int | None = None
    last_us: int | None = None

    def of(self, key: str, most: int = 0) -> Add:
        """Add this to a counter. most: the bytes that it may count; 0: any number."""
        return Add(key, (self.bytes, self.uploads, self.records), most or None)

    def negative(self) -> Kept:
        return Kept(-self.bytes, -self.uploads, -self.records)


class Counts:
    """Counts what is kept raw, and holds uploads to the quotas."""

    def __init__(self, state: StateStore, keyring: Keyring, settings: GrowthSettings) -> None:
        self._state, self._keyring, self._settings = state, keyring, settings
        self._full: dict[str, float] = {}

    def in_all(self) -> Kept:
        """Return what is kept of all homes."""
        return _kept(self._state.get(SPACE, _IN_ALL))

    def of(self, home_keys: Sequence[str]) -> list[Kept]:
        """Return what is kept of each of these homes."""
        names = [f"{kind}/{key}" for kind in ("kept", "first", "last") for key in home_keys]
        found = self._state.get_many(SPACE, names)
        count = len(home_keys)
        return [_kept(*found[place::count]) for place in range(count)]

    def by_home(self) -> dict[str, Kept]:
        """Return what is kept of each home that is not purged, by its internal key."""
        kinds = ("kept", "first", "last")
        found = [{name.partition("/")[2]: one for name, one in self._state.scan_all(SPACE, f"{kind}/")} for kind in kinds]
        keys = sorted({key for one in found for key in one})
        return {key: _kept(*(one.get(key) for one in found)) for key in keys}

    def adds(self, home_key: str, kept: Kept, address: str | None = None) -> tuple[Add, ...]:
        """Make what a commit adds that stores this much of a home; the commit fails if that passes a quota."""
        settings = self._settings
        adds = [
            kept.of(f"kept/{home_key}", settings.quota_home_bytes),
            kept.of(_IN_ALL, settings.quota_bytes),
        ]
        if address is not None and settings.quota_address_bytes:
            ttl = 2.0 * _DAY_SECONDS
            adds.append(Add(self._sent(address), (kept.bytes,), settings.quota_address_bytes, ttl))
        return tuple(adds)

    def old(self, home_key: str, kept: Kept) -> tuple[Add, ...]:
        """Make what a commit adds that counts what was stored before; no quota refuses it."""
        return kept.of(f"kept/{home_key}"), kept.of(_IN_ALL)

    def expire(self, home_key: str, kept: Kept) -> tuple[Add, ...]:
        """Make what a commit adds that lets this much of a home expire."""
        return *self.old(home_key, kept.negative()), kept.of(f"expired/{home_key}"), kept.of(_EXPIRED_IN_ALL)

    def expired(self, home_key: str | None = None) -> Kept:
        """Return how much has expired of a home, or of all homes that there ever were."""
        return _kept(self._state.get(SPACE, _EXPIRED_IN_ALL if home_key is None else f"expired/{home_key}"))

    def received(self) -> Kept:
        """Return how much ever came of all homes: what is kept, what has expired, and what was erased with its home."""
        found = self._state.get_many(SPACE, (_IN_ALL, _EXPIRED_IN_ALL, _ERASED_IN_ALL))
        return total(map(_kept, found))

    def drop(self, table: str, rows: int) -> None:
        """Count rows that were dropped from a table of the lake for their age."""
        self._state.commit(SPACE, Change(adds=(Add(f"dropped/{table}", (rows,)),)))

    def dropped(self, table: str) -> int:
        """Return how many rows were dropped from a table of the lake for their age."""
        return _kept(self._state.get(SPACE, f"dropped/{table}")).bytes

    def was_full(self, home_key: str | None, address: str | None) -> bool:
        """Tell whether this process refused an upload of the home, from the address, or of any home a moment ago."""
        return bool(self._full) and any(self._full.get(name, 0) > time.monotonic() for name in self._names(home_key, address))

    def check(self, home_key: str | None, address: str | None, size: int) -> None:
        """Refuse an upload of this many bytes if it would pass a quota. Raises `TooLarge`, `TooMany` or `NoRoom`."""
        names = self._names(home_key, address)
        quotas = self._settings.quota_home_bytes, self._settings.quota_bytes, self._settings.quota_address_bytes
        for name, quota, found in zip(names, quotas, self._state.get_many(SPACE, names), strict=False):
            if quota and _kept(found).bytes + size > quota:
                self._note(name)
                _refuse(name, quota)

    def count_right(self, address: str | None) -> None:
        """Count a consent or an objection that came from an address: each may stay for years. Raises `TooMany`."""
        most = self._settings.quota_address_consents
        if address is None or not most:
            return
        add = Add(self._of_address("rights", address), (1,), most, 2.0 * _DAY_SECONDS)
        try:
            self._state.commit(SPACE, Change(adds=(add,)))
        except Conflict:
            told = f"The service takes at most {most} consents and objections from one address in a UTC day"
            raise TooMany(told, _seconds_left()) from None

    def purge(self, home_key: str) -> None:
        """Remove the counts of a hidden home, and take them from those of all homes; repeatable."""
        found = self._state.get(SPACE, f"kept/{home_key}")
        deletes = tuple(f"{kind}/{home_key}" for kind in ("kept", "first", "last", "expired"))
        kept = _kept(found)
        adds = () if found is None else (kept.negative().of(_IN_ALL), kept.of(_ERASED_IN_ALL))
        expect = {} if found is None else {deletes[0]: found.version}
        self._state.commit(SPACE, Change(expect=expect, deletes=deletes, adds=adds))

    def _note(self, name: str) -> None:
        if self._full.get(name, 0) <= time.monotonic():
            log.warning("Uploads are refused, since they would pass %s", _quota_of(name))
        if len(self._full) >= _MOST_SEEN:
            self._full.clear()
        self._full[name] = time.monotonic() + _LOOKS_FIRST_SECONDS

    def _names(self, home_key: str | None, address: str | None) -> list[str]:
        return [f"kept/{home_key}", _IN_ALL, *([self._sent(address)] if address else [])]

    def _sent(self, address: str) -> str:
        return self._of_address("sent", address)

    def _of_address(self, kind: str, address: str) -> str:
        day = int(time.time() // _DAY_SECONDS)
        told = f"{day} {network_of(address)}".encode()
        return f"{kind}/{day}/{hmac.digest(self._keyring.key('address'), told, 'sha256').hex()[:32]}"


def _quota_of(name: str) -> str:
    """Name a quota without telling whose it is."""
    if name == _IN_ALL:
        return "the quota of all homes"
    return "the quota of one home" if name.startswith("kept/") else "the quota of one address and day"


def _refuse(name: str, quota: int) -> NoReturn:
    if name == _IN_ALL:
        raise NoRoom(
            f"The service keeps at most {quota} bytes of uploads, and this one would pass that; repeat the request later"
        )
    if name.startswith("kept/"):
        raise TooLarge(
            f"The service keeps at most {quota} bytes of uploads of one home, and this one would pass that; ask its operator",
            HOME_QUOTA,
        )
    raise TooMany(
        f"The service takes at most {quota} bytes from one address in a UTC day, and this upload would pass that",
        _seconds_left(),
    )


def _seconds_left() -> int:
    """Return how long the UTC day still is."""
    return math.ceil(_DAY_SECONDS - time.time() % _DAY_SECONDS)


def first_put(home_key: str, at_us: int) -> Put:
    """Note when a home uploaded first."""
    return Put(f"first/{home_key}", b"%d" % at_us)


def last_put(home_key: str, at_us: int) -> Put:
    """Note when a home uploaded last."""
    return Put(f"last/{home_key}", b"%d" % at_us)


def total(found: Iterable[Kept]) -> Kept:
    """Add up."""
    listed = list(found)
    return Kept(*(sum(getattr(one, name) for one in listed) for name in ("bytes", "uploads", "records")))


def _kept(counter: Document | None, first: Document | None = None, last: Document | None = None) -> Kept:
    numbers = (*numbers_of(counter.value if counter else None), 0, 0, 0)[:3]
    times = (int(one.value) if one else None for one in (first, last))
    return Kept(*numbers, *times)
