"""`smarthouse rebuild`: the lake is made again from what is kept outside of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING

import click

from smarthouse_api.cli.open_house import answered, opened_shared_house
from smarthouse_api.errors import Unavailable

if TYPE_CHECKING:
    from smarthouse_api.house import House

_DAY = click.DateTime(["%Y-%m-%d"])
_LOOK_SECONDS = 0.5
_NEEDED = ("homes", "lake", "installation")
_MADE_AGAIN = ("head/", "file/")
"""Records of the lake that go with it when all of it is made again."""


@click.command("rebuild")
@click.option("--from", "since", type=_DAY, help="First UTC day, such as 2026-03-01. Without days: everything.")
@click.option("--to", "until", type=_DAY, help="Last UTC day, inclusive.")
@click.option("--wait/--no-wait", default=None, help="Wait until it is done. The default on a terminal.")
@click.option("--despite-damage", is_flag=True, help="Remove rows from the lake though their raw upload is damaged or missing.")
@click.option("--despite-expiry", is_flag=True, help="Remove rows from the lake though their raw upload has expired.")
@click.option(
    "--accept-losses", is_flag=True, help="Only tell no more of rows, records and raw uploads that are lost for good."
)
@click.option("--withdraw", is_flag=True, help="Only end what was asked for: nothing more is removed, and exports go on.")
def command(
    since: datetime | None,
    until: datetime | None,
    wait: bool | None,
    despite_damage: bool,
    despite_expiry: bool,
    accept_losses: bool,
    withdraw: bool,
) -> None:
    """Make states and statistics in the lake again from raw uploads, while the service runs.

    Use it if readiness says that the lake is damaged or behind. The service and its workers do the work: one of them must run.
    Exports of these days answer 503 until it is done. Late rows lie by months, so whole months may be made again.

    Damaged documents of the state are made again first. Then all raw uploads are read: the lake may hold the last copy of rows
    whose upload is damaged. Days whose uploads have expired are refused, because they cannot be made wholly again.
    """
    first, last = _date(since), _date(until)
    if first and last and first > last:
        raise click.ClickException("--from: must not be after --to")
    with opened_shared_house() as house:
        if accept_losses:
            both = house.states.rebuilding.repairs, house.collections.chores.rebuilding.repairs
            count = sum(answered(repairs.accept_losses) for repairs in both)
            uploads = answered(house.states.uploads.healing.accept_losses)
            click.echo(f"Losses that are accepted: {count} of files and topics, {uploads} raw uploads")
            return
        if withdraw:
            click.echo(f"Requests withdrawn: {answered(house.states.rebuilding.withdraw)}. Exports say what they lack.")
            return
        with _saying("Nothing was asked for"):
            answered(lambda: _mend(house, is_all=first is None and last is None, despite_damage=despite_damage))
            if not despite_damage and (lost := len(answered(lambda: list(house.states.rebuilding.at_risk())))):
                raise click.ClickException(
                    f"{lost} raw uploads are damaged or missing, and their rows in the lake would be lost; see `smarthouse"
                    " verify`. Send these uploads again, restore their objects, or add --despite-damage"
                )
            repair = answered(lambda: house.states.rebuilding.plan(first, last, accepts_loss=despite_expiry))
        with _saying("Nobody knows whether it was asked for; to repeat the command does no harm"):
            answered(lambda: house.states.rebuilding.repairs.add(repair))
        is_all = not repair.places
        asked = "everything" if is_all else f"{first or 'the first day'} to {last or 'the last day'}"
        click.echo(f"Asked for: {asked}. The service's housekeeping makes it again.")
        if is_all:
            _ask_for_collections(house)
        if sys.stderr.isatty() if wait is None else wait:
            with _saying("What was asked for is made again without this command"):
                _wait(house, repair.id, with_collections=is_all)


def _mend(house: House, *, is_all: bool, despite_damage: bool) -> None:
    """Mend what can be mended of the state. Raises `Unavailable` if the lake cannot be made again without the rest."""
    left = house.mending.mend_all()
    if despite_damage:
        house.states.mending.drop_receipts(part for part in left if (part.space, part.name[:7]) == ("homes", "upload/"))
        left = house.mending.mend_all() if left else left
    needed = [part for part in left if part.space in _NEEDED and not (is_all and part.name.startswith(_MADE_AGAIN))]
    if needed:
        raise Unavailable(
            f"Documents and log entries of the state that are damaged, that are needed for it, and that cannot be made again:"
            f" {len(needed)}, such as {needed[0].full_name}; `smarthouse verify` names them all. Restore a backup. For"
            " a receipt, homes/upload/..., send the same upload again, or add --despite-damage"
        )
    if not is_all:
        house.states.rebuilding.check_tables()


def _ask_for_collections(house: House) -> None:
    with _saying("The table of collections was not looked at: repeat the command"):
        is_damaged = answered(house.collections.chores.rebuilding.ask)
    if is_damaged:
        click.echo("The table of collections is damaged too. It is made again from its files and topics; the log names losses.")


def _wait(house: House, repair: str, *, with_collections: bool) -> None:
    told = ""
    while (progress := answered(lambda: _progress(house, repair, with_collections=with_collections))) is not None:
        if progress != told:
            click.echo(progress, err=True)
        told = progress
        time.sleep(_LOOK_SECONDS)
    click.echo("Done")
    if with_collections and (lost := answered(house.collections.chores.rebuilding.repairs.lost)):
        click.echo(f"Files of collections whose records are lost for good: {len(lost)}; see `smarthouse verify`")


def _progress(house: House, repair: str, *, with_collections: bool) -> str | None:
    if (progress := house.states.rebuilding.progress(repair)) is not None:
        return progress
    left = house.collections.chores.rebuilding.repairs.unfinished() if with_collections else []
    return f"being made again, of collections: {'; '.join(left[:3])}" if left else None


@contextmanager
def _saying(more: str) -> Iterator[None]:
    """Add to the words of a fault what was asked for by then."""
    try:
        yield
    except click.ClickException as fault:
        raise click.ClickException(f"{fault.message}. {more}") from None


def _date(given: datetime | None) -> date | None:
    return None if given is None else given.date()
