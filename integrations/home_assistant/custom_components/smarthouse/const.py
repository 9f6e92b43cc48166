"""Names that several modules share."""

from __future__ import annotations

from typing import Final

DOMAIN: Final = "smarthouse"
OLD_DOMAIN: Final = "data_collector"
"""The integration of 2022, whose entry may be taken over."""

CONF_HOME: Final = "home_uuid"
CONF_NAMES_KEY: Final = "names_key"
CONF_TERMS: Final = "terms"
CONF_CONSENTED_AT: Final = "consented_at"
CONF_PAST: Final = "past"
CONF_PACE: Final = "pace"
CONF_ENTITIES: Final = "entities"
CONF_DOMAINS: Final = "domains"
CONF_AREAS: Final = "areas"
CONF_LABELS: Final = "labels"
CONF_TAKEN_OVER: Final = "taken_over"
CONF_LEFT: Final = "left"
"""The receipt of a home that was erased. It stands in the entry, so that no loss of the progress brings the home back."""

TERMS: Final = "1.0"
"""The version of the terms that the consent step shows first. The operator may name another."""

TIER: Final = "rows"

PAST_NOTHING: Final = "nothing"
PAST_RECORDED: Final = "recorded"
PAST_STATISTICS: Final = "statistics"
PASTS: Final = (PAST_NOTHING, PAST_RECORDED, PAST_STATISTICS)

PACE_HOURLY: Final = "hourly"
PACE_NIGHTLY: Final = "nightly"
PACE_SECONDS: Final = {PACE_HOURLY: 3600.0, PACE_NIGHTLY: 86400.0}
PACES: Final = (PACE_NIGHTLY, PACE_HOURLY)

OF_PERSONS: Final = frozenset(
    {"fitbit", "google_travel_time", "here_travel_time", "mobile_app", "proximity", "waze_travel_time", "withings"}
)
"""Integrations whose entities tell where persons are, or of their bodies. Nothing of them is sent."""

LEFT_OUT_AT_FIRST: Final = ("device_tracker", "person")
"""Domains that may be sent and are left out unless the owner chooses otherwise."""
