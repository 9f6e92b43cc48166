"""Lend SQLite connections to threads, and close them before a fork."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Protocol
from weakref import WeakSet


class SqliteConnections:
    """Lends connections to one file: as many as threads at work, made when needed and used again.

    check: asked before each is lent; it raises if the file is no longer there.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], check: Callable[[], None]) -> None:
        self._connect, self._check = connect, check
        self._gate = threading.Condition()
        self._idle: list[sqlite3.Connection] = []
        self._borrowed = 0
        self._shut = False

    @contextmanager
    def borrowed(self) -> Iterator[sqlite3.Connection]:
        """Borrow a connection. After an error it is closed, so that the next borrower looks at the file afresh."""
        with self._gate:
            while self._shut:
                self._gate.wait()
            self._check()
            self._borrowed += 1
            connection = self._idle.pop() if self._idle else None
        sound = False
        try:
            if connection is None:
                connection = self._connect()
            yield connection
            sound = True
        finally:
            if connection is not None and not sound:
                connection.close()
            with self._gate:
                self._borrowed -= 1
                if connection is not None and sound:
                    self._idle.append(connection)
                self._gate.notify_all()

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._gate:
            while self._idle:
                self._idle.pop().close()

    def shut(self) -> None:
        """Wait until every connection is given back, close them all, and lend none."""
        with self._gate:
            self._shut = True
            while self._borrowed:
                self._gate.wait()
        self.close()

    def reopen(self) -> None:
        """Lend connections again."""
        with self._gate:
            self._shut = False
            self._gate.notify_all()


class Forkable(Protocol):
    """Closes a store's connections before a fork, and lets the store open new ones after it."""

    def before_fork(self) -> None: ...
    def after_fork_in_parent(self) -> None: ...
    def after_fork_in_child(self) -> None: ...


_forkables: WeakSet[Forkable] = WeakSet()


def close_before_forks(store: Forkable) -> None:
    """Have `store` close its connections before each fork.

    A child inherits SQLite's memory of which locks this process holds, but not the locks: a connection that it opened
    to the same file would believe itself protected, and see the log deleted under it.
    """
    _watch_forks()
    _forkables.add(store)


@cache
def _watch_forks() -> None:
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def _before() -> None:
    for store in list(_forkables):
        store.before_fork()


def _after_in_parent() -> None:
    for store in list(_forkables):
        store.after_fork_in_parent()


def _after_in_child() -> None:
    for store in list(_forkables):
        store.after_fork_in_child()
