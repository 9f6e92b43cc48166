"""The receipt of a home that was forgotten, as a page: for anybody who has its address, in no session."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from flask import Blueprint, Response
from flask_babel import lazy_gettext
from markupsafe import Markup

from blueprints.console.languages import time_element
from blueprints.console.templating import page
from blueprints.current_request import count_request, house
from smarthouse_api.arrow.times import microseconds

_STORES: Final = {"state": lazy_gettext("State store"), "objects": lazy_gettext("Object store"), "lake": lazy_gettext("Lake")}


def add_receipts(blueprint: Blueprint) -> None:
    """Add the view to the blueprint of the console."""

    @blueprint.get("/receipts/<receipt_id>")
    def receipt(receipt_id: str) -> Response:
        """Tell what became of the home of a deletion, as the signed receipt does. Its id is enough, as it names nobody."""
        count_request("ingest")
        needs_key = house().settings.access.ingest_access == "key"
        return page("console/receipt.html", **told_receipt(house().receipts.read(receipt_id)), needs_key=needs_key)


def told_receipt(read: dict[str, Any]) -> dict[str, Any]:
    """Tell a template of a receipt, as it stands now."""
    return {"receipt": _with_times(read), "stores": _stores(read)}


def _stores(told: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    return [(_STORES[one["store"]], _with_times(one)) for one in told["stores"]]


def _with_times(told: dict[str, Any]) -> dict[str, Any]:
    """Have each time of a receipt written as on other pages."""
    return {name: _time(value) if name.endswith("_at") and value is not None else value for name, value in told.items()}


def _time(text: str) -> Markup:
    return time_element(microseconds(datetime.fromisoformat(text)))
