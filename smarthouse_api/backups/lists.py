"""Lists of what was deleted for good, as `smarthouse forgotten` prints them and `smarthouse restore` reads them.

The first line names the installation. The last one counts the lines and has their SHA-256: a list that lacks some would bring
back what stood there. Lists of builds before 0.3 have neither.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from smarthouse_api.errors import Invalid

_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ANEW: Final = "give a whole one, or make one anew by `smarthouse forgotten`"
_BEGIN: Final = re.compile(r"# deleted for good in the installation (\S+)", re.ASCII)
_END: Final = re.compile(r"# the end: (\d+) lines, SHA-256 ([0-9a-f]{64})", re.ASCII)


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
    yield f"# the end: {len(listed)} lines, SHA-256 {_summed(listed)}"


def read(told: Iterable[str]) -> Listed:
    """Read a list, or several one after another. Raises `Invalid` if one is empty, or not as it was written."""
    found, given, faulty, is_open, is_any = Listed(), list[str](), 0, False, False
    for line in filter(None, map(str.strip, told)):
        is_any = True
        if begin := _BEGIN.fullmatch(line):
            _refuse_open(is_open=is_open)
            found.installations.add(begin[1])
            given, is_open = [], True
        elif end := _END.fullmatch(line):
            if not is_open:
                raise Invalid(f"A list lacks its first line, `# deleted for good in the installation ...`; {_ANEW}")
            if int(end[1]) != len(given):
                raise Invalid(f"A list has {len(given)} lines where its end says {end[1]}; {_ANEW}")
            if end[2] != _summed(given):
                raise Invalid(f"A list is damaged: its lines are not those that its end has the SHA-256 of; {_ANEW}")
            is_open = False
        elif _DIGEST.fullmatch(line):
            found.digests.add(line)
            given.append(line)
        else:
            faulty += 1
    if faulty:
        raise Invalid(f"{faulty} lines are not from `smarthouse forgotten`; a line must have 64 hexadecimal digits")
    if not is_any:
        raise Invalid(f"The list is empty, as one that could not be written is; {_ANEW}")
    _refuse_open(is_open=is_open)
    return found


def joined(lists: Iterable[Listed]) -> Listed:
    """Return what all lists name together."""
    every = [*lists]
    return Listed(set().union(*(one.digests for one in every)), set().union(*(one.installations for one in every)))


def _summed(digests: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _refuse_open(*, is_open: bool) -> None:
    if is_open:
        raise Invalid(f"A list was cut off: its last line is missing; {_ANEW}")
