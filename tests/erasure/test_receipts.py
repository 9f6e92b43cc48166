"""Receipts of erasure over HTTP and by command: signed, checked without the service, and the same for every home."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask.testing import FlaskClient

from smarthouse_api.cli import main
from smarthouse_api.erasure import checking
from smarthouse_api.errors import Invalid, NotFound
from smarthouse_api.house import House
from tests.conftest import HOME, OTHER_HOME, Environment, begin, house_of, on_pairs
from tests.erasure.asking import erased, told, upload
from tests.waiting import pass_time

environment = on_pairs("embedded_pair")

URL = "/api/ingest/data"


def test_a_deletion_answers_a_receipts_id_and_the_receipt_is_read_with_it(client: FlaskClient) -> None:
    upload(house_of(client))
    answers = [client.delete(URL, headers={"Home-UUID": home}).json for home in (HOME, HOME, OTHER_HOME)]
    assert {one["message"] for one in answers} == {"Data successfully deleted"}
    assert {tuple(one) for one in answers} == {("message", "receipt")}
    ids = {one["receipt"] for one in answers}
    assert len(ids) == 3
    for id_ in ids:
        answer = client.get(f"/api/ingest/receipts/{id_}")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        keys = checking.keys_of(client.get("/api/ingest/receipts/key").text)
        assert checking.check(answer.data, keys)["state"] == "hidden"
    altered = f"{id_[:-1]}{'0' if id_[-1] != '0' else '1'}"
    for bad in (altered, id_.upper(), id_[2:], HOME, "x", f"{id_}/", "%2F"):
        refused = client.get(f"/api/ingest/receipts/{bad}")
        assert (refused.status_code, refused.content_type) == (404, "application/problem+json"), bad
    assert client.get(f"/api/ingest/receipts/{id_}?x=1").status_code == 400


def test_a_receipt_needs_a_key_where_ingest_does_and_the_public_key_needs_none(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(ingest_access="key")
    _, key = house_of(client).access.create("homes", ingest=True)
    headers = {"Authorization": f"Bearer {key}"}
    id_ = client.delete(URL, headers={**headers, "Home-UUID": HOME}).json["receipt"]
    assert client.get(f"/api/ingest/receipts/{id_}").status_code == 401
    assert client.get(f"/api/ingest/receipts/{id_}", headers=headers).status_code == 200
    assert client.get("/api/ingest/receipts/key").status_code == 200


def test_a_receipt_expires(make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    house = make_house(receipt_days=1)
    id_ = erased(house)
    pass_time(house, 86390, monkeypatch)
    assert told(house, id_)["state"] == "hidden"
    pass_time(house, 11, monkeypatch)
    with pytest.raises(NotFound):
        house.receipts.tell(id_)


def test_a_stranger_fills_no_store_with_receipts(house: House) -> None:
    for _ in range(5):
        erased(house, OTHER_HOME)
    assert [name for name, _ in house.state.scan_all("erasure")] == ["asked"]


def test_the_key_is_replaced_and_the_old_one_stays_listed(house: House) -> None:
    id_ = erased(house)
    before = house.receipts.tell(id_)
    old = house.signing_keys.all()[0]
    new = house.signing_keys.rotate()
    keys = checking.keys_of(json.dumps(house.receipts.public_keys()))
    after = house.receipts.tell(id_)
    for text in (before, after):
        assert checking.check(text, keys)["id"] == id_
    assert [json.loads(text)["key"] for text in (before, after)] == [old.id, new.id]
    kept = house.signing_keys.all()
    assert [(one.id, bool(one.seed)) for one in kept] == [(new.id, True), (old.id, False)]
    assert old.seed.encode() not in b"".join(document.value for _, document in house.state.scan_all("installation"))
    assert house.signing_keys.retire_noted(house.notes.left()) == 0


def test_a_restored_state_does_not_sign_with_a_key_that_was_replaced_since(house: House) -> None:
    erased(house)
    house.receipts.public_keys()
    kept = house.state.get("installation", "signing")
    assert kept is not None
    house.signing_keys.rotate()
    house.state.put("installation", "signing", kept.value)
    assert house.restoring.restore([]).keys == 1
    assert house.signing_keys.all()[0].public.encode() not in kept.value
    assert house.restoring.restore([]).keys == 0


def test_no_bit_of_a_receipt_can_be_altered(house: House) -> None:
    text, keys = house.receipts.tell(erased(house)), checking.keys_of(json.dumps(house.receipts.public_keys()))
    for shown in (text, json.dumps(json.loads(text), indent=1).encode() + b"\n"):
        assert checking.check(shown, keys)["state"] == "hidden"
        for bit in range(8 * len(shown)):
            altered = bytearray(shown)
            altered[bit // 8] ^= 1 << bit % 8
            with pytest.raises(Invalid):
                checking.check(bytes(altered), keys)
    for part, other in ((b"null", b"NaN"), (b'"version":1', b'"version":1.0'), (b"{", b'{"key":"x",'), (b"}", b"")):
        with pytest.raises(Invalid):
            checking.check(text.replace(part, other, 1), keys)


def test_a_receipt_is_checked_by_command_without_the_service(house: House, tmp_path: Path) -> None:
    text, public = house.receipts.tell(erased(house)), house.signing_keys.all()[0].public
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    other = Ed25519PrivateKey.generate().public_key()
    jwk = checking.jwk_of(key.public_bytes_raw())
    curve = generate_private_key(SECP256R1()).public_key()
    files = {
        "receipt.json": text,
        "altered.json": text.replace(b'"state":"hidden"', b'"state":"erased"', 1),
        "keys.json": json.dumps(house.receipts.public_keys()).encode(),
        "key.pem": key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "curve.pem": curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "home": f"{HOME.upper()}\n".encode(),
        "other": OTHER_HOME.encode(),
        "none": b"no uuid",
    }
    paths = {name: str(tmp_path / name) for name in files}
    for name, content in files.items():
        Path(paths[name]).write_bytes(content)

    def check(receipt: str, key: str, *more: str, given: bytes | None = None) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["erasure", "check", receipt, "--key", key, *more], input=given)
        assert HOME not in done.output.lower()
        return done.exit_code, done.output

    for good in (paths["keys.json"], paths["key.pem"], public, jwk["x"], json.dumps(jwk)):
        code, output = check(paths["receipt.json"], good)
        assert code == 0, output
        assert "The signature is right" in output
        assert "hidden: no read" in output
    assert check("-", public, given=text)[0] == 0
    assert "for this home" in check(paths["receipt.json"], public, "--uuid-file", paths["home"])[1]
    assert check(paths["receipt.json"], public, "--uuid-file", paths["other"])[0] == 1
    assert check(paths["receipt.json"], public, "--uuid-file", paths["none"])[0] == 2
    wrong = ("", "x", other.public_bytes_raw().hex(), paths["curve.pem"], "{}", json.dumps({**jwk, "kid": "0" * 16}))
    for bad in wrong:
        code, output = check(paths["receipt.json"], bad)
        assert (code, "Error: " in output) == (1, True), output
    assert check(paths["altered.json"], public) == (
        1,
        "Error: The signature is wrong: the receipt was altered, or another key has signed it\n",
    )


def test_keys_are_listed_and_replaced_by_command(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, house: House
) -> None:
    begin(environment)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    first = house.signing_keys.all()[0]
    done = CliRunner().invoke(main, ["erasure", "rotate"])
    assert done.exit_code == 0
    assert house.signing_keys.all()[0].public in done.stdout
    files = [path for path in Path(environment["SMARTHOUSE_DATA_DIR"]).rglob("*") if path.is_file()]
    assert not [path for path in files if first.seed.encode() in path.read_bytes()]
    listed = CliRunner().invoke(main, ["erasure", "keys"]).stdout
    assert [first.public in listed, first.seed in listed] == [True, False]
