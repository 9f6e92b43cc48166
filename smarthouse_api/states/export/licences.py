"""The licences that an operator can choose for exports: their names elsewhere, and what they allow in words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Licence(NamedTuple):
    """Says a licence to people and to other programs. open_id: in the Open Definition; None for none. url: of its text."""

    title: str
    words: str
    open_id: str | None = None
    url: str | None = None


_CC: Final = "https://creativecommons.org"
_ODC: Final = "https://opendatacommons.org/licenses"

LICENCES: Final[Mapping[str, Licence]] = MappingProxyType(
    {
        "notspecified": Licence(
            "not specified", "The publisher has not chosen a licence. Ask the publisher before you use the data or pass it on."
        ),
        "cc-zero": Licence(
            "Creative Commons CC0 1.0",
            "You may use, change and pass on the data for any purpose, without asking.",
            "CC0-1.0",
            f"{_CC}/publicdomain/zero/1.0/",
        ),
        "cc-by": Licence(
            "Creative Commons Attribution 4.0",
            "You may use, change and pass on the data for any purpose if you name the publisher.",
            "CC-BY-4.0",
            f"{_CC}/licenses/by/4.0/",
        ),
        "cc-by-sa": Licence(
            "Creative Commons Attribution-ShareAlike 4.0",
            "You may use, change and pass on the data for any purpose if you name the publisher. What you make of it and pass "
            "on must have the same licence.",
            "CC-BY-SA-4.0",
            f"{_CC}/licenses/by-sa/4.0/",
        ),
        "odc-pddl": Licence(
            "Open Data Commons Public Domain Dedication and License 1.0",
            "You may use, change and pass on the data for any purpose, without asking.",
            "ODC-PDDL-1.0",
            f"{_ODC}/pddl/1-0/",
        ),
        "odc-by": Licence(
            "Open Data Commons Attribution License 1.0",
            "You may use, change and pass on the data for any purpose if you name the publisher.",
            "ODC-BY-1.0",
            f"{_ODC}/by/1-0/",
        ),
        "odc-odbl": Licence(
            "Open Data Commons Open Database License 1.0",
            "You may use, change and pass on the data for any purpose if you name the publisher. A database that you make of "
            "it and use in public must have the same licence.",
            "ODbL-1.0",
            f"{_ODC}/odbl/1-0/",
        ),
    }
)
"""Licences by their ids in CKAN."""


def licence(ckan_id: str) -> Licence:
    """Return a licence by its id in CKAN. One that is not in the table goes by its id, which may be the URL of its text."""
    url = ckan_id if ckan_id.startswith(("https://", "http://")) else None
    return LICENCES.get(ckan_id) or Licence(ckan_id, "Read the licence before you use the data.", ckan_id, url)
