"""Data files that a new log of their table can name, when the old one is lost."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from backends.ports import ObjectStore

_WHEN: Final = 0


def add_actions(objects: ObjectStore, table: str, sizes: Mapping[str, int], statistic: str) -> list[AddAction]:
    """Describe data files as a log does. sizes: by their paths. statistic: an integer column whose bounds are told."""
    return [_action(path, size, b"".join(objects.stream_table(table, path)), statistic) for path, size in sizes.items()]


def _action(path: str, size: int, data: bytes, statistic: str) -> AddAction:
    *partitions, _ = path.split("/")
    values = dict(part.split("=", 1) for part in partitions)
    return AddAction(path, size, values, _WHEN, True, msgspec.json.encode(_statistics(data, statistic)).decode())


def _statistics(data: bytes, name: str) -> dict[str, Any]:
    footer = pq.read_metadata(io.BytesIO(data))
    column = footer.schema.names.index(name)
    found = [footer.row_group(group).column(column).statistics for group in range(footer.num_row_groups)]
    told: dict[str, Any] = {"numRecords": footer.num_rows}
    if found and all(one is not None and one.has_min_max for one in found):
        told |= {"minValues": {name: min(one.min for one in found)}, "maxValues": {name: max(one.max for one in found)}}
    return told
