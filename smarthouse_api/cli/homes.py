"""`smarthouse homes ...`: which project a home belongs to, and a home forgotten."""

from __future__ import annotations

from functools import partial

import click

from smarthouse_api.access.grants import LARGEST_HOME
from smarthouse_api.cli.open_house import answered, opened_house, opened_shared_house
from smarthouse_api.cli.output import echo_table
from smarthouse_api.states.homes import normalised_uuid

HOME = click.IntRange(0, LARGEST_HOME)


@click.group("homes")
def group() -> None:
    """Assign homes to projects, and forget homes. A project's keys open its homes."""


@group.command()
@click.argument("homes", nargs=-1, required=True, type=HOME, metavar="HOME...")
@click.option("--project", required=True, help="The new project. It replaces an earlier one.")
def assign(homes: tuple[int, ...], project: str) -> None:
    """Assign homes to a project. HOME: a home's id, an integer."""
    with opened_shared_house() as house:
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
@click.argument("homes", nargs=-1, required=True, type=HOME, metavar="HOME...")
@click.confirmation_option(prompt="All streams of these homes will be erased. Continue?", help="Do not ask.")
def forget(homes: tuple[int, ...]) -> None:
    """Erase all streams of homes and their assignment to a project, for good. HOME: a home's id, an integer.

    Uploads under a UUID are erased by a DELETE with that UUID. See also `link`.
    """
    with opened_house() as house:
        for home_id in homes:
            answered(partial(house.forgetting.forget_streams, home_id))
    click.echo(f"{_listed(homes)}: forgotten")


@group.command()
@click.argument("home", type=HOME)
def link(home: int) -> None:
    """Erase a home's streams together with its uploads, from now on. HOME: its id, an integer.

    The command asks for the home's UUID, or reads it from standard input. The UUID is a secret, so it is never an argument.
    """
    uuid = click.prompt("Home-UUID", hide_input=True, err=True, prompt_suffix=": ")
    with opened_house() as house:
        answered(lambda: house.states.homes.link(normalised_uuid(uuid), home))
    click.echo(f"{_listed((home,))}: forgotten together with the uploads of that UUID")


@group.command()
@click.argument("home", type=HOME)
def unlink(home: int) -> None:
    """Undo a `link`. HOME: its id, an integer."""
    with opened_house() as house:
        answered(lambda: house.states.homes.unlink(home))
    click.echo(f"{_listed((home,))}: forgotten only by command")


@group.command("list")
def list_() -> None:
    """Print each assigned home and its project."""
    with opened_shared_house() as house:
        found = answered(house.access.assignments)
    echo_table(("home", "project"), [(str(home_id), project) for home_id, project in found.items()])


def _listed(homes: tuple[int, ...]) -> str:
    return f"{'Home' if len(homes) == 1 else 'Homes'} {', '.join(map(str, homes))}"
