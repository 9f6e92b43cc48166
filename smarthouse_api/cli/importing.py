"""`smarthouse import`: what a Home Assistant recorder holds, brought to a service."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import click

from smarthouse_api.cli.open_house import STOPPED
from smarthouse_api.recorder.chunks import Choice
from smarthouse_api.recorder.database import Database
from smarthouse_api.recorder.faults import ImportFault
from smarthouse_api.recorder.importing import Import, Totals
from smarthouse_api.recorder.layout import identity_of
from smarthouse_api.recorder.progress import Progress, name_of
from smarthouse_api.recorder.service import Service, address, checked_uuid, is_readable_on_the_way
from smarthouse_api.recorder.tables import Table, states_of, statistics_of

_LINE_SECONDS: Final = 10.0
_GLOB = "as a glob: 'light.*', 'sensor.*_power'. You may repeat it."


@click.command("import")
@click.argument("database", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", "url", required=True, help="Address of the service, such as https://lake.example.org.")
@click.option("--uuid-file", type=click.File(encoding="utf-8"), help="File with the home's UUID. `-` is standard input.")
@click.option("--key-file", type=click.File(encoding="utf-8"), help="File with an API key, for a service that asks for one.")
@click.option("--statistics/--no-statistics", default=True, help="Import the hourly long-term statistics, too. The default.")
@click.option("--since", type=click.DateTime(), help="Leave out what is older. UTC.")
@click.option("--until", type=click.DateTime(), help="Leave out this time and what is newer. UTC.")
@click.option("--entities", multiple=True, metavar="GLOB", help=f"Import only these entities, {_GLOB}")
@click.option("--exclude", multiple=True, metavar="GLOB", help=f"Leave out these entities, {_GLOB}")
@click.option("--rows", type=click.IntRange(1, 100_000), default=2000, show_default=True, help="Most states in one request.")
@click.option("--restart", is_flag=True, help="Begin anew instead of where the last run stopped.")
@click.option("--progress-folder", type=click.Path(file_okay=False, path_type=Path), help="Where to remember the progress.")
def command(
    database: Path,
    url: str,
    uuid_file: IO[str] | None,
    key_file: IO[str] | None,
    statistics: bool,
    since: datetime | None,
    until: datetime | None,
    entities: tuple[str, ...],
    exclude: tuple[str, ...],
    rows: int,
    restart: bool,
    progress_folder: Path | None,
) -> None:
    """Upload what a Home Assistant recorder holds: its states and its hourly statistics.

    DATABASE: Home Assistant's home-assistant_v2.db. It is only read, and Home Assistant may be running.

    The command asks for the home's UUID, or reads it from a file. The UUID is a secret, so it is never an argument.
    You may stop and repeat the command. It goes on where it stopped, and the service keeps a state change once.
    """
    choice = Choice(entities, exclude, _moment(since), _moment(until))
    with _faults(), _opened(database) as opened:
        target = address(url)
        tables = [states_of(opened), *([statistics_of(opened)] if statistics else [])]
        uuid = checked_uuid(_uuid(uuid_file))
        if is_readable_on_the_way(target):
            click.echo("Warning: --to is not https, so others on the network can read the home's UUID", err=True)
        name = name_of(uuid, (target, identity_of(opened), entities, exclude, choice.since, choice.until))
        progress = Progress(progress_folder or _folder(), name)
        if restart:
            progress.forget()
        task = Import(Service(target, uuid, _say, api_key=_key(key_file)), progress, choice, rows)
        _run(task, progress, [table for table in tables if table is not None])
        click.echo(_summary(task.totals))


def _run(task: Import, progress: Progress, tables: list[Table]) -> None:
    for table in tables:
        # Fixed now: a running Home Assistant writes on.
        until = table.last()
        with _shown(table.noun, until - progress.after(table)) as advance:
            task.bring(table, until, advance)


@contextmanager
def _shown(noun: str, length: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a line now and then in a log."""
    if not sys.stderr.isatty():
        yield _Lines(noun, length)
        return
    with click.progressbar(length=length, label=noun, file=sys.stderr) as bar:
        yield bar.update


class _Lines:
    """Tells in a log how far a table is, at most every ten seconds."""

    def __init__(self, noun: str, length: int) -> None:
        self._noun, self._length, self._done, self._next_at = noun, length, 0, time.monotonic() + _LINE_SECONDS

    def __call__(self, steps: int) -> None:
        self._done += steps
        if time.monotonic() >= self._next_at:
            click.echo(f"{self._noun}: {self._done * 100 // self._length} %", err=True)
            self._next_at = time.monotonic() + _LINE_SECONDS


@contextmanager
def _opened(path: Path) -> Iterator[Database]:
    database = Database(path)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _faults() -> Iterator[None]:
    """Ends the command with a message, and never with a traceback of a fault that was foreseen."""
    try:
        yield
    except ImportFault as fault:
        raise click.ClickException(str(fault)) from None
    except KeyboardInterrupt:
        click.echo("Stopped; run the command again to go on here", err=True)
        raise click.exceptions.Exit(STOPPED) from None


def _uuid(file: IO[str] | None) -> str:
    if file is None:
        return str(click.prompt("Home-UUID", hide_input=True, err=True, prompt_suffix=": "))
    try:
        return file.read(1024)
    except UnicodeDecodeError:
        raise ImportFault("--uuid-file: the file is not text; it must hold the home's UUID and nothing else") from None


def _key(file: IO[str] | None) -> str | None:
    if file is None:
        return None
    key = file.read(1024).strip()
    if not key.isascii() or not key.isprintable() or not key:
        raise ImportFault("--key-file: the file must hold an API key and nothing else")
    return key


def _folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base, "smarthouse")


def _moment(given: datetime | None) -> float | None:
    return None if given is None else given.replace(tzinfo=UTC).timestamp()


def _say(text: str) -> None:
    click.echo(f"\n{text}" if sys.stderr.isatty() else text, err=True)


def _summary(totals: Totals) -> str:
    if not totals.bodies:
        return "Nothing new to upload; --restart begins anew"
    lines = [f"Uploaded {totals.sent} states and hours in {totals.bodies} requests; the service recognised {totals.records}"]
    if totals.repeated:
        lines.append(f"Requests that the service had already: {totals.repeated}")
    if totals.nameless:
        lines.append(f"Rows that hold no state, such as an entity's removal: {totals.nameless}")
    if totals.ignored:
        lines.append(f"Entries that the service ignored: {totals.ignored}")
    if totals.detail:
        lines.append(f"The service says: {totals.detail}")
    return "\n".join(lines)
