"""`smarthouse collections ...`: which data sources and datasets there are, and what holds of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from smarthouse_api.cli import dead_letters, output
from smarthouse_api.cli.open_house import answered, opened_collection, opened_shared_house
from smarthouse_api.cli.options import json_lines_option, json_object, octets, seconds

if TYPE_CHECKING:
    from smarthouse_api.access.keys import KeyRecord

Command = TypeVar("Command", bound=Callable[..., Any])

_REMOVED = {
    "alias": "alias",
    "schema": "schema",
    "timestamp": "timestamp_field",
    "dedup": "dedup_key",
    "extraction": "extraction",
    "topic": "entry_topic",
}
"""The member that each `--no-...` empties."""


@click.group("collections")
def group() -> None:
    """Create, show, list, change and delete collections of JSON records: data sources and datasets."""


def _defines(command: Command) -> Command:
    """Add the options that say what a collection is."""
    options = (
        click.option("--name", help="Name for people. Default: the id."),
        click.option("--alias", help="Second id. No other collection may have it as an id or alias."),
        click.option(
            "--schema",
            type=click.File("rb"),
            callback=json_object,
            metavar="FILE",
            help="JSON Schema (draft 2020-12) of each record.",
        ),
        click.option("--timestamp-field", metavar="NAME", help="Member that holds a record's own time. Default: timestamp."),
        click.option("--no-timestamp", is_flag=True, help="Use the arrival as each record's time."),
        click.option(
            "--mode",
            type=click.Choice(("off", "warn", "strict")),
            help="off: do not check the schema. warn: store and mark records that fail it. strict: make them dead letters; the"
            " data sources' API refuses them. Default: off.",
        ),
        click.option(
            "--dedup-key",
            metavar="KEY",
            help="Store repeats of this key once: params.msgid, or a member of each record.",
        ),
        click.option(
            "--dedup-window",
            "dedup_seconds",
            callback=seconds,
            metavar="DURATION",
            help="How long the service remembers a key. Default: 7d.",
        ),
        click.option(
            "--extraction",
            metavar="MEMBER",
            help="Take batch events apart, which come as a dataset's: the member that holds their events.",
        ),
        click.option(
            "--extraction-dedup-key",
            metavar="KEY",
            help="Store repeats of a batch once: params.msgid, or a member of the batch event. It needs --extraction.",
        ),
        click.option("--entry-topic", metavar="NAME", help="Topic for live consumers. The datasets' API requires it."),
        click.option(
            "--requires-token/--open",
            default=None,
            help="Whether the datasets' API requires a key for writing. Default: --open with an entry topic.",
        ),
        click.option("--public/--private", default=None, help="Whether records can be read without a key. Default: private."),
        click.option(
            "--keep", "keep_seconds", callback=seconds, metavar="DURATION", help="How long the topic keeps a record: 7d, 12h."
        ),
        click.option("--keep-bytes", callback=octets, metavar="SIZE", help="How many bytes the topic keeps: 64MB, 2GiB."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@group.command()
@click.argument("id_", metavar="ID")
@_defines
def create(id_: str, **asked: Any) -> None:
    """Create a collection. ID: the `datasource_id`, or the dataset id in paths."""
    from smarthouse_api.collections.model import define

    given = {**_members(asked), **_retention(asked, {})}
    # Without an entry topic it is no dataset, so clients without a key must not learn of it there.
    members = {"id": id_, "requires_token": not given.get("entry_topic"), **given}
    with opened_shared_house(begins=True) as house:
        made = answered(lambda: house.collections.catalogue.create(define(members))).collection
    click.echo(f"{made.id}: made")
    if not made.entry_topic:
        click.echo("It has no entry topic, so the datasets' API cannot write to it: see --entry-topic", err=True)


@group.command()
@click.argument("id_", metavar="ID")
@_defines
@click.option("--no-alias", is_flag=True, help="Remove the alias.")
@click.option("--no-schema", is_flag=True, help="Remove the schema.")
@click.option("--no-dedup", is_flag=True, help="Stop deduplication.")
@click.option("--no-extraction", is_flag=True, help="Stop taking batch events apart.")
@click.option("--no-topic", is_flag=True, help="Remove the entry topic.")
@click.option("--keep-default", is_flag=True, help="Use the installation's settings for the topic's retention.")
def update(id_: str, **asked: Any) -> None:
    """Change the members that you give options for. ID: id or alias of the collection."""
    with opened_shared_house() as house:
        catalogue = house.collections.catalogue
        kept = answered(lambda: catalogue.find(id_)).retention
        before = {} if asked["keep_default"] else {"seconds": kept.seconds, "bytes": kept.bytes}
        changes = {**_members(asked), **_retention(asked, before)}
        if not changes:
            raise click.UsageError("No option is given, so nothing changes; see --help")
        changed = answered(lambda: catalogue.update(id_, changes)).collection
    click.echo(f"{changed.id}: changed")


@group.command()
@click.argument("id_", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(id_: str, as_json: bool) -> None:
    """Print everything about a collection. ID: its id or alias."""
    with opened_collection(id_) as (house, one):
        stream, keys = answered(lambda: house.collections.topic.stream_name(one)), _naming(answered(house.access.list), one.id)
        stored, most = answered(lambda: house.collections.quotas.of(one))
        if as_json:
            click.echo(output.as_json(one, stream, keys, stored, most))
            return
        refused = answered(lambda: house.collections.dead_letters.list(one, limit=output.MOST_DEAD_LETTERS))
    lines = output.as_lines(one, stream, keys, len(refused), stored, most)
    width = max(map(len, lines))
    for what, told in lines.items():
        click.echo(f"{what.ljust(width)}  {told}")


@group.command("list")
@json_lines_option
def list_(as_json: bool) -> None:
    """Print the collections, sorted by id."""
    with opened_shared_house() as house:
        found, quotas = answered(house.collections.catalogue.list), house.collections.quotas
        stored = answered(lambda: [quotas.of(one) for one in found])
        if as_json:
            keys = answered(house.access.list)
            for one, of_quota in zip(found, stored, strict=True):
                click.echo(output.as_json(one, house.collections.topic.stream_name(one), _naming(keys, one.id), *of_quota))
            return
    output.echo_table(output.HEADER, [output.as_cells(one, used) for one, (used, _) in zip(found, stored, strict=True)])


@group.command()
@click.argument("id_", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(id_: str, yes: bool) -> None:
    """Delete a collection and, soon after, its records. ID: its id, not its alias."""
    with opened_collection(id_) as (house, one):
        if one.id != id_:
            raise click.ClickException(f"{id_} is the alias of {one.id}; to delete the collection, give its id")
        if not yes:
            click.confirm(f"The collection {id_} and all its records will be erased. Continue?", abort=True)
        answered(lambda: house.collections.catalogue.delete(id_))
        keys = _naming(answered(house.access.list), id_)
    click.echo(f"{id_}: deleted. Nobody can read or write it; the next housekeeping erases its records from every store")
    if keys:
        told = ", ".join(key.id for key in keys)
        click.echo(f"Keys that name this id would also open a new collection with it: {told}", err=True)


group.add_command(dead_letters.group)


def _members(asked: dict[str, Any]) -> dict[str, Any]:
    """Take the members of a definition that options were given for. Raises `UsageError` for two that exclude each other."""
    if asked["extraction_dedup_key"] and not asked["extraction"]:
        raise click.UsageError("--extraction-dedup-key needs --extraction")
    named = ("name", "alias", "schema", "timestamp_field", "mode", "dedup_key", "dedup_seconds", "entry_topic")
    given = {name: asked[name] for name in (*named, "requires_token", "public") if asked[name] is not None}
    if asked["extraction"]:
        given["extraction"] = {"key": asked["extraction"], "dedup_key": asked["extraction_dedup_key"]}
    for what, name in _REMOVED.items():
        if asked.get(f"no_{what}"):
            if name in given:
                raise click.UsageError(f"--no-{what} and --{name.replace('_', '-')} exclude each other")
            given[name] = None
    return given


def _retention(asked: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Change the definition's `retention` from what it was before; empty if no option is about it."""
    given = {name: asked[f"keep_{name}"] for name in ("seconds", "bytes") if asked[f"keep_{name}"] is not None}
    return {"retention": {**before, **given}} if given or asked.get("keep_default") else {}


def _naming(keys: Sequence[KeyRecord], id_: str) -> list[KeyRecord]:
    """Find the keys that name the collection."""
    return [key for key in keys if id_ in (*key.datasources, *key.datasets)]
