"""The files of a snapshot of the lake: how they are listed, which are worth merging, and the faults of reading them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from backends.ports import StoreFull, StoreUnavailable

# Their exceptions tell in words what the system or the server has refused.
_FULL = re.compile(r"os error (28|122)\b|StorageFull|QuotaExceeded|InsufficientStorage|507 Insufficient")
_OUTAGE = re.compile(r"HTTP error|error sending request|retry_timeout|operation timed out")


class CommitConflict(StoreUnavailable):
    """Tells a writer that another one committed first; its own commit was refused as a whole."""


@contextmanager
def lake_faults() -> Iterator[None]:
    """Turn the exceptions of `deltalake` and Arrow into `StoreUnavailable` or `StoreFull`."""
    try:
        yield
    except CommitFailedError as fault:
        raise CommitConflict("the lake: another writer committed first") from fault
    except (DeltaError, pa.ArrowException, OSError) as fault:
        if _FULL.search(str(fault)):
            raise StoreFull("the lake: its store is full") from fault
        told = "the object store does not answer" if _OUTAGE.search(str(fault)) else "a library failed"
        raise StoreUnavailable(f"the lake: {told} ({type(fault).__name__})") from fault


def files_of(snapshot: DeltaTable) -> pa.Table:
    """List the files of a snapshot with their partitions, sizes and statistics."""
    with lake_faults():
        return pa.RecordBatchReader.from_stream(snapshot.get_add_actions(flatten=True)).read_all()


@dataclass(frozen=True)
class Crowded:
    """Names a partition that is worth merging, with its rows and their bytes as they rest."""

    partition: Mapping[str, Any]
    rows: int
    size_bytes: int


def crowded_partitions(
    files: pa.Table, partitions: tuple[str, ...], least_files: int, is_over: Callable[[Mapping[str, Any]], bool]
) -> list[Crowded]:
    """Choose the partitions worth merging. Of those that are over: those with more than one file.
    Of the others: those with many files, if the largest holds at most half of the bytes, so that a row is rewritten a
    logarithmic number of times; and those with far too many files.
    """
    names = [f"partition.{name}" for name in partitions]
    figures: list[tuple[str, str]] = [
        ("size_bytes", "count"),
        ("size_bytes", "max"),
        ("size_bytes", "sum"),
        ("num_records", "sum"),
    ]
    crowded = []
    for one in files.group_by(names).aggregate(figures).to_pylist():
        partition = {name: one[f"partition.{name}"] for name in partitions}
        count, is_spread = one["size_bytes_count"], 2 * one["size_bytes_max"] <= one["size_bytes_sum"]
        if (count > 1 and is_over(partition)) or (count >= least_files and (is_spread or count >= 8 * least_files)):
            crowded.append(Crowded(partition, one["num_records_sum"], one["size_bytes_sum"]))
    return sorted(crowded, key=lambda found: tuple(found.partition.values()))
