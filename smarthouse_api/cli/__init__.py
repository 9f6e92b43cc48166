"""`smarthouse ...`: what an operator does besides serving. The settings are the service's own, `SMARTHOUSE_*` variables."""

from __future__ import annotations

import os
import re
import signal
import threading
from typing import IO, Any

import click

from smarthouse_api.cli import collections, homes, keys
from smarthouse_api.cli.open_house import answered, opened_house

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@click.group()
def main() -> None:
    """Operate a SmartHouse API installation. Settings come from the environment, as for the service."""
    # As config/gunicorn.py does: the data is the homes', and Arrow's own allocator keeps what it is done with.
    os.umask(0o077)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


@main.command()
def worker() -> None:
    """Curate uploads, compact the lake, move packets into objects, erase forgotten homes, until SIGTERM or Ctrl-C.

    Run as many as you like, on any machine: one works at a time, and another takes over when it dies.
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
    """Print a line for each home that was ever forgotten, to be kept with every backup.

    A line names nobody: it is the digest of a random key. `smarthouse restore` reads it.
    """
    with opened_house() as house:
        for digest in sorted(answered(house.forgetting.noted)):
            click.echo(digest)


@main.command()
@click.argument("lists", nargs=-1, type=click.File(encoding="utf-8"), metavar="[LIST]...")
def restore(lists: tuple[IO[str], ...]) -> None:
    """Make a restored backup fit to be served: forget again every home that was forgotten since.

    LIST: what `smarthouse forgotten` printed, the newer the better; `-` is the standard input. Stop the service and its workers
    before. It can be repeated.
    """
    digests = {line.strip() for one in lists for line in one if line.strip()}
    if faulty := [digest for digest in sorted(digests) if not _DIGEST.fullmatch(digest)]:
        raise click.ClickException(f"{len(faulty)} lines are not of `smarthouse forgotten`: 64 hexadecimal digits each")
    with opened_house() as house:
        if answered(house.housekeeper.present):
            raise click.ClickException("A worker runs; stop all workers and the service, wait some seconds, and repeat this")
        done = answered(lambda: house.restoring.restore(digests))
    click.echo(f"{done.forgotten} homes were forgotten again, {done.orphaned} without a name were erased")


main.add_command(keys.group)
main.add_command(homes.group)
main.add_command(collections.group)
