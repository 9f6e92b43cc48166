"""`smarthouse publish ckan`: the lake as a dataset of a CKAN portal, kept up to date by the same command."""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final

import click
from humanize import intcomma

from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.cli.exporting import made, selected, selection_options
from smarthouse_api.cli.open_house import answered, opened_shared_house
from smarthouse_api.recorder.faults import ImportFault
from smarthouse_api.recorder.service import address, is_readable_on_the_way
from smarthouse_api.version import own_version

if TYPE_CHECKING:
    from smarthouse_api.house import House
    from smarthouse_api.publishing.pieces import Piece
    from smarthouse_api.publishing.publication import Made, Publication, Told
    from smarthouse_api.states.aggregates.asked import Aggregation
    from smarthouse_api.states.query import Filters

_ATTEMPTS: Final = 4
_PAUSE_SECONDS: Final = 2.0
_IN_MEMORY_BYTES: Final = 8 << 20
_NAME: Final = re.compile(r"[a-z0-9_-]{2,100}", re.ASCII)


@click.group("publish")
def group() -> None:
    """Publish the lake on an open-data portal."""


@group.command()
@click.option("--url", required=True, help="Address of the portal, such as https://data.example.org.")
@click.option(
    "--token-file", type=click.File(encoding="utf-8"), required=True, help="File with an API token. `-` is standard input."
)
@click.option("--name", default="smart-home-states", show_default=True, help="Name of the dataset in the portal's addresses.")
@click.option("--title", help="Title of the dataset.")
@click.option("--organization", help="The organization that the dataset belongs to, by its name or id.")
@click.option(
    "--private/--public", default=False, help="Who sees it: the organization only, or everybody. The default is everybody."
)
@click.option("--format", "formats", type=click.Choice(list(FORMATS)), multiple=True, help="Repeatable. The default is csv.")
@click.option(
    "--pieces",
    type=click.Choice(["month", "day", "whole"]),
    default="month",
    show_default=True,
    help="How much one file holds. Only files that have changed are sent again.",
)
@selection_options
def ckan(
    url: str,
    token_file: IO[str],
    name: str,
    title: str | None,
    organization: str | None,
    private: bool,
    formats: tuple[str, ...],
    pieces: str,
    **options: Any,
) -> None:
    """Create or update one dataset of a CKAN portal.

    Run it again, as from cron, and the portal has what the lake has: files that have changed are sent, the rows of forgotten
    homes go, and the others stay as they are. If it is stopped, the same command goes on.
    """
    from smarthouse_api.publishing import publication
    from smarthouse_api.publishing.ckan import Portal
    from smarthouse_api.states.export.licences import licence

    portal_url, token = _address(url), _token(token_file)
    filters, aggregation = selected(**options)
    if aggregation is not None and aggregation.figures:
        raise click.UsageError("--layout wide gives each file columns of its own; publish the long layout")
    if filters.time_field != "updated" and pieces != "whole":
        raise click.UsageError("--time-field other than updated goes with --pieces whole: pieces go by a row's own time")
    if not _NAME.fullmatch(name):
        raise click.UsageError("--name must be 2 to 100 of a-z, 0-9, - and _")
    chosen = {
        "private": private,
        **({"title": title} if title else {}),
        **({"owner_org": organization} if organization else {}),
    }
    named = tuple(dict.fromkeys(formats)) or ("csv",)
    with opened_shared_house() as house, closing(Portal(portal_url, token)) as portal:
        if house.settings.exports.privacy == "raw":
            raise click.ClickException(
                "SMARTHOUSE_EXPORT_PRIVACY=raw gives rows as uploaded, to administrators' keys alone; standard and strict can"
                " be published"
            )
        basis, days = answered(lambda: _lake(house, filters, aggregation))
        terms = licence(house.settings.exports.license).url
        publishing = publication.Publication(portal, name, answered(house.installation.check), basis, chosen, terms)
        told = _publish(house, publishing, named, pieces, filters, aggregation, days)
    files = f"{told.sent} files sent, {told.kept} unchanged, {told.removed} removed"
    click.echo(f"{portal_url}/dataset/{name}: {intcomma(told.rows)} rows; {files}")


