"""`smarthouse ...`: what an operator does besides serving. The settings are the service's own, `SMARTHOUSE_*` variables."""

from __future__ import annotations

import os
import re
import signal
import threading
from typing import IO, Any

import click

from smarthouse_api.cli import collections, homes, importing, keys, vocabulary
from smarthouse_api.cli.open_house import answered, opened_house

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@click.group()
@click.version_option(package_name="smarthouse-api", prog_name="smarthouse")
def main() -> None:
    """Operate a SmartHouse API installation. Settings come from the environment, as for the service."""
    # As config/gunicorn.py does: the data is the homes', and Arrow's own allocator keeps what it is done with.
    os.umask(0o077)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


@main.command()
def worker() -> None:
    """Do the housekeeping until SIGTERM or Ctrl-C: curate uploads, compact the lake, seal packets, erase forgotten homes.

    Run any number, on any machine. One works at a time; if it dies, another takes over.
    """
    with opened_house() as house:

        def stop(*_: Any) -> None:
            # In a thread: the signal may have come while this one holds the lock that asking needs.
            threading.Thread(target=house.housekeeper.ask_to_stop).start()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        house.housekeeper.run(announced=True)


@main.command()
def forgotten() -> None:
    """Print one line for each home that was ever forgotten. Store the list beside every backup.

    A line is the digest of a random key and names nobody. `smarthouse restore` reads the list.
    """
    with opened_house() as house:
        for digest in sorted(answered(house.forgetting.noted)):
            click.echo(digest)


@main.command()
@click.argument("lists", nargs=-1, type=click.File(encoding="utf-8"), metavar="[LIST]...")
def restore(lists: tuple[IO[str], ...]) -> None:
    """Prepare a restored backup for service: forget again every home that was forgotten after the backup.

    LIST: output of `smarthouse forgotten`, the newest that you have; `-` is standard input. First stop the service and its
    workers. You may repeat the command.
    """
    digests = {line.strip() for one in lists for line in one if line.strip()}
    if faulty := [digest for digest in sorted(digests) if not _DIGEST.fullmatch(digest)]:
        raise click.ClickException(
            f"{len(faulty)} lines are not from `smarthouse forgotten`; a line must have 64 hexadecimal digits"
        )
    with opened_house() as house:
        if answered(house.housekeeper.present):
            raise click.ClickException("A worker runs; stop all workers and the service, wait some seconds, and repeat this")
        done = answered(lambda: house.restoring.restore(digests))
    click.echo(f"Homes forgotten again: {done.forgotten}; unknown homes erased: {done.orphaned}")


main.add_command(keys.group)
main.add_command(homes.group)
main.add_command(collections.group)
main.add_command(vocabulary.command)
main.add_command(importing.command)
