"""`smarthouse homes ...`: which homes upload, which project a home belongs to, and a home forgotten."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from smarthouse_api.access.grants import LARGEST_HOME
from smarthouse_api.arrow.times import seconds_text, time_of
from smarthouse_api.cli.open_house import answered, opened_house, opened_shared_house
from smarthouse_api.cli.options import json_lines_option, seconds
from smarthouse_api.cli.output import echo_table
from smarthouse_api.measures import UNIT_SECONDS
from smarthouse_api.states.counts import total
from smarthouse_api.states.homes import normalised_uuid

if TYPE_CHECKING:
    from smarthouse_api.states.known_homes import CountedHome

HOME = click.IntRange(0, LARGEST_HOME)
_NOTHING = "-"

_ORDERS: Final[Mapping[str, Callable[[CountedHome], float | str]]] = {
    "home": lambda one: one.pseudonym,
    "first": lambda one: one.kept.first_us or 0,
    "last": lambda one: one.kept.last_us or 0,
    "silent": lambda one: -(one.silent_seconds or 0.0),
    "uploads": lambda one: -one.kept.uploads,
    "records": lambda one: -one.kept.records,
    "bytes": lambda one: -one.kept.bytes,
}


def _pseudonym(_: click.Context, __: click.Parameter, given: str) -> str:
    """Read the pseudonym of a home that uploads. Anything else is not repeated: it may be the home's UUID."""
    if not re.fullmatch(r"home_[0-9a-f]{16}", given):
        raise click.BadParameter("this is no pseudonym of a home; write one such as home_77c45e93dece0b05, see `homes list`")
    return given


