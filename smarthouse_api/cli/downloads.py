"""`smarthouse downloads`: who took which rows."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from smarthouse_api.access.keys import id_in
from smarthouse_api.arrow.times import seconds_text
from smarthouse_api.cli.open_house import answered, opened_shared_house
from smarthouse_api.cli.options import json_lines_option, seconds
from smarthouse_api.cli.output import echo_table

if TYPE_CHECKING:
    from smarthouse_api.access.downloads import Download


def _id(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    """Find the id in an id or a whole key. The error does not repeat it: a misspelt key is still a secret."""
    if given is not None and (given := id_in(given)) is None:
        raise click.BadParameter("an id is 12 hexadecimal digits, see `smarthouse keys list`")
    return given


@click.command("downloads")
@click.option("--key", callback=_id, metavar="ID", help="Only the downloads with this key, which may be revoked by now.")
@click.option("--since", "age", callback=seconds, default="30d", show_default=True, help="How far back: 12h, 30d, 52w.")
@json_lines_option
def command(key: str | None, age: float, as_json: bool) -> None:
    """Print who downloaded what, where rows are opened by a key. The oldest download comes first.

    A download that needed no key is not noted. Where the object store serves a file itself, its rows count as sent when the
    client was told the address.
    """
    with opened_shared_house() as house:
        found = answered(lambda: list(house.downloads.since(time.time() - age, key)))
    if as_json:
        for one in found:
            click.echo(msgspec.json.encode(one))
        return
    echo_table(("ended", "key", "name", "rows", "sent", "asked for", "request"), [_cells(one) for one in found])


def _cells(one: Download) -> tuple[Any, ...]:
    asked = f"{one.path}?{one.query}" if one.query else one.path
    at = seconds_text(datetime.fromtimestamp(one.at, UTC))
    sent = "a part" if one.is_part else "whole" if one.is_whole else "broken off"
    return at, one.key, one.name, str(one.rows), sent, asked, one.request
