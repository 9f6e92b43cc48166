"""What an engine has written for one part, read back: its rows, what it tells of them, and their lines as a text.

1. Rows come in ranges of their order, `span=<number>`, each of one file or more, and have places in it from 1 on. A place that
   is missing, or comes twice, is found out, and so is a row that is not at its place. An engine that leaves out the end of a
   span, and says that it has written all, is believed.
2. A text is in gzip files. Only their last bytes are changed. Its size must be that of all lines together. It is not
   looked at whether an engine that sorts lines has written them in this order.
3. A table is in Parquet files, whose row groups are copied. Of these, only spans and places are read: each must follow the one
   before, to the last one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.arrow.gzip_runs import NotGzip, run_of, told_by
from smarthouse_api.arrow.parquet_links import NotAlike, ParquetLinks
from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.states.export.engine_queries import PLACE, SPAN
from smarthouse_api.states.export.engine_texts import WHOLE
from smarthouse_api.states.export.shapes import STATE_CHANGES
from smarthouse_api.states.jobs.encoding import deflated
from smarthouse_api.states.jobs.engine_files import EngineFiles
from smarthouse_api.states.records.schema import ROWS

_PATH: Final = re.compile(rf"[^/]+/[^/]+/[^/]+/(?:{SPAN}|{WHOLE})=([0-9]+)/([^/._][^/]*\.(?:parquet|gz))")
"""The path of a file with rows. Those of Hadoop's own begin with `.` or `_`."""

_NUMBERED: Final = re.compile(r"part-[0-9]{5}-.*")
_SIZES: Final = 1 << 32
_PLACE_BITS: Final = 32
_PLACES: Final = (1 << _PLACE_BITS) - 1
_TEXTS: Final = [field.name for field in ROWS if pa.types.is_string(field.type)]

Keys = npt.NDArray[np.int64]


class WrittenWrongly(Exception):
    """Says what is wrong with what an engine wrote."""


@dataclass(frozen=True)
class Told:
    """Tells of the rows of one part. end: span and place of the last one. sizes, last: of each kind of lines, the bytes of all
    and the last one.
    """

    rows: int
    first_us: int
    last_us: int
    end: tuple[int, int]
    sizes: dict[str, int]
    last: dict[str, str]


def told_of(batches: Iterable[pa.RecordBatch], lines: Sequence[str]) -> Told:
    """Put together what an engine tells of all spans, see `select_told`. Raises `WrittenWrongly`."""
    spans: list[dict[str, Any]] = sorted((row for batch in batches for row in batch.to_pylist()), key=lambda row: row[SPAN])
    if not spans:
        raise WrittenWrongly("does not find the rows that it has written")
    for row in spans:
        if not row["found"] == row["places"] == row["most"] or row["least"] != 1:
            raise WrittenWrongly("has not written each row once")
        if any(row[f"{name}_found"] != row["found"] for name in lines):
            raise WrittenWrongly("has not written all lines")
    return Told(
        sum(row["found"] for row in spans),
        min(row["first"] for row in spans),
        max(row["last"] for row in spans),
        (spans[-1][SPAN], spans[-1]["most"]),
        {name: sum(row[f"{name}_bytes"] for row in spans) for name in lines},
        {name: spans[-1][f"{name}_last"] for name in lines},
    )


def has_rows(files: EngineFiles, folder: str) -> bool:
    """Tell whether a part has any rows."""
    return bool(_paths(files, folder))


