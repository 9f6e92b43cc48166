"""Load the steps that Redis does as one, in Lua: the files of `backends/lua`, each after `prelude.lua`.

Each script touches one space, whose keys share a slot, and is given all of them. Documents are stored as
`<head> <expires_us> <value>`, see `backends.redis_sums`; times in microseconds of the server's clock, 0 for ever. All numbers
stay below 2^53, where Lua's are exact; versions are compared as text.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from importlib.resources import files
from typing import Final


class Script:
    """Identifies a script to Redis: its text, and the hash by which Redis remembers it until a restart."""

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def text(self) -> str:
        folder = files("backends") / "lua"
        return (folder / "prelude.lua").read_text("utf-8") + (folder / f"{self._name}.lua").read_text("utf-8")

    @cached_property
    def sha(self) -> str:
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


GET: Final = Script("get")
GET_MANY: Final = Script("get_many")
SCAN: Final = Script("scan")
COMMIT: Final = Script("commit")
EXPIRE: Final = Script("expire")
NOW: Final = Script("now")
REBUILD: Final = Script("rebuild")
COUNT: Final = Script("count")
SUM: Final = Script("sum")


def read_scripts() -> None:
    """Read all files now, so that an upgrade under the running process does not mix versions."""
    for script in (GET, GET_MANY, SCAN, COMMIT, EXPIRE, NOW, REBUILD, COUNT, SUM):
        _ = script.sha