def _any_homes(ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> list[int | str]:
    """Read homes' ids, which are integers, and the pseudonyms of homes that upload."""
    return [int(HOME(one, parameter, ctx)) if one.isdecimal() else _pseudonym(ctx, parameter, one) for one in given]


@click.group("homes")
def group() -> None:
    """List and forget homes, and assign homes to projects. A project's keys open its homes."""


@group.command()
@click.argument("homes", nargs=-1, required=True, type=HOME, metavar="HOME...")
@click.option("--project", required=True, help="The new project. It replaces an earlier one.")
def assign(homes: tuple[int, ...], project: str) -> None:
    """Assign homes to a project. HOME: a home's id, an integer."""
    with opened_shared_house(begins=True) as house:
        answered(lambda: house.access.assign(homes, project))
    click.echo(f"{_listed(homes)}: of the project {project}")


@group.command()
@click.argument("homes", nargs=-1, required=True, type=HOME, metavar="HOME...")
def unassign(homes: tuple[int, ...]) -> None:
    """Remove homes from their projects. The projects' keys no longer open them. HOME: a home's id, an integer."""
    with opened_shared_house() as house:
        answered(lambda: house.access.assign(homes, None))
    click.echo(f"{_listed(homes)}: of no project")


@group.command()
@click.argument("homes", nargs=-1, required=True, callback=_any_homes, metavar="HOME...")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(homes: list[int | str], yes: bool) -> None:
    """Erase homes for good. HOME: a home's id, an integer, or the pseudonym of a home that uploads, see `list`.

    With an id, all streams of the home are erased, and its assignment to a project. With a pseudonym, all that it uploaded is
    erased, and the streams that are linked with it, as by a DELETE with its UUID. Its receipt tells when that is done.
    """
    of_streams, uploading = [one for one in homes if isinstance(one, int)], [one for one in homes if isinstance(one, str)]
    with opened_house() as house:
        for name in uploading:
            answered(partial(house.states.known_homes.find, name))
        if not yes:
            what = " and ".join([*(["streams"] * bool(of_streams)), *(["uploads"] * bool(uploading))])
            click.confirm(f"All {what} of {_listed(homes).lower()} will be erased. Continue?", abort=True)
        for home_id in of_streams:
            answered(partial(house.forgetting.forget_streams, home_id))
        receipts = [(name, answered(partial(house.forget_known, name))) for name in uploading]
    click.echo(f"{_listed(homes)}: forgotten")
    for name, receipt in receipts:
        click.echo(f"{name}: its receipt is at /api/ingest/receipts/{receipt}")


@group.command()
@click.argument("home", type=HOME)
def link(home: int) -> None:
    """Erase a home's streams together with its uploads, from now on. HOME: its id, an integer.

    The command asks for the home's UUID, or reads it from standard input. The UUID is a secret, so it is never an argument.
    """
    uuid = click.prompt("Home-UUID", hide_input=True, err=True, prompt_suffix=": ")
    with opened_house(begins=True) as house:
        answered(lambda: house.states.homes.link(normalised_uuid(uuid), home))
    click.echo(f"{_listed((home,))}: forgotten together with the uploads of that UUID")


@group.command()
@click.argument("home", type=HOME)
def unlink(home: int) -> None:
    """Undo a `link`. HOME: its id, an integer."""
    with opened_house() as house:
        answered(lambda: house.forgetting.unlink(home))
    click.echo(f"{_listed((home,))}: forgotten only by command")


@group.command("list")
@click.option("--silent", "silent_seconds", callback=seconds, help="Only homes that uploaded nothing for so long, such as 7d.")
@click.option(
    "--sort",
    type=click.Choice(tuple(_ORDERS)),
    default="home",
    show_default=True,
    help="The order of homes that upload: by pseudonym, the oldest time first, the longest silence first, or the most first.",
)
@json_lines_option
def list_(silent_seconds: float | None, sort: str, as_json: bool) -> None:
    """Print the homes that upload and their total, then the homes with a project.

    A home that uploads has the pseudonym of the exports, unless each export has others.
    """
    with opened_shared_house() as house:
        uploading = sorted(answered(lambda: house.states.known_homes.list(silent_seconds)), key=_ORDERS[sort])
        assigned = {} if silent_seconds is not None else answered(house.access.assignments)
    if as_json:
        for told in (*map(_members, uploading), *({"home": home_id, "project": name} for home_id, name in assigned.items())):
            click.echo(msgspec.json.encode(told))
        return
    if uploading or silent_seconds is not None:
        in_all = total(one.kept for one in uploading)
        last_row = (f"{len(uploading)} in all", "", "", *map(str, (in_all.uploads, in_all.records, in_all.bytes)), "")
        rows = [*map(_cells, uploading), last_row]
        echo_table(("home", "first", "last", "uploads", "records", "bytes", "silent"), rows)
    if silent_seconds is None:
        if uploading:
            click.echo()
        echo_table(("home", "project"), [(str(home_id), project) for home_id, project in assigned.items()])


@group.command()
@click.argument("home", callback=_pseudonym, metavar="HOME")
@click.option("--json", "as_json", is_flag=True, help="A JSON object instead of lines.")
def show(home: str, as_json: bool) -> None:
    """Print what is kept of a home that uploads, and what it agreed to, the newest last. HOME: its pseudonym, see `list`."""
    with opened_shared_house() as house:
        one = answered(lambda: house.states.known_homes.find(home))
        told = _members(one) | {
            "expired_uploads": answered(lambda: house.states.counts.expired(one.home.key).uploads),
            "rows": answered(lambda: house.states.rows_of(one.home.key)),
            "streams": answered(lambda: house.states.homes.linked(one.home.tag)),
            "consent": answered(lambda: [f"{given.terms} {given.tier}" for given in house.states.consents.of(one.home)]),
        }
    if as_json:
        click.echo(msgspec.json.encode(told))
        return
    width = max(map(len, told))
    for name, value in told.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        click.echo(f"{name.replace('_', ' ').ljust(width)}  {'-' if shown in (None, '') else shown}")


def _members(one: CountedHome) -> dict[str, Any]:
    """Return what is told of a home, by heading."""
    kept, silent = one.kept, one.silent_seconds
    return {
        "home": one.pseudonym,
        "first": _time(kept.first_us),
        "last": _time(kept.last_us),
        "uploads": kept.uploads,
        "records": kept.records,
        "bytes": kept.bytes,
        "silent_seconds": None if silent is None else round(silent),
    }


def _cells(one: CountedHome) -> tuple[str, ...]:
    *told, silent = _members(one).values()
    cells = [_NOTHING if cell is None else str(cell) for cell in told]
    return *cells, _NOTHING if silent is None else _since(silent)


def _time(us: int | None) -> str | None:
    return None if us is None else seconds_text(time_of(us))


def _since(silent_seconds: int) -> str:
    unit = next((unit for unit in "dhm" if silent_seconds >= UNIT_SECONDS[unit]), "s")
    return f"{silent_seconds // UNIT_SECONDS[unit]}{unit}"


def _listed(homes: Sequence[int | str]) -> str:
    return f"{'Home' if len(homes) == 1 else 'Homes'} {', '.join(map(str, homes))}"
