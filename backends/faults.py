"""A driver's errors, turned into the port's in one place: around every method of the port that a backend has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from inspect import signature
from typing import Any, ClassVar, NamedTuple

from backends.checks import NotAllowed
from backends.ports import NamesLogs, ObjectStore, SignsUrls, StateStore, StoreError

_PORTS = (StateStore, ObjectStore, NamesLogs, SignsUrls)
_FROM_CALLER = ("chunks", "keys", "dead")
_ITERATED = ("stream", "list", "scan_all")
_RAISE_NOTHING = (list, tuple)
_PASSING = (StoreError, NotAllowed)


class Call(NamedTuple):
    """What was asked of a backend. key: the first argument. iterating: it was answered, and its iterator failed."""

    method: str
    key: str | None
    options: dict[str, Any]
    iterating: bool = False


class TranslatesFaults(ABC):
    """The base of a backend whose driver raises errors of its own.

    1. Each method of a port that the backend defines raises `fault_of` an error in `DRIVER_ERRORS`, with that error as cause.
    2. So does the iteration of what `stream`, `list` and `scan_all` give.
    3. `StoreError` and `NotAllowed` pass: the backend has said itself what is wrong.
    4. What the caller's own `chunks`, `keys` or `dead` raise passes, whatever it is: the store did not fail.
    """

    DRIVER_ERRORS: ClassVar[tuple[type[Exception], ...]]

    @abstractmethod
    def fault_of(self, error: Exception, call: Call) -> StoreError:
        """What the port promises to raise in the place of `error`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, method in list(vars(cls).items()):
            if callable(method) and not name.startswith("_") and any(hasattr(port, name) for port in _PORTS):
                setattr(cls, name, _guarded(name, method))


def _guarded(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method with its driver's errors translated."""
    names = list(signature(method).parameters)[1:]
    from_caller = next((one for one in _FROM_CALLER if one in names), None)
    place = names.index(from_caller) if from_caller else 0
    is_iterated = name in _ITERATED

    @wraps(method)
    def ask(self: TranslatesFaults, *args: Any, **options: Any) -> Any:
        callers: _FromCaller | None = None
        if from_caller is not None:
            in_place = len(args) > place
            given = args[place] if in_place else options.get(from_caller, ())
            if not isinstance(given, _RAISE_NOTHING):
                callers = _FromCaller(given)
                if in_place:
                    args = (*args[:place], callers, *args[place + 1 :])
                else:
                    options = {**options, from_caller: callers}
        try:
            answer = method(self, *args, **options)
        except self.DRIVER_ERRORS as error:
            if isinstance(error, _PASSING) or (callers is not None and error is callers.raised):
                raise
            raise self.fault_of(error, _call(name, args, options)) from error
        return _iterated(self, answer, _call(name, args, options)._replace(iterating=True)) if is_iterated else answer

    return ask


def _call(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Call:
    key = args[0] if args else options.get("key")
    return Call(name, key if isinstance(key, str) else None, options)


def _iterated(store: TranslatesFaults, answer: Iterator[Any], call: Call) -> Iterator[Any]:
    try:
        yield from answer
    except store.DRIVER_ERRORS as error:
        if isinstance(error, _PASSING):
            raise
        raise store.fault_of(error, call) from error


class _FromCaller:
    """The caller's iterator, which remembers what it raised."""

    def __init__(self, iterable: Iterable[Any]) -> None:
        self._iterator = iter(iterable)
        self.raised: Exception | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._iterator)
        except StopIteration:
            raise
        except Exception as error:
            self.raised = error
            raise
