"""`smarthouse collections ...`: which data sources and datasets there are, and what holds of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from smarthouse_api.cli import collection_output, dead_letters
from smarthouse_api.cli.json_files import json_object
from smarthouse_api.cli.open_house import answered, opened_shared_house
from smarthouse_api.cli.tables import echo_table
from smarthouse_api.cli.units import octets, seconds

if TYPE_CHECKING:
    from smarthouse_api.access.keys import KeyRecord

Command = TypeVar("Command", bound=Callable[..., Any])

_REMOVED = {"alias": "alias", "schema": "schema", "timestamp": "timestamp_field", "dedup": "dedup_key", "topic": "entry_topic"}
"""What each `--no-...` empties."""


@click.group("collections")
def group() -> None:
    """Make, show, list, change and delete collections of JSON records: data sources and datasets."""


def _defines(command: Command) -> Command:
    """The options that say what a collection is."""
    options = (
        click.option("--name", help="What people call it. Default: the id."),
        click.option("--alias", help="Another id for it, which no other collection has as an id or alias."),
        click.option(
            "--schema",
            type=click.File("rb"),
            callback=json_object,
            metavar="FILE",
            help="JSON Schema (draft 2020-12) of a record.",
        ),
        click.option("--timestamp-field", metavar="NAME", help="Member that is a record's own time. Default: timestamp."),
        click.option("--no-timestamp", is_flag=True, help="Records have no time of their own but that of their arrival."),
        click.option(
            "--mode",
            type=click.Choice(("off", "warn", "strict")),
            help="Records that fail the schema are kept like others, kept and marked, or set aside (refused by the data"
            " sources' API). Default: off.",
        ),
        click.option(
            "--dedup-key",
            metavar="KEY",
            help="What repeats it is stored once: params.msgid, or the dotted path of a member of each record.",
        ),
        click.option(
            "--dedup-window",
            "dedup_seconds",
            callback=seconds,
            metavar="DURATION",
            help="How long that is remembered. Default: 7d.",
        ),
        click.option(
            "--entry-topic", metavar="NAME", help="Lets others consume records as they come; the datasets' API asks it."
        ),
        click.option(
            "--requires-token/--open",
            default=None,
            help="Whether the datasets' API takes records by a key alone. Default: --open with an entry topic.",
        ),
        click.option("--public/--private", default=None, help="Whether records may be read without a key. Default: private."),
        click.option(
            "--keep", "keep_seconds", callback=seconds, metavar="DURATION", help="How long the topic keeps a record: 7d, 12h."
        ),
        click.option("--keep-bytes", callback=octets, metavar="SIZE", help="How many bytes it keeps: 64MB, 2GiB."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@group.command()
@click.argument("id_", metavar="ID")
@_defines
def create(id_: str, **asked: Any) -> None:
    """Make a collection. ID: what clients call it, as `datasource_id` or in the path of the datasets' API."""
    from smarthouse_api.collections.definitions import define

    given = {**_members(asked), **_retention(asked, {})}
    # Where nobody writes to it as a dataset, nobody without a key learns of it there.
    members = {"id": id_, "requires_token": not given.get("entry_topic"), **given}
    with opened_shared_house() as house:
        made = answered(lambda: house.collections.catalogue.create(define(members))).collection
    click.echo(f"{made.id}: made")
    if not made.entry_topic:
        click.echo("It has no entry topic, without which the datasets' API does not write to it: see --entry-topic", err=True)


@group.command()
@click.argument("id_", metavar="ID")
@_defines
@click.option("--no-alias", is_flag=True, help="It has no alias any more.")
@click.option("--no-schema", is_flag=True, help="It has no schema any more.")
@click.option("--no-dedup", is_flag=True, help="What repeats is stored again.")
@click.option("--no-topic", is_flag=True, help="It has no entry topic any more.")
@click.option("--keep-default", is_flag=True, help="The topic keeps what the installation's settings say.")
def update(id_: str, **asked: Any) -> None:
    """Change what an option is given for; all else stays. ID: a collection's, or its alias."""
    with opened_shared_house() as house:
        catalogue = house.collections.catalogue
        kept = answered(lambda: catalogue.find(id_)).retention
        before = {} if asked["keep_default"] else {"seconds": kept.seconds, "bytes": kept.bytes}
        changes = {**_members(asked), **_retention(asked, before)}
        if not changes:
            raise click.UsageError("Nothing is to be changed; give an option, see --help")
        changed = answered(lambda: catalogue.update(id_, changes)).collection
    click.echo(f"{changed.id}: changed")


@group.command()
@click.argument("id_", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(id_: str, as_json: bool) -> None:
    """Print all that is known of a collection. ID: its own, or its alias."""
    with opened_shared_house() as house:
        one = answered(lambda: house.collections.catalogue.find(id_))
        stream, keys = answered(lambda: house.collections.topic.stream_name(one)), _naming(answered(house.access.list), one.id)
        if as_json:
            click.echo(collection_output.as_json(one, stream, keys))
            return
        aside = answered(lambda: house.collections.dead_letters.list(one, limit=collection_output.MOST_ASIDE))
    lines = collection_output.as_lines(one, stream, keys, len(aside))
    width = max(map(len, lines))
    for what, told in lines.items():
        click.echo(f"{what.ljust(width)}  {told}")


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each line instead of a table.")
def list_(as_json: bool) -> None:
    """Print the collections, by their ids."""
    with opened_shared_house() as house:
        found = answered(house.collections.catalogue.list)
        if as_json:
            keys = answered(house.access.list)
            for one in found:
                click.echo(collection_output.as_json(one, house.collections.topic.stream_name(one), _naming(keys, one.id)))
            return
    echo_table(collection_output.HEADER, [collection_output.as_cells(one) for one in found])


@group.command()
@click.argument("id_", metavar="ID")
def delete(id_: str) -> None:
    """Delete a collection and, soon after, its records. ID: its own, not its alias."""
    with opened_shared_house() as house:
        one = answered(lambda: house.collections.catalogue.find(id_))
        if one.id != id_:
            raise click.ClickException(f"{id_} is the alias of {one.id}; to delete that, name it by its id")
        answered(lambda: house.collections.catalogue.delete(id_))
        keys = _naming(answered(house.access.list), id_)
    click.echo(f"{id_}: deleted. Nobody writes or reads it any more; its records leave every store with the next housekeeping")
    if keys:
        told = ", ".join(key.id for key in keys)
        click.echo(f"A collection that is made anew under this id would be open to the keys that name it: {told}", err=True)


group.add_command(dead_letters.group)


def _members(asked: dict[str, Any]) -> dict[str, Any]:
    """Members of a definition that options were given for. UsageError for two that go against each other."""
    named = ("name", "alias", "schema", "timestamp_field", "mode", "dedup_key", "dedup_seconds", "entry_topic")
    given = {name: asked[name] for name in (*named, "requires_token", "public") if asked[name] is not None}
    for what, name in _REMOVED.items():
        if asked.get(f"no_{what}"):
            if name in given:
                raise click.UsageError(f"--no-{what} and --{name.replace('_', '-')} are not given together")
            given[name] = None
    return given


def _retention(asked: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The definition's `retention`, changed from what it was before, if an option says anything of it."""
    given = {name: asked[f"keep_{name}"] for name in ("seconds", "bytes") if asked[f"keep_{name}"] is not None}
    return {"retention": {**before, **given}} if given or asked.get("keep_default") else {}


def _naming(keys: Sequence[KeyRecord], id_: str) -> list[KeyRecord]:
    """Those that name the collection."""
    return [key for key in keys if id_ in (*key.datasources, *key.datasets)]
