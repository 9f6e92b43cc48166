"""How long documents are kept that nobody would ever remove for their age."""

from __future__ import annotations

from typing import Final

FOR_GOOD_SECONDS: Final = 50 * 365 * 86400.0
"""The documents expire in the end, because a full state store accepts only documents that expire."""
