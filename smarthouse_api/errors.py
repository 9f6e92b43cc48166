"""The errors with which the rules refuse a request. `blueprints.dialects` alone turns them into HTTP."""

from __future__ import annotations

import copy
import pickle

from backends.ports import StoreError as StoreError
from backends.ports import StoreFull as StoreFull
from backends.ports import StoreUnavailable as StoreUnavailable
from backends.ports import StoreUnfit as StoreUnfit


class Refused(Exception):
    """Refuses a request that cannot be served as it stands. `detail` says what was wrong and what would be right.

    reason: a code for programs, in the dialects that have one. Without it, a dialect uses its own code for the class.
    """

    def __init__(self, detail: str, title: str | None = None, *, reason: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.title = title
        self.reason = reason


class Invalid(Refused):
    """Says that the request is malformed."""


class Unauthorized(Refused):
    """Says that the caller has shown no valid API key."""


class Forbidden(Refused):
    """Says that the caller's key does not open what was asked for."""


class InvalidData(Refused):
    """Says that the request is well-formed, but its data cannot be true. Streams have a status of their own for that."""


class NotFound(Refused):
    """Says that the named thing does not exist."""


class Gone(Refused):
    """Says that the named thing existed, and that it does not come back."""


class InUse(Refused):
    """Says that the change conflicts with what exists already, or with what another client is doing."""


class KeyReused(Refused):
    """Says that an `Idempotency-Key` came again with another request."""


class Unprocessable(Refused):
    """Says that the data is well-formed, but breaks a rule that the receiver has set."""


class TooLarge(Refused):
    """Says that the request passes one of the limits."""


HOME_QUOTA = "The home's quota is reached"
"""The title of a `TooLarge` that the size of the request did not cause. Clients know by it that halving does not help."""


class TooSlow(Refused):
    """Says that the request did not arrive in time."""


class TooMany(Refused):
    """Says that the caller sends too many requests. retry_after_seconds: when it may send the next."""

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Refused):
    """Says that the service cannot do it now; the same request may succeed later."""


class NotCounted(Unavailable):
    """Says that what the lake holds is still being counted, as after a start."""


class NoRoom(Unavailable):
    """Says that what is sent would pass what the service may keep, or what the stores have room for."""

    retry_after_seconds = 300


def own_copy(error: Exception) -> Exception:
    """Copy an error for one of several threads that wait for the same: a traceback belongs to one thread."""
    own = copy.copy(error)
    own.__cause__ = error
    return own


def portable(fault: Exception) -> Exception:
    """Return a fault, or one that says the same if it could not be made anew in another process."""
    try:
        pickle.loads(pickle.dumps(fault))  # noqa: S301 our own bytes
    except Exception:
        return Unavailable(str(fault))
    return fault
