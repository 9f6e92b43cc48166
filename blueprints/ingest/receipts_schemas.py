"""What the receipts of erasure give, as the document of Ingest describes it."""

from __future__ import annotations

from typing import Any, Final

from marshmallow import Schema, fields

from blueprints.openapi import TIME, path_parameter

RECEIPT_ID: Final = (
    "d0aaac969c8d8caa0bdc217575b0a98c93d6b234e763075d4949e66e397eb1cba07d962005890e741a59c4e8235a8c31e08c593b9a37a442cc90"
)
RECEIPT: Final = path_parameter("receipt_id", "The receipt, as the answer of a deletion names it", RECEIPT_ID)
_NONE_YET: Final = "null while it waits for that"


def _text(description: str, example: str) -> fields.Field[Any]:
    return fields.String(metadata={"description": description, "example": example})


def _time(description: str, *, may_be_null: bool = False) -> fields.Field[Any]:
    return fields.String(allow_none=may_be_null, metadata={**TIME, "description": description})


class ErasedStoreSchema(Schema):
    """Tells of one store whether the home's bytes are gone from it, and what is waited for."""

    store = _text("`state`, `objects`, or `lake`, the tables among the objects", "objects")
    kind = _text("What holds it", "minio")
    waits_for = fields.String(
        allow_none=True,
        metadata={
            "enum": ["purge", "bin", None],
            "description": "`bin`: the store itself keeps deleted bytes for a while; null: no byte is left",
        },
    )
    erased_at = _time(f"When the purge was over; {_NONE_YET}", may_be_null=True)
    bin_empty_at = _time("When the store has emptied its bin; null if it has none, and before the purge", may_be_null=True)


class ErasureSchema(Schema):
    """Tells what became of a home, or would have become of it. It names nobody, and is the same for homes that never were."""

    version = fields.Integer(metadata={"example": 1})
    id = _text("The receipt's id", RECEIPT_ID)
    installation = _text("Names the installation", "0f8e2b7c91d3a465")
    note = _text("Shows to somebody who knows the home's UUID that the receipt is for it", "5d3f0a9c7e1b48266af0c3d291b7e854")
    state = fields.String(
        metadata={
            "enum": ["hidden", "pending", "erased"],
            "description": "`hidden`: nothing of the home is read or sent; `pending`: purged, but a store still has a bin to"
            " empty; `erased`: no byte is left in a store",
        }
    )
    asked_at = _time("When the deletion was asked for")
    told_at = _time("When this was so; of an erased home, since when")
    expires_at = _time("From then on, the receipt is unknown")
    stores = fields.List(fields.Nested(ErasedStoreSchema))


class SignedErasureSchema(Schema):
    """A receipt with its signature: `smarthouse erasure check` checks it."""

    receipt = fields.Nested(ErasureSchema)
    signature = _text("Ed25519 over the member `receipt` as canonical JSON (RFC 8785), in hexadecimal", "5c07…")
    key = _text("Id of the public key", "b3a1f09c52e7d684")


class PublicKeySchema(Schema):
    """A public key as a JSON Web Key, RFC 8037."""

    kty = _text("Kind of key", "OKP")
    crv = _text("Its curve", "Ed25519")
    x = _text("The key, in base64url", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    kid = _text("Its id, as receipts name it", "b3a1f09c52e7d684")
    use = _text("What it is for", "sig")
    alg = _text("Its algorithm", "EdDSA")
    since = fields.Integer(metadata={"description": "When it was made, in seconds since 1970"})
    until = fields.Integer(allow_none=True, metadata={"description": "When another replaced it; null: it signs now"})


class PublicKeysSchema(Schema):
    """The public keys of receipts, the newest first."""

    keys = fields.List(fields.Nested(PublicKeySchema))
