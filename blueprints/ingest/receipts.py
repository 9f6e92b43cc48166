"""Receipts of erasure: what became of a home that was deleted, signed, for anybody who has the receipt's id."""

from __future__ import annotations

from flask import Response
from flask_smorest import Blueprint

from blueprints import path_segments
from blueprints.current_request import authenticate, count_request, house
from blueprints.dialects import problems
from blueprints.ingest.receipts_schemas import RECEIPT, PublicKeysSchema, SignedErasureSchema
from blueprints.openapi import OPTIONAL_BEARER
from blueprints.responses import json_response

_UNCACHED = {"Cache-Control": "no-store"}


def add_receipts(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of Ingest."""

    @blueprint.route("/receipts/key")
    @blueprint.response(200, PublicKeysSchema)
    @problems(blueprint, "read_receipt_keys")
    def receipt_keys() -> Response:
        """List the public keys that check receipts, those that were replaced included.

        Keep them beside your receipt: then it can be checked without this service.
        """
        count_request("ingest")
        return json_response(house().receipts.public_keys(), headers=_UNCACHED)

    @path_segments.route(blueprint, "/receipts/<segment:receipt_id>", parameters=[RECEIPT])
    @blueprint.response(200, SignedErasureSchema)
    @problems(blueprint, "read_receipt", 404, security=OPTIONAL_BEARER)
    def receipt(receipt_id: str) -> Response:
        """Tell what became of the home of a deletion: whether it is hidden, or erased from each store.

        The answer is signed. It goes through the same states in the same times, whether the home was known or not.
        """
        admit()
        told = house().receipts.tell(receipt_id)
        return Response(told, headers=_UNCACHED, content_type="application/json")


def admit() -> None:
    """Count the request, and admit those who may call Ingest. Raises `TooMany`, `Unauthorized`, `Forbidden`."""
    count_request("ingest")
    if house().settings.access.ingest_access == "key":
        house().access.require_ingest(authenticate())
