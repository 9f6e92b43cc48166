"""What ends an import, in words for the person who runs it."""

from __future__ import annotations


class ImportFault(Exception):
    """Ends an import. The message says what was wrong, and what would be right. It never contains the home's UUID."""


class BodyTooLarge(ImportFault):
    """Tells that the service refused a body for its size. A smaller one may pass."""
