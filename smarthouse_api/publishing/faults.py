"""What can keep a publication from being made."""

from __future__ import annotations


class PublishingFault(Exception):
    """Says in words what was wrong, and what would be right."""


class PortalAway(PublishingFault):
    """Says that the portal did not answer, or not as it should; the same may succeed later."""
