"""`smarthouse export`: a dataset into a file. `smarthouse jobs ...`: the export jobs of an installation."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from stat import S_IMODE
from typing import TYPE_CHECKING, Any

import click
import msgspec
from humanize import intcomma, naturalsize

from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.arrow.times import seconds_text
from smarthouse_api.cli.open_house import answered, opened_shared_house, sentence
from smarthouse_api.cli.options import json_lines_option
from smarthouse_api.cli.output import echo_table
from smarthouse_api.states.aggregates.asked import FIGURES, HOLDS, LAYOUTS, LENGTHS, SOURCES, USUAL_FIGURES, Aggregation
from smarthouse_api.states.query import Filters

if TYPE_CHECKING:
    from smarthouse_api.house import House
    from smarthouse_api.states.jobs.model import Request
    from smarthouse_api.states.jobs.views import JobView

_DAY = click.DateTime(["%Y-%m-%d"])
_LOOK_SECONDS = 0.2
_STEPS = 1000
_HEADER = ("id", "state", "done", "rows", "bytes", "formats", "asked", "expires")
_NOTHING = "-"


_SELECTION = (
    click.option("--from", "since", type=_DAY, help="First UTC day, such as 2026-03-01."),
    click.option("--to", "until", type=_DAY, help="Last UTC day, inclusive."),
    click.option("--type", "types", multiple=True, help="A Home Assistant domain, such as sensor. Repeatable."),
    click.option("--unit", "units", multiple=True, help="A unit of measurement. Repeatable."),
    click.option("--device-class", "device_classes", multiple=True, help="A device class. Repeatable."),
    click.option("--home", "homes", multiple=True, help="A home, by its pseudonym in exports. Repeatable."),
    click.option("--entity", "entities", multiple=True, help="An entity, by its id in exports. Repeatable."),
    click.option("--time-field", type=click.Choice(["updated", "changed", "received"]), default="updated", show_default=True),
    click.option("--every", type=click.Choice(list(LENGTHS)), help="Give aggregates of intervals instead of rows."),
    click.option("--clock", type=click.Choice(["utc", "local"]), default="utc", help="The clock of the intervals."),
    click.option("--hold", type=click.Choice(list(HOLDS)), default="1d", help="For how long a state is held at most."),
    click.option("--source", type=click.Choice(SOURCES), default=SOURCES[0], help="What aggregates are made of."),
    click.option("--layout", type=click.Choice(LAYOUTS), default="long", help="Wide: a column for each measured thing."),
    click.option("--figure", "figures", type=click.Choice(FIGURES), multiple=True, help="What wide columns tell. Repeatable."),
)
"""The options that say which rows, or which aggregates of them."""

_VALUES = {
    "types": "--type",
    "units": "--unit",
    "device_classes": "--device-class",
    "homes": "--home",
    "entities": "--entity",
}


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that `selected` reads."""
    for option in reversed(_SELECTION):
        function = option(function)
    return function


def selected(
    since: datetime | None, until: datetime | None, every: str | None, **options: Any
) -> tuple[Filters, Aggregation | None]:
    """Make the filters, and what is asked of aggregates, of the options of a selection."""
    for name, option in _VALUES.items():
        if not all(map(str.strip, options[name])):
            raise click.UsageError(f"{option} is empty; leave it out to take all")
    aggregation = (
        None if every is None else Aggregation(every, options["hold"], options["clock"] == "local", source=options["source"])
    )
    if options["layout"] == "wide":
        if aggregation is None:
            raise click.UsageError("--layout wide is for aggregates; add --every")
        figures = tuple(one for one in FIGURES if one in options["figures"]) or USUAL_FIGURES
        aggregation = replace(aggregation, figures=figures)
    elif options["figures"]:
        raise click.UsageError("--figure is for --layout wide")
    filters = Filters(
        since=None if since is None else since.date(),
        until=None if until is None else until.date(),
        types=tuple(type_.lower() for type_ in options["types"]),
        device_classes=tuple(one.lower() for one in options["device_classes"]),
        **{name: options[name] for name in ("units", "homes", "entities", "time_field")},
    )
    return filters, aggregation


def _writable(_: click.Context, __: click.Parameter, file: Path) -> Path:
    """Refuse what is no place for a file, before the dataset is made."""
    if file.name == "-":
        raise click.BadParameter("name a file; nothing is written to standard output")
    if file.exists() and not file.is_file():
        raise click.BadParameter(f"{file} is a device or a pipe, which a file would replace; name a file")
    if not file.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {file.absolute().parent}; make it first")
    return file


