"""The house that a command works on; a fault ends the command with a message instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar, cast

import click

if TYPE_CHECKING:
    from config.groups import StoreSettings
    from smarthouse_api.collections.model import Collection
    from smarthouse_api.house import House

Answer = TypeVar("Answer")
STOPPED = 130
"""The exit code of a command that Ctrl-C stopped."""
_stores: ContextVar[StoreSettings | None] = ContextVar("stores", default=None)
"""The stores that a command works on, for what it says of a fault."""

_AS_FOR_THE_SERVICE = "set SMARTHOUSE_DATA_DIR, or the URLs of the stores, as for the service"


@contextmanager
def opened_house(
    *, begins: bool = False, waits: bool = False, keeps_log: bool = True, makes_jobs: bool = False
) -> Iterator[House]:
    """Open the house that the environment's settings describe. A fault in the settings ends the program with a message, and so
    do stores that do not belong together.

    begins: in empty stores, offer to make a new installation. waits: leave it to the command to settle with the stores.
    keeps_log: otherwise end the program if a log lies beside the state's file, before it is read into it. makes_jobs: let other
    processes help with export jobs.
    """
    # Here, so that `--help` is quick, and the environment is set before Arrow is imported.
    from backends.registry import faults
    from config.settings import Settings, SettingsError
    from smarthouse_api.house import House
    from smarthouse_api.serving.logs import log_to_stderr

    try:
        settings = Settings.from_env(None, faults)
        house = House(settings, may_begin=False)
    except SettingsError as fault:
        raise click.ClickException(str(fault)) from None
    if not keeps_log and (left := house.state.leftovers()):
        raise click.ClickException(
            f"{', '.join(left)} would be read into the state. If the service runs, stop it first. If you put back the"
            " state's file from a backup, remove this log. If both are of the same moment, as after a crash, say --keep-wal"
        )
    log_to_stderr(settings.server.log_level, settings.server.log_format)
    if makes_jobs:
        house.part_jobs()  # it forks, and so comes before any thread and any connection
    _stores.set(settings.stores)
    try:
        if not waits:
            _settle(house, begins=begins)
        yield house
    finally:
        house.close()


def _refuse_unfit(house: House) -> None:
    """End the program if the set-up of a store breaks a promise. This writes to both: call it once they are the right ones."""
    from backends.registry import unfit

    if told := unfit(house.settings.stores):
        raise click.ClickException("\n".join(told))


def _settle(house: House, *, begins: bool) -> None:
    from backends.ports import StoreError, StoreUnfit
    from backends.registry import kind, shown
    from smarthouse_api.coordination.installation import NoInstallation

    try:
        house.installation.settle()
        _refuse_unfit(house)
    except NoInstallation:
        stores = house.settings.stores
        missing = answered(house.objects.missing) if kind(stores.objects_url) == "minio" else None
        empty = f"Both stores are empty: {shown(stores.state_url)} and {shown(stores.objects_url)}"
        empty = empty if missing is None else f"{missing[:1].upper()}{missing[1:]}. {empty}"
        if begins:
            _allow(empty)
            _refuse_unfit(house)
            answered(house.installation.begin)
        else:
            raise click.ClickException(f"{empty}; {_AS_FOR_THE_SERVICE}") from None
    except StoreUnfit as fault:
        raise click.ClickException(_with_stores(str(fault))) from None
    except StoreError as fault:
        # One store may be enough for the command. If the state store is empty, nobody can tell whose the other one is.
        if not answered(house.installation.is_there):
            raise click.ClickException(f"The state store is empty, and the object store fails: {sentence(fault)}") from None


def tell_if_empty(house: House) -> None:
    """Tell on standard error that a worker waits for an installation, and where: its settings may be wrong.

    Ends the program if nothing can ever be stored there by this user.
    """
    from backends.ports import StoreError
    from backends.registry import unwritable
    from smarthouse_api.coordination.installation import NoInstallation

    try:
        house.installation.settle()
    except NoInstallation:
        if faults := unwritable(house.settings.stores):
            raise click.ClickException("\n".join(faults)) from None
        told = _with_stores("Both stores are empty: this worker waits until the service makes an installation there")
        click.echo(f"Warning: {told}", err=True)
    except StoreError:
        pass  # the log says so


def _allow(empty: str) -> None:
    """Ask whether to make a new installation in empty stores. A refusal ends the program, and so does a missing terminal."""
    context = click.get_current_context(silent=True)
    if context is not None and context.find_root().params.get("new"):
        return
    if not is_terminal():
        raise click.ClickException(
            f"{empty}; {_AS_FOR_THE_SERVICE}. To make a new installation there, say `smarthouse --new ...`"
        )
    click.confirm(f"{empty}. Make a new installation there?", abort=True, err=True)


@contextmanager
def opened_shared_house(
    *, begins: bool = False, waits: bool = False, keeps_log: bool = True, makes_jobs: bool = False
) -> Iterator[House]:
    """Open the house for a command whose work the service is to see. A state store in memory ends the program.

    begins, waits, keeps_log, makes_jobs: as for `opened_house`.
    """
    with opened_house(begins=begins, waits=True, keeps_log=keeps_log, makes_jobs=makes_jobs) as house:
        if house.settings.stores.state_url.startswith("memory:"):
            raise click.ClickException(
                "SMARTHOUSE_STATE_URL: memory:// belongs to one process, so the service would not see the change;"
                " choose another store for both"
            )
        if not waits:
            _settle(house, begins=begins)
        yield house


@contextmanager
def opened_collection(name: str) -> Iterator[tuple[House, Collection]]:
    """Open the house for a command about one collection, by its id or alias. One that does not exist ends the program."""
    with opened_shared_house() as house:
        yield house, answered(lambda: house.collections.catalogue.find(name))


def is_terminal() -> bool:
    """Tell whether somebody is there to be asked."""
    return sys.stdin.isatty()


def answered(ask: Callable[[], Answer]) -> Answer:
    """Ask the house. A refusal, or a store that fails, ends the program with a message."""
    from smarthouse_api.errors import Refused, StoreError

    try:
        return ask()
    except (Refused, StoreError) as fault:
        raise click.ClickException(sentence(fault)) from None


def streamed(answers: Iterator[Answer]) -> Iterator[Answer]:
    """Give what the house gives one after another, as `answered` gives one."""
    nothing = object()
    while (one := answered(lambda: next(answers, nothing))) is not nothing:
        yield cast(Answer, one)


def sentence(fault: Exception) -> str:
    """Write a fault as people read it. That of a store names both stores, since the settings may be wrong."""
    from smarthouse_api.errors import StoreError

    told = str(fault) or "The store failed; its log may say why"
    told = told if told.split(" ", 1)[0].endswith(":") else told[:1].upper() + told[1:]  # which may be a parameter's name
    return _with_stores(told) if isinstance(fault, StoreError) else told


def _with_stores(told: str) -> str:
    """Add which stores the command works on: the settings may be wrong."""
    from backends.registry import shown

    if (stores := _stores.get()) is None:
        return told
    return (
        f"{told.rstrip('.')}. The stores are {shown(stores.state_url)} and {shown(stores.objects_url)}; {_AS_FOR_THE_SERVICE}"
    )
