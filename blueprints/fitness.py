"""Fitness: no API answers from stores that do not belong together, that a command holds back, or that a newer version wrote.

A lost or mistaken store would otherwise be told to forget a home that another store still has, and would say that it did.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from flask import Flask, request

from blueprints import envelope
from blueprints.bodies import read_json, text_body
from blueprints.current_request import house
from smarthouse_api.errors import Refused, StoreError

_APIS: Final = frozenset({"Ingest", "Export", "Streams", "Datasources", "Datasets", "Console", "Operator"})
_READING: Final = ("Export", "Console")
_WITH_MESSAGES: Final = "Datasets"
"""Its answers repeat the `msgid` of a request, a refusal too."""


def register(app: Flask) -> None:
    """Have `app` refuse each request to an API while the stores are unfit. Documents, health and metrics are answered.

    Stores may be exchanged while this process runs, so exports and deletions ask them anew.
    """
    app.before_request(_settle)


def _settle() -> None:
    if request.blueprint in _APIS:
        installation = house().installation
        try:
            if request.blueprint in _READING or request.method == "DELETE":
                installation.check()
            else:
                installation.settle()
        except StoreError:
            if request.blueprint == _WITH_MESSAGES:
                with suppress(Refused):
                    envelope.note_message(read_json(text_body()))
            raise
