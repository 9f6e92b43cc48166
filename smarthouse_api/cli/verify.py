"""`smarthouse verify`: looks for what is damaged or missing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import click

from smarthouse_api.cli.open_house import answered, opened_house, streamed
from smarthouse_api.cli.options import home_uuid


class _NotLooked(click.ClickException):
    """Ends the command with a code of its own: nothing is known about problems."""

    exit_code = 2


@click.command("verify")
@click.option(
    "--sample",
    "percent",
    type=click.FloatRange(0, 100),
    default=100.0,
    show_default=True,
    metavar="PERCENT",
    help="Read this share of the uploads, segments and files of the lake, chosen at random. The rest is only looked for.",
)
@click.option("--erased", is_flag=True, help="Look for bytes of erased homes instead.")
@click.option(
    "--uuid-file",
    type=click.File("rb"),
    help="With --erased: look for the UUID in this file, too, in every spelling; -: standard input.",
)
@click.option(
    "--folder",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False),
    help="With --erased: look through this folder, too, such as MinIO's or Redis's own. Repeatable.",
)
def command(percent: float, erased: bool, uuid_file: IO[bytes] | None, folders: tuple[str, ...]) -> None:
    """Look through both stores and the lake for what is damaged or missing, while the service runs.

    Each problem is a line: the store, the file, the internal key of its home or `-`, and what is wrong. The command ends with 1
    if it finds any, and with 2 if it cannot look: settings are wrong, or a store does not answer. It repairs nothing. Readiness
    counts the files that it finds until they are whole.

    With --erased, it looks for bytes of homes that were erased: in the stores' files, all documents, all objects, the lake
    and its log, temporary folders and the files of the metrics. Each place is a line, and the command ends with 1 if there
    is one. Standard error says what could not be looked at.
    """
    if not erased and (uuid_file is not None or folders):
        raise click.UsageError("--uuid-file and --folder belong to --erased")
    try:
        if erased:
            _search(uuid_file, folders)
        else:
            _verify(percent)
    except click.ClickException as fault:
        raise _NotLooked(fault.message) from None


def _verify(percent: float) -> None:
    count = 0
    with opened_house(waits=True) as house, _progress() as advance:
        for problem in house.verifying.run(percent / 100, advance):
            count += 1
            click.echo(f"{problem.store}  {problem.name}  {problem.home_key or '-'}  {problem.what}")
        if house.verifying.is_unanswered:
            click.echo("Nothing was looked at", err=True)
            raise click.exceptions.Exit(_NotLooked.exit_code)
    click.echo(f"Problems: {count}" if count else "No problem was found.", err=True)
    if count:
        raise click.exceptions.Exit(1)


def _search(uuid_file: IO[bytes] | None, folders: tuple[str, ...]) -> None:
    uuid, count = None if uuid_file is None else home_uuid(uuid_file), 0
    with opened_house(waits=True) as house:
        search = house.searching
        for found in streamed(search.run(uuid, folders, house.installation.check)):
            count += 1
            click.echo(f"{found.store}  {found.place}  {found.what}")
        for one in search.unread:
            click.echo(f"Not looked at: {one}", err=True)
        if search.waiting:
            click.echo(f"Homes that are hidden and wait to be erased, which were left out: {search.waiting}", err=True)
        if count and search.is_purging:
            click.echo("A purge is not over yet, and what was found may be of its homes: repeat this in two minutes", err=True)
        if uuid is not None and answered(lambda: house.states.homes.find(uuid)) is not None:
            click.echo("The home with this UUID is known: it is not erased, or has uploaded again", err=True)
    click.echo(f"Places: {count}" if count else "No byte of an erased home was found.", err=True)
    if count:
        raise click.exceptions.Exit(1)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    with click.progressbar(length=1, label="Verifying", file=sys.stderr) as bar:

        def advance(done: int, steps: int) -> None:
            bar.length = steps
            bar.update(done - bar.pos)

        yield advance
