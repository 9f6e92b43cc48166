"""Answers that take the same time whatever was there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import g, request

from smarthouse_api.coordination.answer_times import AnswerTimes


@contextmanager
def answered_evenly(times: AnswerTimes) -> Iterator[None]:
    """Have the answer sent when `times` says, also if what is done within this fails.

    The server holds it back, so that no thread waits. A server that cannot, such as that of a test, sends it at once. The
    metrics and the log tell when it is sent, not when it was done.
    """
    begun, has_failed = times.begin(), True
    try:
        yield
        has_failed = False
    finally:
        if (hold := getattr(request.environ.get("gunicorn.socket"), "hold_until", None)) is not None:
            g.due_at = times.due_at(begun, has_failed=has_failed)
            hold(g.due_at)
