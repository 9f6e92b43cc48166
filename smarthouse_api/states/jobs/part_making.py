"""Makes one part of a dataset: its rows in each format, put into the object store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from typing import Final

import pyarrow as pa

from smarthouse_api.arrow.times import microseconds
from smarthouse_api.states.export.coverage import Coverage
from smarthouse_api.states.export.shapes import Shape
from smarthouse_api.states.jobs.encoding import EncodedRows, PartInFormat
from smarthouse_api.states.jobs.homes_in_files import homes_in
from smarthouse_api.states.jobs.model import Dataset, Part
from smarthouse_api.states.jobs.plan import PlannedPart
from smarthouse_api.states.jobs.sums import Summing
from smarthouse_api.states.jobs.workshop import Workshop

_KEPT_ROWS: Final = 131_072
"""What is freed stays in the arenas of threads. After so many rows it is given back; after fewer, the same is taken again."""

Tell = Callable[[int, int], None]
"""Is told of a part, again and again, how many rows and bytes it has so far. What it raises ends the making."""


def make_part(
    shop: Workshop, dataset: Dataset, number: int, planned: PlannedPart, shape: Shape, tell: Tell
) -> tuple[Part, set[str]]:
    """Make one part and put it; with the pseudonyms in its rows. Other parts may be made at the same time, in any order."""
    formats, rows, sizes, sums, homes = dataset.request.formats, 0, list[int](), list[int](), set[str]()
    coverage = Coverage(shape.begin, shape.end)
    with ExitStack() as written:
        writers = {name: written.enter_context(PartInFormat(name, shape.source)) for name in formats}

        def look() -> None:
            tell(rows, sum(writer.size for writer in writers.values()))

        with closing(planned.read()) as given:
            for some in given:
                if isinstance(some, EncodedRows):
                    _write_encoded(some, writers, look)
                    coverage.note(some.first_us, some.last_us)
                    homes |= some.homes
                    rows += some.rows
                elif some.num_rows:
                    for writer in writers.values():
                        writer.add(some)
                    coverage.note_rows(some)
                    homes |= homes_in(some)
                    rows += some.num_rows
                look()
        if rows:
            shop.room.check()
            size = sum(writer.size for writer in writers.values())

            def watched(chunks: Iterator[bytes]) -> Iterator[bytes]:
                for chunk in chunks:
                    tell(rows, size)
                    yield chunk

            for name, writer in writers.items():
                summing = Summing()
                sizes.append(shop.objects.put(dataset.part(name, number, dataset.turn), watched(summing.passing(writer.end()))))
                sums.append(summing.whole)
            tell(rows, sum(sizes))
    first, last = (None if at is None else microseconds(at) for at in (coverage.first, coverage.last))
    return Part(planned.days, rows, tuple(sizes), first, last, tuple(sums), dataset.turn), homes


def _write_encoded(rows: EncodedRows, writers: Mapping[str, PartInFormat], look: Callable[[], None]) -> None:
    """Write rows that are encoded. writers: by format. look: is called again and again."""

    def watched(run: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in run:
            yield chunk
            look()

    for name, run in rows.runs.items():
        writers[name].add_run(watched(run()))
    for batch in rows.batches:
        for name in writers.keys() - rows.runs.keys():
            writers[name].add(batch)
        look()


class Freeing:
    """Gives back the memory that a process needs no more for parts."""

    def __init__(self) -> None:
        self._rows = 0

    def made(self, rows: int) -> None:
        """Give it back now and then. rows: that were made since the last call."""
        self._rows += rows
        if self._rows >= _KEPT_ROWS:
            pa.default_memory_pool().release_unused()
            self._rows = 0
