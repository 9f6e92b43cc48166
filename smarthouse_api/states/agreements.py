"""Agreements: which terms a home agreed to, and when, as the document `consent/<home key>` in the space of the homes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from backends.ports import Document
from smarthouse_api.arrow.times import DAY_US, microseconds

CONSENT: Final = "consent/"
_MOST_KEPT: Final = 100


class Agreement(msgspec.Struct, frozen=True, array_like=True):
    """Says that a home agreed to a version of the terms. tier: to what of it. at_us: when, in microseconds since 1970."""

    terms: str
    tier: str
    at_us: int


_decode = msgspec.json.Decoder(tuple[Agreement, ...]).decode


def agreements_of(document: Document | None) -> tuple[Agreement, ...]:
    """Read all agreements of a home, the first one first; none without a document."""
    return () if document is None else _decode(document.value)


def with_another(known: tuple[Agreement, ...], new: Agreement) -> tuple[Agreement, ...]:
    """Add an agreement, unless the newest one says the same. The first one is always kept: it tells since when."""
    if known and (known[-1].terms, known[-1].tier) == (new.terms, new.tier):
        return known
    return (*known, new) if len(known) < _MOST_KEPT else (known[0], *known[2:], new)


def encoded_agreements(known: tuple[Agreement, ...]) -> bytes:
    """Write the value of the document."""
    return msgspec.json.encode(known)


def lasting(found: Iterable[tuple[str, Document | None]], days: int) -> Iterator[str]:
    """List the homes, by internal key, that agreed `days` days ago or before. The day of the first agreement counts as one.

    found: documents by name; None for one that is damaged.
    """
    today = microseconds(datetime.now(UTC)) // DAY_US
    for name, document in found:
        known = agreements_of(document)
        if known and today - known[0].at_us // DAY_US + 1 >= days:
            yield name.removeprefix(CONSENT)
