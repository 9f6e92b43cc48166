"""`smarthouse ...`: what an operator does besides serving. The settings are the service's own, `SMARTHOUSE_*` variables."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import click

from config.groups import ServerSettings
from smarthouse_api.cli import (
    backups,
    collections,
    downloads,
    erasure,
    exporting,
    homes,
    importing,
    keys,
    migrating,
    publishing,
    rebuilding,
    releases,
    status,
    verify,
    vocabulary,
)
from smarthouse_api.cli.open_house import STOPPED, opened_house, tell_if_empty


class _Commands(click.Group):
    """Ends a command that Ctrl-C stops with one line, as shells expect it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Stopped", err=True)
            ctx.exit(STOPPED)


@click.group(cls=_Commands)
@click.version_option(package_name="smarthouse-api", prog_name="smarthouse")
@click.option("--new", is_flag=True, help="Make a new installation if both stores are empty, without asking.")
def main(new: bool) -> None:
    """Operate a SmartHouse API installation. Settings come from the environment, as for the service."""
    # As config/gunicorn.py does: the data is the homes', and Arrow's own allocator keeps what it is done with.
    os.umask(0o077)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


@main.command()
def worker() -> None:
    """Do the housekeeping until SIGTERM or Ctrl-C: curate uploads, compact the lake, seal packets, erase forgotten homes.

    Run any number, on any machine. One works at a time; if it dies, another takes over.
    """
    with opened_house(waits=True, makes_jobs=True) as house:

        def stop(*_: Any) -> None:
            # In a thread: the signal may have come while this one holds the lock that asking needs.
            threading.Thread(target=house.housekeeper.ask_to_stop).start()

        _serve_metrics(house.settings.server)
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        tell_if_empty(house)
        house.kind = "worker"
        house.watch.start()
        house.housekeeper.run(announced=True)


def _serve_metrics(settings: ServerSettings) -> None:
    """Serve this worker's own metrics, if they have a port. A port that is taken ends the program."""
    if settings.metrics_port:
        from prometheus_client import start_http_server

        try:
            start_http_server(settings.metrics_port, settings.metrics_host)
        except OSError as fault:
            address = f"{settings.metrics_host}:{settings.metrics_port}"
            raise click.ClickException(f"No metrics can be served at {address}: {fault.strerror}") from None


for command in (backups.backup, backups.restore, backups.copy, backups.forgotten):
    main.add_command(command)
main.add_command(keys.group)
main.add_command(homes.group)
main.add_command(collections.group)
main.add_command(erasure.group)
main.add_command(vocabulary.command)
main.add_command(importing.command)
main.add_command(exporting.command)
main.add_command(exporting.group)
main.add_command(downloads.command)
main.add_command(releases.group)
main.add_command(publishing.group)
main.add_command(migrating.command)
main.add_command(rebuilding.command)
main.add_command(status.command)
main.add_command(verify.command)
