"""`smarthouse migrate`: brings an installation of an earlier version over, to its end."""

from __future__ import annotations

import click

from smarthouse_api.cli.open_house import answered, opened_house


@click.command("migrate")
def command() -> None:
    """Bring all that an earlier version stored to the present format, and print each step.

    The service does it by itself, in turns. The command does it at once. You may run it beside the service, stop it and
    repeat it. It refuses stores of a newer version.
    """
    with opened_house() as house:
        steps, count = house.migrating.run(), 0
        while (step := answered(lambda: next(steps, None))) is not None:
            click.echo(step)
            count += 1
    click.echo("Nothing else is left to bring over" if count else "Nothing was left to bring over")