def _publish(
    house: House,
    publishing: Publication,
    formats: tuple[str, ...],
    length: str,
    filters: Filters,
    aggregation: Aggregation | None,
    days: list[date],
) -> Told:
    """Publish; if the portal is away for a moment, go on after a pause."""
    from smarthouse_api.publishing.faults import PortalAway, PublishingFault
    from smarthouse_api.publishing.pieces import pieces
    from smarthouse_api.states.aggregates.asked import HOLDS
    from smarthouse_api.states.export.columns import AGGREGATE_COLUMNS, COLUMNS
    from smarthouse_api.states.export.metadata import Extract

    now = datetime.now(UTC)
    extract = Extract(
        id=hashlib.sha256(f"{publishing.name} {now.isoformat()}".encode()).hexdigest()[:32],
        generated_at=now,
        rows=0,
        filters=filters,
        settings=house.settings.exports,
        is_open=house.states.exports.is_open,
        aggregation=aggregation,
        columns=COLUMNS if aggregation is None else AGGREGATE_COLUMNS,
    )
    if aggregation is not None and days:  # a state is held beyond its day
        held = timedelta(microseconds=HOLDS[aggregation.hold])
        days = [days[0] + timedelta(number) for number in range((days[-1] + held - days[0]).days + 1)]
    wanted = list(pieces(filters, formats, length, days))
    for attempt in range(_ATTEMPTS):
        try:
            return publishing.publish(wanted, _maker(house, aggregation), extract)
        except PortalAway as fault:
            if attempt + 1 == _ATTEMPTS:
                raise click.ClickException(f"{fault}. The same command goes on") from None
            click.echo(f"{fault}; trying again", err=True)
            time.sleep(_PAUSE_SECONDS * 2**attempt)
        except PublishingFault as fault:
            raise click.ClickException(str(fault)) from None
    raise AssertionError("the last attempt returns or raises")


def _lake(house: House, filters: Filters, aggregation: Aggregation | None) -> tuple[str, list[date]]:
    """Bring what waits into the lake. Name all that decides the files, and list the days of the rows that pass the filters."""
    house.states.chores.flush()
    exports = house.states.exports
    statistics = exports.mark_of_statistics(exports.newest_statistics(aggregation))
    with house.states.contents.open() as opened:
        basis = f"{opened.tag}\0{statistics}\0{aggregation}\0{own_version()}"
        return basis, sorted(opened.select(filters).by_day())


def _maker(house: House, aggregation: Aggregation | None) -> Callable[[Piece], Any]:
    jobs = house.states.jobs

    @contextmanager
    def make(piece: Piece) -> Iterator[Made | None]:
        asked = partial(jobs.request, metadata=False, fresh=False, aggregation=aggregation, is_bare=True)
        request = answered(lambda: asked(piece.filters, (piece.format,)))
        click.echo(piece.name, err=True)
        view = made(house, request)
        try:
            if view.state != "done":
                raise click.ClickException(view.told or "The export was cancelled")
            if not view.has_file:
                yield None
                return
            with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:
                yield answered(lambda: _copied(house, view.id, piece.name, file))
        finally:
            with suppress(Exception):  # it would expire by itself
                jobs.cancel(view.id)

    return make


def _copied(house: House, id_: str, name: str, target: IO[bytes]) -> Made | None:
    """Copy the file of a job, and tell of it."""
    from smarthouse_api.arrow.times import time_of
    from smarthouse_api.publishing.publication import Made
    from smarthouse_api.states.export.archive import Written

    digest = hashlib.sha256()
    if (kept := house.states.jobs.open(id_)) is None:
        return None
    with closing(kept):
        for chunk in kept.body():
            target.write(chunk)
            digest.update(chunk)
        first, last = (None if at is None else time_of(at) for at in (kept.first_us, kept.last_us))
        written = Written(name, kept.size_bytes, digest.hexdigest())
        target.seek(0)
        return Made(target, written, kept.version, kept.rows, first, last, kept.incomplete)


def _address(given: str) -> str:
    try:
        found = address(given).removesuffix("/api/ingest/data")
    except ImportFault:
        raise click.UsageError("--url must be the portal's address, such as https://data.example.org") from None
    if is_readable_on_the_way(found):
        click.echo(f"Warning: {found} is not encrypted; others on the network can read the token", err=True)
    return found


def _token(file: IO[str]) -> str:
    token = file.read(4096).strip()
    if not token or not token.isascii() or not token.isprintable():
        raise click.UsageError("--token-file must hold an API token and nothing else")
    return token
