"""What the rules refuse, and why. `blueprints.dialects` alone turns these into HTTP."""

from __future__ import annotations

import copy

from backends.ports import StoreError as StoreError
from backends.ports import StoreFull as StoreFull
from backends.ports import StoreUnavailable as StoreUnavailable


class Refused(Exception):
    """A request that cannot be served as it stands. `detail` says what was wrong and what would be right.

    reason: a code for programs, in the dialects that have one; each has its own for the kinds of fault.
    """

    def __init__(self, detail: str, title: str | None = None, *, reason: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.title = title
        self.reason = reason


class Invalid(Refused):
    """The request is malformed."""


class Unauthorized(Refused):
    """The caller has shown no key that is good now."""


class Forbidden(Refused):
    """The caller's key does not open what was asked for."""


class InvalidData(Refused):
    """What was sent is well-formed, and cannot be: the dialect of streams has a status of its own for that."""


class NotFound(Refused):
    """What was named does not exist."""


class InUse(Refused):
    """What stands already, or another who is at it, does not allow the change."""


class KeyReused(Refused):
    """An `Idempotency-Key` came again with another request."""


class Unprocessable(Refused):
    """What was sent is well-formed, and breaks a rule that its receiver has set."""


class TooLarge(Refused):
    """The request passes one of the limits."""


class TooMany(Refused):
    """The caller asks too often."""

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Refused):
    """The service cannot do it now; the same request may succeed later."""


def own_copy(error: Exception) -> Exception:
    """A copy for one of several threads that wait for the same: a traceback belongs to one thread. Its cause is the error."""
    own = copy.copy(error)
    own.__cause__ = error
    return own
