"""`smarthouse collections failed ...`: dead letters, records that a strict schema refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from smarthouse_api.arrow.times import seconds_text
from smarthouse_api.cli.open_house import answered, opened_collection
from smarthouse_api.cli.options import json_lines_option, json_object
from smarthouse_api.cli.output import echo_table

if TYPE_CHECKING:
    from smarthouse_api.collections.model import Collection
    from smarthouse_api.collections.refused import DeadLetter
    from smarthouse_api.house import House

_PAGE: Final = 100
_SHOWN: Final = 60
"""Characters of a record in a table."""


@click.group("failed")
def group() -> None:
    """List, fix, replay or discard dead letters. COLLECTION: its id or alias."""


@group.command("list")
@click.argument("collection")
@json_lines_option
def list_(collection: str, as_json: bool) -> None:
    """Print dead letters and their reasons, oldest first. Only --json prints whole records."""
    with opened_collection(collection) as (house, one):
        if as_json:
            for record in _everything(house, one):
                click.echo(msgspec.json.encode(_told(record)))
            return
        rows = [_cells(record) for record in _everything(house, one)]
    echo_table(("id", "came", "reason", "record"), rows)


@group.command()
@click.argument("collection")
@click.argument("id_", metavar="ID")
@click.argument("record", type=click.File("rb"), callback=json_object, metavar="FILE")
@click.option("--store", "stores", is_flag=True, help="Store it at once, if it passes; else nothing changes.")
def fix(collection: str, id_: str, record: dict[str, Any], stores: bool) -> None:
    """Replace a dead letter by a corrected record, to be replayed. FILE: the record as JSON; `-` is standard input."""
    with opened_collection(collection) as (house, one):
        letters = house.collections.dead_letters
        if stores:
            count = answered(lambda: letters.store_fixed(one, id_, record))
            click.echo(f"{id_}: {count} stored")
            return
        fixed = answered(lambda: letters.fix(one, id_, record))
    click.echo(f"{fixed.id}: {fixed.reason}")


@group.command()
@click.argument("collection")
@click.argument("ids", nargs=-1, metavar="[ID]...")
def replay(collection: str, ids: tuple[str, ...]) -> None:
    """Store the dead letters that now pass the schema; the others stay. ID: of a dead letter; without one, all."""
    with opened_collection(collection) as (house, one):
        stored, left = answered(lambda: _replayed(house, one, ids))
    click.echo(f"{stored} stored, still dead letters: {left}")


@group.command()
@click.argument("collection")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "is_all", is_flag=True, help="Discard all of them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def discard(collection: str, ids: tuple[str, ...], is_all: bool, yes: bool) -> None:
    """Erase dead letters. ID: of a dead letter."""
    if is_all == bool(ids):
        raise click.UsageError("Give the ids of dead letters, or --all")
    with opened_collection(collection) as (house, one):
        if is_all:
            if not yes:
                click.confirm(f"All dead letters of {one.id} will be erased. Continue?", abort=True)
            click.echo(f"Discarded: {answered(lambda: house.collections.dead_letters.discard_all(one))}")
            return
        wanted = [*dict.fromkeys(ids)]
        unknown = answered(lambda: [id_ for id_ in wanted if not _discards(house, one, id_)])
    if discarded := [id_ for id_ in wanted if id_ not in unknown]:
        click.echo(f"Discarded: {', '.join(discarded)}")
    if unknown:
        raise click.ClickException(f"There is no dead letter {', '.join(unknown)}")


def _replayed(house: House, one: Collection, ids: tuple[str, ...]) -> tuple[int, int]:
    """Replay dead letters, page by page: how many were stored, and how many still fail."""
    done = house.collections.dead_letters.replay(one, ids or None)
    stored, left = done.stored, done.left
    while done.next is not None:
        done = house.collections.dead_letters.replay(one, after=done.next)
        stored, left = stored + done.stored, left + done.left
    return stored, left


def _discards(house: House, one: Collection, id_: str) -> bool:
    """Discard it; whether there was one."""
    from smarthouse_api.errors import NotFound

    try:
        house.collections.dead_letters.discard(one, id_)
    except NotFound:
        return False
    return True


def _everything(house: House, one: Collection) -> Iterator[DeadLetter]:
    after = ""
    while page := answered(partial(house.collections.dead_letters.list, one, after, _PAGE)):
        yield from page
        after = page[-1].id


def _told(record: DeadLetter) -> dict[str, Any]:
    told = msgspec.structs.asdict(record)
    del told["home"]  # which nobody is told
    return told


def _cells(record: DeadLetter) -> tuple[str, ...]:
    text = json.dumps(record.record, ensure_ascii=False)
    shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return record.id, seconds_text(record.received_at), record.reason, shown
