"""Checks a receipt of erasure without the service: its signature, and for which home it is. It needs no store.

A receipt is `{"receipt": {...}, "signature": "...", "key": "..."}`. Signed is the member `receipt` as canonical JSON, RFC 8785:
sorted members, no spaces. So the file may be indented. No value of it can be changed.

Its `note` is the beginning of the SHA-256 of a label, of the first 12 bytes of the receipt's id, and of the home's UUID. It
names nobody, and a reader who knows the UUID can see that the receipt is for it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from smarthouse_api.erasure.signing import key_id
from smarthouse_api.errors import Invalid

SALT_BYTES: Final = 12
NOTE_BYTES: Final = 16
_LABEL: Final = b"smarthouse receipt of erasure"
_MEMBERS: Final = {"receipt", "signature", "key"}
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}", re.ASCII)
_ID: Final = re.compile(r"[0-9a-f]{2,}", re.ASCII)
_HEX_KEY: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_JWK_KEY: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_NO_KEY: Final = "This is no public key of Ed25519: give the answer of /api/ingest/receipts/key, a PEM file, or the key's text"

Keys = Mapping[str, Ed25519PublicKey]
"""Public keys by their ids."""


def canonical(value: Any) -> bytes:
    """Write JSON as RFC 8785 says. The texts of receipts are ASCII, and their numbers are whole."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def note_for(salt: bytes, uuid: str) -> bytes:
    """Make the note by which a receipt is for a home, from the receipt's salt and the normalised UUID."""
    return hashlib.sha256(_LABEL + salt + uuid.encode()).digest()[:NOTE_BYTES]


def check(text: bytes, keys: Keys) -> dict[str, Any]:
    """Return what a receipt says. Raises `Invalid`, with what is wrong, if it is not whole or no key of these has signed it."""
    told = _object_of(text)
    if told.keys() != _MEMBERS or not isinstance(told["receipt"], dict):
        raise Invalid("This is no receipt: it must have the members receipt, signature and key, and no others")
    receipt, signature = told["receipt"], told["signature"]
    if not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
        raise Invalid("The signature must be 128 hexadecimal digits in lower case")
    key = keys.get(told["key"]) if isinstance(told["key"], str) else None
    if key is None:
        raise Invalid("The receipt was signed with another key than those that were given")
    try:
        key.verify(bytes.fromhex(signature), canonical(receipt))
    except (InvalidSignature, TypeError):  # of a number that no receipt has
        raise Invalid("The signature is wrong: the receipt was altered, or another key has signed it") from None
    return receipt


def is_for(receipt: Mapping[str, Any], uuid: str) -> bool:
    """Tell whether a receipt is for the home with this normalised UUID."""
    id_, note = str(receipt.get("id")), str(receipt.get("note"))
    if not _ID.fullmatch(id_):
        return False
    return hmac.compare_digest(note_for(bytes.fromhex(id_[: 2 * SALT_BYTES]), uuid).hex(), note)


def keys_of(text: str) -> Keys:
    """Read public keys: the service's list of them, one JSON Web Key, PEM, or the text of one key. Raises `Invalid`."""
    text = text.strip()
    if text.startswith("{"):
        told = _object_of(text.encode())
        some = told.get("keys") if "keys" in told else [told]
        if not isinstance(some, list) or not some:
            raise Invalid(_NO_KEY)
        public = [_public_of_jwk(one) for one in some]
    elif text.startswith("-----BEGIN"):
        public = [_public_of_pem(text)]
    else:
        public = [_public_of_text(text)]
    return {key_id(one): Ed25519PublicKey.from_public_bytes(one) for one in public}


def jwk_of(public: bytes) -> dict[str, Any]:
    """Write a public key as a JSON Web Key, RFC 8037."""
    x = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": key_id(public), "use": "sig", "alg": "EdDSA"}


def _object_of(text: bytes) -> dict[str, Any]:
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise Invalid("A member of the JSON comes twice")
        return found

    def no_number(_: str) -> None:
        raise ValueError  # fractions and NaN, which receipts do not have

    try:
        told = json.loads(text.decode(), object_pairs_hook=members, parse_float=no_number, parse_constant=no_number)
    except (ValueError, RecursionError):
        raise Invalid("This is no JSON") from None
    if not isinstance(told, dict):
        raise Invalid("This is no JSON object")
    return told


def _public_of_jwk(jwk: Any) -> bytes:
    x = jwk.get("x") if isinstance(jwk, dict) and (jwk.get("kty"), jwk.get("crv")) == ("OKP", "Ed25519") else None
    if not isinstance(x, str) or not _JWK_KEY.fullmatch(x):
        raise Invalid(_NO_KEY)
    public = _public_of_text(x)
    if jwk.get("kid", key_id(public)) != key_id(public):
        raise Invalid("The id of a public key does not belong to the key")
    return public


def _public_of_pem(text: str) -> bytes:
    try:
        key = load_pem_public_key(text.encode())
    except ValueError:
        raise Invalid(_NO_KEY) from None
    if not isinstance(key, Ed25519PublicKey):
        raise Invalid(_NO_KEY)
    return key.public_bytes_raw()


def _public_of_text(text: str) -> bytes:
    if _HEX_KEY.fullmatch(text):
        return bytes.fromhex(text)
    if _JWK_KEY.fullmatch(text):
        try:
            return base64.urlsafe_b64decode(f"{text}=")
        except binascii.Error:
            raise Invalid(_NO_KEY) from None
    raise Invalid(_NO_KEY)
