"""`smarthouse status`: all that an operator asks of an installation, on one page."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click
import msgspec

from smarthouse_api.cli.open_house import answered, opened_shared_house
from smarthouse_api.status.words import parts

if TYPE_CHECKING:
    from smarthouse_api.status.report import Report

_NO_TERMINAL: Final = 10_000
_NARROWEST: Final = 40
_INDENT: Final = 6


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
    told = f"API {report.version}, installation {report.installation}, {at:%Y-%m-%d %H:%M:%S} UTC"
    yield from _wrapped("SmartHouse ", told)
    for title, rows in parts(report):
        width = max((len(name) for name, _ in rows), default=0)
        yield ""
        yield title
        for name, told in rows or [("none", "")]:
            yield from _wrapped(f"  {name:<{width}}  ", told)


def _wrapped(begin: str, told: str) -> list[str]:
    """Write a line as wide as the terminal; what has no room goes on below. Without a terminal, it is one line."""
    columns = shutil.get_terminal_size((_NO_TERMINAL, 0)).columns
    indent = len(begin) if len(begin) <= columns // 2 else _INDENT
    lines = textwrap.wrap(
        told, max(columns, _NARROWEST), initial_indent=begin, subsequent_indent=" " * indent, break_on_hyphens=False
    )
    return lines or [begin.rstrip()]