def rows_in_order(files: EngineFiles, folder: str, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read some columns of the rows of a part, as those of an export. Raises `WrittenWrongly` for a row not at its place."""
    span, place = -1, 0
    for number, path in _paths(files, folder):
        span, place = number, place if number == span else 0
        for batch in files.read(path, [*names, PLACE], [name for name in names if name in _TEXTS]):
            places = batch.column(PLACE).to_numpy()
            if not np.array_equal(places, np.arange(place + 1, place + 1 + len(places))):
                raise WrittenWrongly("has not written the rows in their order")
            place += len(places)
            yield _typed(batch, names)


@dataclass(frozen=True)
class Text:
    """The lines of all rows of a part as a text in one format, in gzip files.

    after: what stands after each line, beside the line break. end: span and place of a last line that is not in the files.
    size: the plain bytes in them. last: this line.
    """

    after: str
    end: tuple[int, int] | None
    size: int
    last: bytes

    @classmethod
    def of(cls, format_: str, kind: str, told: Told) -> Text:
        """Plan the text of a format. If something stands between its rows, the last one ends without a line break."""
        runs = FORMATS[format_].runs
        if runs is None or not runs.between:
            return cls("", None, told.sizes[kind] + told.rows, b"")
        last = told.last[kind].encode()
        between = runs.between.decode().removesuffix("\n")
        return cls(between, told.end, told.sizes[kind] - len(last) + (told.rows - 1) * len(runs.between), last)

    def run(self, files: EngineFiles, folder: str) -> Iterator[bytes]:
        """Yield it as a run, see `gzip_runs`. Raises `WrittenWrongly`."""
        paths = [path for _, path in _paths(files, folder)] if self.size else []
        if len(paths) > 1 and not all(_NUMBERED.fullmatch(path.rpartition("/")[2]) for path in paths):
            raise WrittenWrongly("has written the lines in several files that have no order")
        with ExitStack() as opened:
            spools = [opened.enter_context(files.opened(path)) for path in paths]
            try:
                if sum(told_by(spool).size for spool in spools) % _SIZES != self.size % _SIZES:
                    raise WrittenWrongly("has not written all lines as a text")
                for spool in spools:
                    yield from run_of(spool)
            except NotGzip:
                raise WrittenWrongly("has not written lines as a text in gzip files") from None
        if self.last:
            yield deflated(self.last)


def table(files: EngineFiles, folder: str, told: Told) -> Iterator[bytes]:
    """Yield the rows of a part as one Parquet file of an export's columns. Raises `WrittenWrongly`."""
    with ExitStack() as opened:
        spools = [opened.enter_context(files.opened(path)) for _, path in _paths(files, folder)]
        try:
            placed = [(_keys(spool), spool) for spool in spools]
            found = sorted(((keys, spool) for keys, spool in placed if len(keys)), key=lambda one: int(one[0][0]))
            if not found or not _are_all(np.concatenate([keys for keys, _ in found]), told):
                raise WrittenWrongly("has not written the rows in their order")
            links = ParquetLinks(STATE_CHANGES.schema)
            for _, spool in found:
                yield from links.add_file(spool)
            yield from links.end()
        except (NotAlike, pa.ArrowException, OSError):
            raise WrittenWrongly("has not written the rows as an export has them") from None


def _keys(file: IO[bytes]) -> Keys:
    """Read span and place of each row, as one number."""
    rows = pq.ParquetFile(file).read([SPAN, PLACE])
    span, place = (rows.column(name).cast(pa.int64()).to_numpy() for name in (SPAN, PLACE))
    keys: Keys = (span << _PLACE_BITS) | place
    return keys


def _are_all(keys: Keys, told: Told) -> bool:
    """Tell whether these are all rows of a part, in their order."""
    steps, begins = np.diff(keys), (keys & _PLACES) == 1
    span, place = told.end
    is_next = (steps == 1) | ((steps > 0) & begins[1:])
    return bool(len(keys) == told.rows and begins[0] and is_next.all() and keys[-1] == (span << _PLACE_BITS) | place)


def _paths(files: EngineFiles, folder: str) -> list[tuple[int, str]]:
    found = ((_PATH.fullmatch(path), path) for path in files.paths(folder))
    return sorted((int(match[1]), path) for match, path in found if match is not None)


def _typed(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """Give columns the types that they have in an export. Texts stay dictionary-encoded."""
    columns = {name: batch.column(name) for name in names}
    for name in columns.keys() & {"last_changed", "last_updated", "time"}:
        columns[name] = columns[name].cast(pa.int64()).cast(TIMESTAMP)
    if "received" in columns:
        days = pc.divide(columns["received"].cast(pa.int64()), pa.scalar(DAY_US, pa.int64()))
        columns["received"] = days.cast(pa.int32()).cast(pa.date32())
    if "utc_offset" in columns:
        columns["utc_offset"] = columns["utc_offset"].cast(pa.int32())
    return pa.RecordBatch.from_pydict(columns)
