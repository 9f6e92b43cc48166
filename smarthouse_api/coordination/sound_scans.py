"""Scans that go on after a damaged document: what removes or mends must find the others, and the damaged one's name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from backends.ports import Document, PartDamaged, StateStore

_PAGE: Final = 1000


def scan_past_damage(state: StateStore, space: str, prefix: str = "") -> Iterator[tuple[str, Document | None]]:
    """List the live documents under `prefix`; None for a damaged one. Raises `PartDamaged` if a name itself is damaged."""
    after, limit = "", _PAGE
    while True:
        try:
            page = state.scan(space, prefix, after, limit)
        except PartDamaged as fault:
            if limit > 1:  # the whole ones before it come first
                limit = max(limit // 8, 1)
                continue
            name = fault.part.name
            if fault.part.sequence is not None or name <= after or not name.startswith(prefix):
                raise
            yield name, None
            after, limit = name, _PAGE
            continue
        if not page:
            return
        yield from page
        after, limit = page[-1][0], _PAGE
