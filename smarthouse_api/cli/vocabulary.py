"""`smarthouse vocabulary`: makes the tables of Home Assistant's words anew, for those who maintain this code."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("vocabulary")
@click.option(
    "--from",
    "path",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="WHEEL_OR_FOLDER",
    help="Home Assistant's wheel, or the folder that it is installed in. It is read, and not run.",
)
@click.option("--check", is_flag=True, help="Only tell which tables differ, and exit with 1 if any does.")
def command(path: Path, check: bool) -> None:
    """Make the tables of Home Assistant's domains, units, device classes and words anew.

    Download the wheel with `pip download homeassistant --no-deps`. Then review what changed with `git diff`.
    """
    from smarthouse_api.states.vocabulary import facts
    from smarthouse_api.states.vocabulary.making import tables, written
    from smarthouse_api.states.vocabulary.source import NotHomeAssistant, Source

    try:
        made = {facts.TABLES / f"{name}.json": written(table) for name, table in tables(Source(path)).items()}
    except NotHomeAssistant as fault:
        raise click.ClickException(str(fault)) from None
    differing = [file for file, text in made.items() if not file.exists() or file.read_text("utf-8") != text]
    if check and differing:
        raise click.ClickException(
            f"The tables are from Home Assistant {facts.version()}. These differ: {', '.join(file.name for file in differing)}"
        )
    for file in differing:
        file.write_text(made[file], "utf-8")
    click.echo(f"Tables written: {len(differing)}; unchanged: {len(made) - len(differing)}")
