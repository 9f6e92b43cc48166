"""`smarthouse erasure ...`: check a receipt of an erasure, and the keys that sign receipts."""

from __future__ import annotations

import os
from typing import IO, Any

import click

from smarthouse_api.arrow.times import seconds_text, time_of
from smarthouse_api.cli.open_house import answered, opened_shared_house
from smarthouse_api.cli.options import home_uuid
from smarthouse_api.cli.output import echo_table

_MOST_BYTES = 1 << 20
_STATES = {
    "hidden": "hidden: no read and no export has anything of the home; its bytes are still to be erased",
    "pending": "pending: the home is erased, but a store still keeps deleted bytes in a bin of its own",
    "erased": "erased: no byte of the home is left in any store",
}


@click.group("erasure")
def group() -> None:
    """Check receipts of erasures, and list or replace the keys that sign them."""


@group.command()
@click.argument("receipt", type=click.File("rb"), metavar="RECEIPT")
@click.option(
    "--key",
    "key",
    required=True,
    help="The public key: a file with the answer of /api/ingest/receipts/key or with PEM, or the key itself as text.",
)
@click.option(
    "--uuid-file",
    type=click.File("rb"),
    help="Check, too, that the receipt is for the home whose UUID is in this file; -: standard input.",
)
def check(receipt: IO[bytes], key: str, uuid_file: IO[bytes] | None) -> None:
    """Check that a receipt is whole and signed by the key, without the service. RECEIPT: a file, or - for standard input.

    It prints what the receipt says. It ends with 1 if a single bit of the receipt was altered, or if another key has signed it.
    """
    from smarthouse_api.erasure import checking

    uuid = None if uuid_file is None else home_uuid(uuid_file)
    text = receipt.read(_MOST_BYTES)
    keys = answered(lambda: checking.keys_of(_key_text(key)))
    told = answered(lambda: checking.check(text, keys))
    if uuid is not None and not checking.is_for(told, uuid):
        raise click.ClickException("The signature is right, but the receipt is for another home")
    click.echo(f"The signature is right: installation {told['installation']}")
    if uuid is not None:
        click.echo("The receipt is for this home")
    click.echo(f"{_STATES.get(told['state'], told['state'])}; asked {told['asked_at']}, told {told['told_at']}")
    echo_table(("store", "kind", "erased", "bin empty", "waits for"), [_cells(one) for one in told["stores"]])


@group.command()
def keys() -> None:
    """Print the public keys that sign and have signed receipts, the newest first."""
    with opened_shared_house() as house:
        found = answered(house.signing_keys.all)
    rows = [(one.id, one.public, _time(one.since), "-" if one.until is None else _time(one.until)) for one in found]
    echo_table(("id", "public key", "since", "until"), rows)


@group.command()
def rotate() -> None:
    """Sign receipts with a new key from now on. The public half of the old key stays listed, so that old receipts can be
    checked.
    """
    with opened_shared_house() as house:
        key = answered(house.signing_keys.rotate)
        answered(house.state.scrub)  # no file of the store keeps the private half of the old one
    click.echo(f"Receipts are signed with the key {key.id} from now on", err=True)
    click.echo(key.public)


def _key_text(given: str) -> str:
    if not os.path.isfile(given):
        return given
    with open(given, encoding="ascii", errors="replace") as file:
        return file.read(_MOST_BYTES)


def _cells(store: dict[str, Any]) -> tuple[str, ...]:
    names = ("store", "kind", "erased_at", "bin_empty_at", "waits_for")
    return tuple(str(store.get(name) or "-") for name in names)


def _time(seconds: int) -> str:
    return seconds_text(time_of(seconds * 1_000_000))
