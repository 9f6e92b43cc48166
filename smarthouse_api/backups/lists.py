"""Lists of what was deleted for good, as `smarthouse forgotten` prints them and `smarthouse restore` reads them.

The first line names the installation, and the last one says that nothing was cut off: a list that lacks its end would bring
back what stood there. Lists of builds before 0.3 have neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from smarthouse_api.errors import Invalid

_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_BEGIN: Final = re.compile(r"# deleted for good in the installation (\S+)", re.ASCII)
_END: Final = re.compile(r"# the end: (\d+) lines", re.ASCII)


@dataclass(frozen=True)
class Listed:
    """Holds what lists name. installations: those that the lists are of, where they say so."""

    digests: set[str] = field(default_factory=set)
    installations: set[str] = field(default_factory=set)

    def refuse_others(self, installation: str | None) -> None:
        """Raise `Invalid` if a list is of another installation: it would delete nothing again. None: nobody knows the id."""
        if installation is not None and (others := self.installations - {installation}):
            raise Invalid(f"A list is of the installation {min(others)}, and this is {installation}; give the list of this one")


def lines(installation: str, digests: Iterable[str]) -> Iterator[str]:
    """Write a list."""
    listed = sorted(digests)
    yield f"# deleted for good in the installation {installation}"
    yield from listed
    yield f"# the end: {len(listed)} lines"


def read(told: Iterable[str]) -> Listed:
    """Read one list or several, one after another. Raises `Invalid` if a line is none of a list, or lines are missing."""
    found, count, faulty, is_open = Listed(), 0, 0, False
    for line in filter(None, map(str.strip, told)):
        if begin := _BEGIN.fullmatch(line):
            _refuse_open(is_open=is_open)
            found.installations.add(begin[1])
            count, is_open = 0, True
        elif end := _END.fullmatch(line):
            if not is_open or int(end[1]) != count:
                raise Invalid(f"A list has {count} lines where its end says {end[1]}; make it anew by `smarthouse forgotten`")
            is_open = False
        elif _DIGEST.fullmatch(line):
            found.digests.add(line)
            count += 1
        else:
            faulty += 1
    if faulty:
        raise Invalid(f"{faulty} lines are not from `smarthouse forgotten`; a line must have 64 hexadecimal digits")
    _refuse_open(is_open=is_open)
    return found


def _refuse_open(*, is_open: bool) -> None:
    if is_open:
        raise Invalid("A list was cut off: its last line is missing; give a whole one, or make one by `smarthouse forgotten`")
