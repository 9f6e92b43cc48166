"""`smarthouse verify`: looks for what is damaged or missing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from smarthouse_api.cli.open_house import opened_house


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
def command(percent: float) -> None:
    """Look through both stores and the lake for what is damaged or missing, while the service runs.

    Each problem is a line: the store, the file, the internal key of its home or `-`, and what is wrong. The command ends with 1
    if it finds any. It repairs nothing. Readiness counts the files that it finds until they are whole.
    """
    count = 0
    with opened_house(waits=True) as house, _progress() as advance:
        for problem in house.verifying.run(percent / 100, advance):
            count += 1
            click.echo(f"{problem.store}  {problem.name}  {problem.home_key or '-'}  {problem.what}")
    click.echo(f"Problems: {count}" if count else "No problem was found.", err=True)
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
