"""What the rules refuse, and why. `blueprints.dialects` alone turns these into HTTP."""

from __future__ import annotations

from backends.ports import StoreError as StoreError
from backends.ports import StoreFull as StoreFull
from backends.ports import StoreUnavailable as StoreUnavailable


class Refused(Exception):
    """A request that cannot be served as it stands. `detail` says what was wrong and what would be right."""

    def __init__(self, detail: str, title: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.title = title


class Invalid(Refused):
    """The request is malformed."""


class KeyReused(Refused):
    """An `Idempotency-Key` came again with another request."""


class TooLarge(Refused):
    """The request passes one of the limits."""


class TooMany(Refused):
    """The caller asks too often."""

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Refused):
    """The service cannot do it now; the same request may succeed later."""
