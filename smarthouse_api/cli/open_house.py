"""The house that a command works on; a fault ends the command with a message instead of a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from smarthouse_api.collections.model import Collection
    from smarthouse_api.house import House

Answer = TypeVar("Answer")


@contextmanager
def opened_house() -> Iterator[House]:
    """Open the house that the environment's settings describe. A fault in the settings ends the program with a message."""
    # Here, so that `--help` is quick, and the environment is set before Arrow is imported.
    from backends.ports import StoreError, StoreUnfit
    from backends.registry import faults, unfit
    from config.settings import Settings, SettingsError
    from smarthouse_api.house import House
    from smarthouse_api.serving.logs import log_to_stderr

    try:
        settings = Settings.from_env(None, faults)
        house = House(settings)
    except SettingsError as fault:
        raise click.ClickException(str(fault)) from None
    if told := unfit(settings.stores):
        raise click.ClickException("\n".join(told))
    log_to_stderr(settings.server.log_level)
    try:
        house.formats.settle()
    except StoreUnfit as fault:
        raise click.ClickException(str(fault)) from None
    except StoreError:
        pass  # the command says so, if it needs the store
    try:
        yield house
    finally:
        house.close()


@contextmanager
def opened_shared_house() -> Iterator[House]:
    """Open the house for a command whose work the service is to see. A state store in memory ends the program."""
    with opened_house() as house:
        if house.settings.stores.state_url.startswith("memory:"):
            raise click.ClickException(
                "SMARTHOUSE_STATE_URL: memory:// belongs to one process, so the service would not see the change;"
                " choose another store for both"
            )
        yield house


@contextmanager
def opened_collection(name: str) -> Iterator[tuple[House, Collection]]:
    """Open the house for a command about one collection, by its id or alias. One that does not exist ends the program."""
    with opened_shared_house() as house:
        yield house, answered(lambda: house.collections.catalogue.find(name))


def answered(ask: Callable[[], Answer]) -> Answer:
    """Ask the house. A refusal, or a store that fails, ends the program with a message."""
    from smarthouse_api.errors import Refused, StoreError

    try:
        return ask()
    except (Refused, StoreError) as fault:
        raise click.ClickException(f"{type(fault).__name__}: {fault}") from None
