"""What a store keeps on its disk besides what it gives out: its own files, and what writers that died have left there."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file or a part of the store. chunks: its bytes. unread: why they cannot be had; empty if they can. path: of a file."""

    name: str
    chunks: Iterable[bytes] = ()
    unread: str = ""
    path: str = ""


class ShowsFiles(ABC):
    """Shows the bytes that no other method of the store gives out, as they are. Some stores of either kind have this power."""

    @abstractmethod
    def own_files(self, tables: Collection[str]) -> Iterator[OwnFile]:
        """Every file and part of the store that no other method gives, while others read and write.

        tables: the names of those whose files `list_table` gives. Read a file before you ask for the next one, and ask the
        store for nothing else meanwhile. Raises `StoreUnavailable`.
        """


def chunks_of(path: str) -> Iterator[bytes]:
    """Read a file in chunks; nothing of one that is gone."""
    with suppress(FileNotFoundError), open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def files_below(folder: str) -> Iterator[str]:
    """List the paths of all files below a folder, and of the folders that are empty, which end in a slash."""
    for root, folders, names in os.walk(folder):
        if not folders and not names and root != folder:
            yield f"{root}/"
        yield from (os.path.join(root, name) for name in sorted(names))
