"""`smarthouse status`: all that an operator asks of an installation, on one page."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import msgspec

from smarthouse_api.cli.open_house import answered, opened_shared_house
from smarthouse_api.status.words import parts

if TYPE_CHECKING:
    from smarthouse_api.status.report import Report


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON. Times are seconds since 1970, sizes are bytes.")
def command(as_json: bool) -> None:
    """Report what the installation holds, what waits, who works, and what failed last. It ends with 1 unless it can be served.

    It works beside the service, and without it. It names no home.
    """
    with opened_shared_house() as house:
        report = answered(house.status.report)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        click.echo("\n".join(_lines(report)))
    if not report.readiness.ready:
        raise click.exceptions.Exit(1)


def _lines(report: Report) -> Iterable[str]:
    at = datetime.fromtimestamp(report.at, UTC)
    yield f"SmartHouse API {report.version}, installation {report.installation}, {at:%Y-%m-%d %H:%M:%S} UTC"
    for title, rows in parts(report):
        width = max((len(name) for name, _ in rows), default=0)
        yield ""
        yield title
        yield from (f"  {name:<{width}}  {told}" for name, told in rows) if rows else ["  none"]
