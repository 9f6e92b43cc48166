"""The data files that a query of one snapshot will read: each is looked at before it is read.

The first ones are looked at before an answer begins, so that it can still say that a damaged file is missing. The others are
looked at part by part: the first byte must not wait for all of a large lake.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Final
from urllib.parse import unquote

import pyarrow as pa

from backends.ports import StoreUnavailable
from smarthouse_api.lake.ledger import Ledger

_FIRST_BYTES: Final = 256 << 20


class DataFiles:
    """Looks once at each of some data files, though many threads ask. files: of `files_of`, those that may be read.

    set_aside: takes files that `check` finds damaged out of their table, so that the next answer can do without them.
    """

    def __init__(
        self, ledger: Ledger, files: pa.Table, set_aside: Callable[[Mapping[str, str]], None] = lambda faults: None
    ) -> None:
        self._ledger, self._set_aside = ledger, set_aside
        names = map(unquote, files["path"].to_pylist())
        days = files["partition.day"].to_pylist()
        self._looking = threading.Lock()
        self._left = {path: (size, day) for path, size, day in zip(names, files["size_bytes"].to_pylist(), days, strict=True)}

    def first_faults(self) -> dict[str, str]:
        """Look at the first files; return what is wrong with those that are damaged or missing, by their paths."""
        chosen, size = list[str](), 0
        for path in sorted(self._left):
            size += self._left[path][0]
            if chosen and size > _FIRST_BYTES:
                break
            chosen.append(path)
        return self._look(chosen)

    def all_faults(self, *, anew: bool = False) -> dict[str, str]:
        """Look at all files; return what is wrong with those that are damaged or missing, by their paths.

        anew: read those too that were found whole lately.
        """
        return self._look(sorted(self._left), anew=anew)

    def distrust(self) -> None:
        """Have the next answer read all files: reading one has failed, though it was looked at."""
        self._ledger.distrust()

    def check(self, first: date, last: date, *, is_filed: bool) -> None:
        """Look at the files of some days that were not looked at yet. is_filed: the days are those of the partitions.

        Raises `StoreUnavailable` if one is damaged, once it is set aside.
        """
        with self._looking:  # the second one waits until they are found whole
            faults = self._look([path for path, (_, day) in self._left.items() if not is_filed or first <= day <= last])
        if faults:
            self._set_aside(faults)
            path, fault = next(iter(faults.items()))
            raise StoreUnavailable(f"the lake: {path} {fault}")

    def _look(self, paths: Iterable[str], *, anew: bool = False) -> dict[str, str]:
        sizes = {path: self._left.pop(path)[0] for path in list(paths)}
        return dict(self._ledger.faults(sizes, anew=anew))
