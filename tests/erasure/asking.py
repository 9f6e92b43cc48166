"""Receipts as the tests of erasure ask for them, and read them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from smarthouse_api.house import House
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, payload, state

THIRD_HOME = "11111111-2222-4333-8444-555566667777"
OF_ONE = ("id", "note", "asked_at", "told_at", "expires_at", "erased_at", "bin_empty_at")
"""Members that differ between receipts that were asked for one after the other."""

Receipt = dict[str, Any]


def upload(house: House, home: str = HOME) -> None:
    house.states.uploads.receive(Upload(home, payload(state())))


def erased(house: House, home: str = HOME) -> str:
    """Erase a home as a DELETE does; the receipt's id."""
    asked = house.receipts.now()
    return house.receipts.give(home, asked, house.forgetting.forget(home))


def told(house: House, id_: str) -> Receipt:
    receipt = json.loads(house.receipts.tell(id_))["receipt"]
    assert isinstance(receipt, dict)
    return receipt


def same(receipt: Receipt) -> Receipt:
    """What a receipt has in common with one that was asked for a moment later."""
    stores = [{name: value is None if name in OF_ONE else value for name, value in one.items()} for one in receipt["stores"]]
    return {**{name: value for name, value in receipt.items() if name not in OF_ONE}, "stores": stores}


def seconds_until_told(receipt: Receipt) -> int:
    told_at, asked_at = (datetime.fromisoformat(receipt[name]) for name in ("told_at", "asked_at"))
    return round((told_at - asked_at).total_seconds())


def keep(house: House) -> None:
    """What the housekeeping does about erasures in one round."""
    house.forgetting.try_purge()
    house.forgetting.end_rounds()