@click.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), callback=_writable)
@click.option("--format", "formats", type=click.Choice(list(FORMATS)), multiple=True, help="Repeatable. The default is csv.")
@selection_options
@click.option("--since", "version", help="Give only rows that came after this version of a dataset, with its filters.")
@click.option("--metadata/--no-metadata", default=True, help="Whether the zip holds documents about the data.")
def command(file: Path, formats: tuple[str, ...], version: str | None, metadata: bool, **options: Any) -> None:
    """Write a dataset into FILE, a zip, as the service publishes it.

    It works beside the service, and without it. The dataset is made in parts: if this is stopped, the same command goes on.
    """
    filters, aggregation = selected(**options)
    with opened_shared_house(makes_jobs=True) as house:
        jobs, named = house.states.jobs, tuple(dict.fromkeys(formats)) or ("csv",)
        request = answered(lambda: jobs.request(filters, named, metadata=metadata, aggregation=aggregation, since=version))
        view = made(house, request)
        if view.state != "done":
            raise click.ClickException(view.told or "The export was cancelled")
        if not view.has_file:
            raise click.ClickException(view.told or "No record passes the filters")
        answered(lambda: _write(house, view.id, file))
        answered(lambda: jobs.cancel(view.id))
    click.echo(f"{file}: {intcomma(view.rows)} rows, {naturalsize(view.bytes)}")
    click.echo(view.citation)


def made(house: House, request: Request) -> JobView:
    """Have a dataset made, by this process or another, and show how far it is."""
    from smarthouse_api.states.jobs.service import OPERATOR

    jobs, stopping = house.states.jobs, threading.Event()
    id_ = answered(lambda: jobs.unfinished(request, OPERATOR) or jobs.ask(request, OPERATOR).id)
    faults = list[Exception]()
    worker = threading.Thread(target=_work, args=(house, id_, stopping, faults), name="export")
    worker.start()
    try:
        with click.progressbar(length=_STEPS, label="Exporting", file=sys.stderr) as bar:
            while (view := answered(lambda: jobs.view(id_))).state in ("waiting", "running") and not faults:
                bar.update(round((view.fraction or 0.0) * _STEPS) - bar.pos)
                worker.join(_LOOK_SECONDS) if worker.is_alive() else stopping.wait(_LOOK_SECONDS)
            bar.update(_STEPS - bar.pos)
    except KeyboardInterrupt:
        click.echo("The same command goes on with what is made", err=True)
        raise
    finally:
        stopping.set()
        worker.join()
    if faults:
        raise click.ClickException(f"{sentence(faults[0])}. The same command goes on with what is made")
    return view


def _work(house: House, id_: str, stopping: threading.Event, faults: list[Exception]) -> None:
    """Work on a job until it is done, or another process works on it. faults: what ends it."""
    from smarthouse_api.errors import Refused, StoreError

    try:
        while not stopping.is_set() and house.states.jobs.view(id_).state in ("waiting", "running"):
            if not house.states.jobs.maker.work(stopping.is_set, only=id_):
                stopping.wait(_LOOK_SECONDS)
    except (Refused, StoreError) as fault:
        faults.append(fault)


def _write(house: House, id_: str, file: Path) -> None:
    """Write the file of a job: under another name until it is whole. A file in its place is replaced, and its mode stays."""
    file = file.resolve()
    kept, partial = house.states.jobs.open(id_), file.with_name(f"{file.name}.part")
    if kept is None:
        return
    try:
        with partial.open("wb") as target:
            for chunk in kept.body():
                target.write(chunk)
        if file.exists():
            partial.chmod(S_IMODE(file.stat().st_mode))
        os.replace(partial, file)
    except OSError as fault:
        raise click.ClickException(f"{file}: {fault.strerror}") from None
    finally:
        kept.close()
        with suppress(FileNotFoundError):
            partial.unlink()


@click.group("jobs")
def group() -> None:
    """List and cancel export jobs."""


@group.command("list")
@json_lines_option
def list_(as_json: bool) -> None:
    """List the jobs that wait, run, or have a file, the oldest first."""
    with opened_shared_house() as house:
        views = answered(house.states.jobs.views)
    if as_json:
        for view in views:
            click.echo(msgspec.json.encode(view).decode())
        return
    echo_table(_HEADER, [_cells(view) for view in views])


@group.command()
@click.argument("job")
def cancel(job: str) -> None:
    """Cancel a job, and remove its file unless another job has the same. JOB: the id, see `jobs list`."""
    with opened_shared_house() as house:
        view = answered(lambda: house.states.jobs.cancel(job))
    click.echo(f"{view.id}: {view.state}")


def _cells(view: JobView) -> tuple[str, ...]:
    done = _NOTHING if view.fraction is None else f"{view.fraction:.0%}"
    at, expires = (None if one is None else datetime.fromtimestamp(one, UTC) for one in (view.created_at, view.expires_at))
    sizes = intcomma(view.rows), naturalsize(view.bytes)
    times = (_NOTHING if one is None else seconds_text(one) for one in (at, expires))
    return view.id, view.state, done, *sizes, ",".join(view.formats), *times
