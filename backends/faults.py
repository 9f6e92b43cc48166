"""Turn a driver's errors into the port's, around every method of a port that a backend defines."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import wraps
from typing import Any, ClassVar, NoReturn

from backends.checks import NotAllowed
from backends.own_files import ShowsFiles
from backends.ports import (
    KeepsReserve,
    KeepsSums,
    NamesLogs,
    ObjectStore,
    SignsUrls,
    StateStore,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

_PORTS = (StateStore, ObjectStore, NamesLogs, SignsUrls, KeepsReserve, KeepsSums, ShowsFiles)
_CAMEL = re.compile("(?<=[a-z])(?=[A-Z])")
_SQLITE = {
    sqlite3.SQLITE_BUSY: "another process holds its lock for too long",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened or made",
    sqlite3.SQLITE_IOERR: "its disk cannot be read or written",
    sqlite3.SQLITE_PERM: "its file may not be used by this user",
    sqlite3.SQLITE_READONLY: "its file or its disk is read-only",
}
_TAKE_ITERABLES = ("put", "delete", "sweep_table", "put_table", "load")
_GIVE_ITERATORS = (
    "stream",
    "list",
    "scan_all",
    "list_table",
    "stream_table",
    "spaces",
    "dump",
    "verify",
    "look_through",
    "add_sums",
    "own_files",
)


class TranslatesFaults:
    """Keeps a driver's errors away from callers, as the base of a backend whose driver raises its own.

    1. A port's method that the backend defines raises what `fault_of` makes of a driver's error, with that error as cause.
    2. The iterators that such a method returns do the same.
    3. `StoreError` and `NotAllowed` pass: the backend has said itself what is wrong.
    4. An error that the caller's own iterable raises passes, whatever it is: the store did not fail.
    """

    DRIVER_ERRORS: ClassVar[tuple[type[Exception], ...]] = (OSError,)

    def fault_of(self, error: Exception, method: str) -> StoreUnavailable:
        """Turn a driver's error, which the port's `method` met, into the port's. Here: an error of the operating system."""
        is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        return (StoreFull if is_full else StoreUnavailable)(str(error))

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, method in list(vars(cls).items()):
            if callable(method) and not name.startswith("_") and any(hasattr(port, name) for port in _PORTS):
                setattr(cls, name, _guarded(name, method))


def _guarded(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the method so that its driver's errors are translated."""
    takes_iterable, gives_iterator = name in _TAKE_ITERABLES, name in _GIVE_ITERATORS

    @wraps(method)
    def ask(self: TranslatesFaults, *args: Any, **options: Any) -> Any:
        callers: list[Exception] = []
        if takes_iterable:
            args = tuple(_noted(one, callers) for one in args)
            options = {option: _noted(one, callers) for option, one in options.items()}
        try:
            answer = method(self, *args, **options)
        except self.DRIVER_ERRORS as error:
            _translate(self, name, error, callers)
        return _iterated(self, name, answer) if gives_iterator else answer

    return ask


def _iterated(store: TranslatesFaults, name: str, answer: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from answer
    except store.DRIVER_ERRORS as error:
        _translate(store, name, error)


def _translate(store: TranslatesFaults, name: str, error: Exception, callers: Sequence[Exception] = ()) -> NoReturn:
    if isinstance(error, StoreError | NotAllowed) or any(error is one for one in callers):
        raise error
    raise store.fault_of(error, name) from error


def _noted(given: Any, raised: list[Exception]) -> Any:
    """Pass on what the caller gave. An error of an iterable is noted in `raised`; a collection raises none."""
    return _noting(given, raised) if isinstance(given, Iterable) and not isinstance(given, Collection) else given


def _noting(given: Iterable[Any], raised: list[Exception]) -> Iterator[Any]:
    try:
        for one in given:  # noqa: UP028  (`yield from` would close the caller's iterator)
            yield one
    except Exception as error:
        raised.append(error)
        raise


def in_short(fault: StoreError) -> str:
    """Say in a few words why a store failed, as far as its driver has said. Fit for anybody: no path, name or address."""
    if isinstance(fault, StoreFull):
        return "it is full"
    cause: BaseException = fault
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno).lower()
    if isinstance(cause, sqlite3.Error):
        return _SQLITE.get(getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF, "SQLite cannot work")
    if isinstance(cause, StoreError):
        return "it failed"
    code = getattr(cause, "code", None)  # an S3 server's
    return _CAMEL.sub(" ", code if isinstance(code, str) else type(cause).__name__).lower()
