"""Damaged receipts of uploads: each is made again from the raw upload, or from the same bytes when they are sent again."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import msgspec

from backends.ports import Change, Conflict, Part, Put, StateStore
from config.groups import RequestSettings
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.coordination.sound_scans import scan_past_damage
from smarthouse_api.states.counts import Counts, Kept
from smarthouse_api.states.expired import END_OF_TURN, expired_until
from smarthouse_api.states.homes import SPACE, Home, Homes
from smarthouse_api.states.kept_uploads import PENDING
from smarthouse_api.states.payload.decoding import Body
from smarthouse_api.states.payload.inspection import Inspection, inspect
from smarthouse_api.states.pending import Pending
from smarthouse_api.states.raw import RawUpload, RawUploads, raw_name
from smarthouse_api.states.receipts import Receipt, receipt_bytes, receipt_name, stored_receipt

RECEIPTS: Final = "upload/"
"""How the names of receipts begin."""


class DamagedReceipts:
    """Makes damaged receipts of uploads again. settings: without limits, since what was acknowledged stays so."""

    def __init__(self, state: StateStore, raw: RawUploads, homes: Homes, counts: Counts, settings: RequestSettings) -> None:
        self._state, self._raw, self._homes, self._counts, self._settings = state, raw, homes, counts, settings

    def mend(self, part: Part) -> bool:
        """Make a receipt again from the raw upload that it is of, if that is there; return whether it is whole, or gone."""
        _, key, digest = part.name.split("/")
        home = next((one for one in self._homes.everyone() if one.key == key), None)
        if home is None:
            return False
        if (found := self._found(key, digest)) is None:
            return False
        raw, body = found
        return self._store(home, part.name, raw.id, raw.object, body, inspect(*body, self._settings)) is not None

    def renew(self, home: Home, digest: str, body: Body) -> Receipt | None:
        """Make a receipt again from the bytes that were sent again. If their raw upload is lost, keep and queue them anew.

        Returns None if another request changes the home meanwhile.
        """
        name, inspection = receipt_name(home.key, digest), inspect(*body, self._settings)
        if (found := self._found(home.key, digest)) is not None:
            return self._store(home, name, found[0].id, found[0].object, body, inspection)
        id_, at_us = uuid.uuid4().hex, microseconds(datetime.now(UTC))
        key = raw_name(home.key, id_, at_us, *body)
        self._raw.put(key, body[0])
        counts = inspection.records, inspection.statistics
        queued = Pending(0, home.key, key, at_us, inspection.decoded_bytes, body[1], *counts)
        # A receipt without a raw upload is that of one that has expired, and is counted no more. Else the upload was lost.
        has_expired = expired_until(self._state) is not None
        change = Change(
            puts=(END_OF_TURN,),
            appends=((PENDING, msgspec.json.encode(queued)),) if any(counts) else (),
            adds=self._counts.adds(home.key, Kept(len(body[0]), 1, sum(counts))) if has_expired else (),
        )
        receipt = self._store(home, name, id_, key, body, inspection, change)
        if receipt is None:
            self._raw.delete(key)
        return receipt

    def drop(self, part: Part) -> None:
        """Remove a receipt that cannot be made again: the same bytes, sent again, are a new upload. Their count stays."""
        self._state.commit(SPACE, Change(deletes=(part.name,)))

    def _store(
        self, home: Home, name: str, id_: str, object_: str, body: Body, found: Inspection, change: Change | None = None
    ) -> Receipt | None:
        told = found.records, found.ignored, found.detail, found.without_time or None, found.statistics or None
        receipt, change = Receipt(id_, *told), change or Change()
        put = Put(name, receipt_bytes(receipt, object_, found.decoded_bytes, len(body[0])))
        try:
            self._state.commit(SPACE, replace(change, expect={home.name: home.version}, puts=(*change.puts, put)))
        except Conflict:
            return None
        return receipt

    def _found(self, key: str, digest: str) -> tuple[RawUpload, Body] | None:
        """Find the raw upload with this digest, among those whose receipt is not known."""
        whole = {stored_receipt(one.value).id for _, one in scan_past_damage(self._state, SPACE, f"{RECEIPTS}{key}/") if one}
        for raw, _ in self._raw.of(key):
            if raw.id not in whole and (body := self._raw.matching(raw, digest)) is not None:
                return raw, body
        return None
