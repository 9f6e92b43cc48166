"""Lists as commands print them: a table for people, or JSON lines for programs."""

from __future__ import annotations

from collections.abc import Sequence

import click

json_lines_option = click.option("--json", "as_json", is_flag=True, help="One JSON object for each line instead of a table.")
"""Lets a list be printed for programs."""


def echo_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows under a header for people to read. Each column is as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
