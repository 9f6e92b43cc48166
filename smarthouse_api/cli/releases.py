"""`smarthouse releases ...`: figures of many homes together, one file for each month, open to more than rows are."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import msgspec

from smarthouse_api.arrow.times import seconds_text
from smarthouse_api.cli.open_house import answered, opened_shared_house
from smarthouse_api.cli.options import json_lines_option
from smarthouse_api.cli.output import echo_table


@click.group("releases")
def group() -> None:
    """Make, list and withdraw figures of many homes together."""


@group.command()
@click.argument("month")
@click.option("--every", type=click.Choice(["1h", "1d"]), default="1h", show_default=True, help="The length of the intervals.")
def make(month: str, every: str) -> None:
    """Make the release of MONTH, such as 2026-03, which must be over. It is never made anew.

    Each row is of at least SMARTHOUSE_EXPORT_MIN_HOMES homes that have agreed to the terms, and tells of none by itself.
    """
    with opened_shared_house() as house:
        made = answered(lambda: house.states.releases.make(month, every))
    click.echo(f"{made.month}: {made.rows} rows, {made.size_bytes} bytes, at /api/export/releases/{made.month}")


@group.command("list")
@json_lines_option
def list_(as_json: bool) -> None:
    """Print the releases, the newest month first."""
    with opened_shared_house() as house:
        found = answered(house.states.releases.list)
    if as_json:
        for one in found:
            click.echo(msgspec.json.encode(one))
        return
    made = [seconds_text(datetime.fromtimestamp(one.made_at, UTC)) for one in found]
    rows = ((one.month, one.every, str(one.least_homes), str(one.rows), str(one.size_bytes)) for one in found)
    echo_table(
        ("month", "every", "homes at least", "rows", "bytes", "made"), [(*row, at) for row, at in zip(rows, made, strict=True)]
    )


@group.command()
@click.argument("month")
@click.option("--yes", is_flag=True, help="Do not ask.")
def withdraw(month: str, yes: bool) -> None:
    """Remove the release of MONTH for good. There will be no other one of it."""
    with opened_shared_house() as house:
        answered(lambda: house.states.releases.known(month))
        if not yes:
            click.confirm(f"Remove the release of {month} for good? There will be no other one of this month.", abort=True)
        answered(lambda: house.states.releases.withdraw(month))
    click.echo(f"{month} is withdrawn")
