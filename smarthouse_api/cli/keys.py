"""`smarthouse keys ...`: who may do what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from smarthouse_api.access.keys import KeyRecord, id_in
from smarthouse_api.arrow.times import seconds_text
from smarthouse_api.cli.homes import HOME
from smarthouse_api.cli.open_house import answered, opened_shared_house
from smarthouse_api.cli.options import json_lines_option, seconds
from smarthouse_api.cli.output import echo_table
from smarthouse_api.collections.model import is_name

if TYPE_CHECKING:
    from smarthouse_api.house import House


@click.group("keys")
def group() -> None:
    """Create, list, revoke and rotate API keys."""


def _ids(_: click.Context, __: click.Parameter, given: Any) -> Any:
    """Find the id in each argument, an id or a whole key. The error repeats no argument: a misspelt key is still a secret."""
    found = [id_in(one) for one in ([given] if isinstance(given, str) else given)]
    if None in found:
        raise click.BadParameter("an id is 12 hexadecimal digits, see `smarthouse keys list`")
    return found[0] if isinstance(given, str) else list(dict.fromkeys(found))


@group.command()
@click.option("--name", required=True, help="Name of the key's owner. It is shown with the owner's data.")
@click.option("--project", help="Opens every home of this project.")
@click.option("--home", "homes", multiple=True, type=HOME, help="Opens this home. Repeatable, like the next two.")
@click.option("--datasource", "datasources", multiple=True, help="Opens this data source.")
@click.option("--dataset", "datasets", multiple=True, help="Opens this dataset.")
@click.option("--export", is_flag=True, help="Opens the rows of exports.")
@click.option("--ingest", is_flag=True, help="Lets homes upload and delete their data, where that needs a key.")
@click.option("--admin", is_flag=True, help="Opens everything.")
@click.option(
    "--expires", "expires_seconds", callback=seconds, help="Time until the key expires: 90d, 12h, 30m, 45s, 2w. Default: never."
)
def create(**asked: Any) -> None:
    """Create a key and print it. The key is printed only this once.

    Only the key goes to standard output. Standard error says what the key opens.
    """
    with opened_shared_house(begins=True) as house:
        record, text = answered(lambda: house.access.create(**asked))
        warnings = answered(lambda: _unknown(house, (*record.datasources, *record.datasets)))
    click.echo(f"The key {record.id}, {record.name}, opens {_grants(record)}; expires: {_expiry(record)}", err=True)
    for warning in warnings:
        click.echo(warning, err=True)
    click.echo(text)


@group.command("list")
@json_lines_option
def list_(as_json: bool) -> None:
    """Print what each key opens, the oldest key first."""
    with opened_shared_house() as house:
        records, damaged = answered(house.access.list), answered(house.access.damaged)
    for id_ in damaged:
        click.echo(f"The key {id_} is damaged and opens nothing; `smarthouse keys revoke {id_}` removes it", err=True)
    if as_json:
        for record in records:
            click.echo(msgspec.json.encode(record))
        return
    echo_table(("id", "name", "kind", "grants", "created", "expires"), [_cells(record) for record in records])


@group.command()
@click.argument("ids", nargs=-1, required=True, callback=_ids, metavar="ID...")
def revoke(ids: list[str]) -> None:
    """Make keys invalid at once. ID: of a key, see `list`."""
    with opened_shared_house() as house:
        unknown = answered(lambda: [id_ for id_ in ids if not house.access.revoke(id_)])
    if revoked := [id_ for id_ in ids if id_ not in unknown]:
        click.echo(f"Revoked: {', '.join(revoked)}")
    if unknown:
        raise click.ClickException(f"There is no key {', '.join(unknown)}")


@group.command()
@click.argument("id_", callback=_ids, metavar="ID")
@click.option(
    "--keep-old", "keep_old_seconds", callback=seconds, help="How long the old secret still works: 1h, 7d. Default: not at all."
)
def rotate(id_: str, keep_old_seconds: float | None) -> None:
    """Give a key a new secret and print the key, only this once.

    ID: of a key, see `list`. Only the new key goes to standard output. Its grants and its expiry stay.
    """
    with opened_shared_house() as house:
        text = answered(lambda: house.access.rotate(id_, keep_old_seconds or 0.0))
    if text is None:
        raise click.ClickException(f"There is no key {id_}")
    click.echo(f"The key {id_} has a new secret", err=True)
    click.echo(text)


def _unknown(house: House, names: Sequence[str]) -> list[str]:
    """Warn of names that are no ids of collections: they open nothing until there is one."""
    told = list[str]()
    for name in dict.fromkeys(names):
        found = house.collections.catalogue.get(name) if is_name(name) else None
        if found is None:
            told.append(f"Warning: there is no collection {name}; the key opens it once it is defined")
        elif found.id != name:
            told.append(f"Warning: {name} is an alias, which opens nothing; the id is {found.id}")
    return told


def _cells(record: KeyRecord) -> tuple[str, ...]:
    return record.id, record.name, record.owner.type, _grants(record), seconds_text(record.created_at), _expiry(record)


def _grants(record: KeyRecord) -> str:
    named = {
        "project": [record.project] if record.project else [],
        "homes": [str(home_id) for home_id in record.homes],
        "datasources": record.datasources,
        "datasets": record.datasets,
    }
    told = [f"{what} {', '.join(names)}" for what, names in named.items() if names] + ["exports"] * record.export
    told += ["uploads"] * record.ingest
    return "; ".join(["everything", *told] if record.admin else told)


def _expiry(record: KeyRecord) -> str:
    if record.expires_at is None:
        return "never"
    return "expired" if record.is_expired(datetime.now(UTC)) else seconds_text(record.expires_at)
