"""What a command works on, and how it ends when that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from smarthouse_api.access.grants import Access
    from smarthouse_api.house import House

Answer = TypeVar("Answer")


@contextmanager
def opened_house() -> Iterator[House]:
    """The house of the environment's settings; a fault in them is told and ends the program."""
    # Here, so that `--help` is quick, and the environment is set before Arrow is imported.
    from backends.registry import faults, unfit
    from config.settings import Settings, SettingsError
    from smarthouse_api.house import House
    from smarthouse_api.serving.logs import log_to_stderr

    try:
        settings = Settings.from_env(None, faults)
        house = House.from_settings(settings)
    except SettingsError as fault:
        raise click.ClickException(str(fault)) from None
    if told := unfit(settings.stores):
        raise click.ClickException("\n".join(told))
    log_to_stderr(settings.server.log_level)
    try:
        yield house
    finally:
        house.close()


@contextmanager
def opened_shared_house() -> Iterator[House]:
    """The same; a state store that no other process sees is told and ends the program."""
    with opened_house() as house:
        if house.settings.stores.state_url.startswith("memory:"):
            raise click.ClickException(
                "SMARTHOUSE_STATE_URL: memory:// is gone with the process, so the service would not see the change;"
                " choose another store for both"
            )
        yield house


@contextmanager
def opened_access() -> Iterator[Access]:
    """The keys of that house."""
    with opened_shared_house() as house:
        yield house.access


def answered(ask: Callable[[], Answer]) -> Answer:
    """What `ask` gives; a store that fails is told and ends the program."""
    from smarthouse_api.errors import Refused, StoreError

    try:
        return ask()
    except (Refused, StoreError) as fault:
        raise click.ClickException(f"{type(fault).__name__}: {fault}") from None
