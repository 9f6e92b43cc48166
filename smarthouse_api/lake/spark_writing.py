"""The writing of a query's result by a Spark Connect endpoint: begun, waited for, and stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import grpc

from smarthouse_api.lake.engine import Writing


class Watch(Protocol):
    """Cancels a call once its server no longer answers."""

    over: threading.Event

    def start(self) -> None: ...


class SparkWriting(Writing):
    """Waits in a thread for the end of a call.

    start: begins the call. watch: makes its watch. stop: has the server stop what the token names, and tells whether it has.
    faults: turns the call's errors into ours.
    """

    def __init__(
        self,
        token: str,
        start: Callable[[], Any],
        watch: Callable[[Any], Watch],
        stop: Callable[[str], bool],
        faults: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.token = token
        self._start, self._new_watch, self._stop, self._faults = start, watch, stop, faults
        self._call: Any = None
        self._fault: grpc.RpcError | None = None
        self._thread = threading.Thread(target=self._run, name="engine-writes", daemon=True)

    def begin(self) -> None:
        with self._faults():
            self._call = self._start()
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        self._thread.join(seconds)
        if self._thread.is_alive():
            return False
        with self._faults():
            if self._fault is not None:
                raise self._fault
        return True

    def stop(self) -> bool:
        if self._call is None or (self._call.done() and self._call.code() is grpc.StatusCode.OK):
            return True
        has_stopped = self._stop(self.token)
        self._call.cancel()
        self._thread.join()
        return has_stopped

    def _run(self) -> None:
        watch = self._new_watch(self._call)
        watch.start()
        try:
            for _ in self._call:
                pass
        except grpc.RpcError as fault:
            self._fault = fault
        finally:
            watch.over.set()
