"""`smarthouse backup`, `restore`, `copy` and `forgotten`: an installation as a whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from smarthouse_api.cli.open_house import answered, is_terminal, opened_house, opened_shared_house
from smarthouse_api.measures import size_text

if TYPE_CHECKING:
    from backends.ports import ObjectStore, StateStore
    from smarthouse_api.backups.lists import Listed

_ON_THIS_MACHINE = ("file://", "sqlite://")


@click.command()
@click.argument("place", metavar="DIR|URL")
def backup(place: str) -> None:
    """Make one consistent copy of the installation, while it is served.

    DIR: a folder. URL: of an object store, as SMARTHOUSE_OBJECTS_URL has it. A later backup into the same place copies only
    what is new, and replaces the one before when it is whole. It has all that `smarthouse restore --from` needs, and the
    installation's secret: keep it as safe as the installation.
    """
    with opened_shared_house() as house, _Progress() as progress:
        _refuse_inside(_url(place), house.settings.stores.data_dir)
        made = answered(lambda: house.backups.make(_place(place), progress.tell))
    click.echo(f"A whole backup: {made.files} files, {made.records} records of the state, {_bytes(made.size_bytes)}")
    click.echo(f"Copied now: {made.copied} files")
    if made.damaged:
        raise click.ClickException(
            f"{len(made.damaged)} files are damaged in the installation, such as {made.damaged[0]}; `smarthouse verify` says"
            " more. Of those that an earlier backup had, its copies stay in this one"
        )


@click.command()
@click.option("--from", "place", metavar="DIR|URL", help="The backup to restore, as `smarthouse backup` made it.")
@click.option("--replace", "is_replaced", is_flag=True, help="Replace what the stores hold, if it is the same installation.")
@click.option(
    "--keep-wal", "keeps_log", is_flag=True, help="A log that lies beside SQLite's file belongs to it, as after a crash."
)
@click.option(
    "--accept-losses",
    "is_accepted",
    is_flag=True,
    help="Without --from: erase homes that the state does not know, and go on with what is left of a log, without asking.",
)
@click.argument("lists", nargs=-1, type=click.File(encoding="utf-8-sig"), metavar="[LIST]...")
def restore(place: str | None, is_replaced: bool, keeps_log: bool, is_accepted: bool, lists: tuple[IO[str], ...]) -> None:
    """Restore a backup, and delete again what was deleted for good after it: homes, collections, streams, keys, old secrets.

    Without `--from`, prepare stores for service that were restored by other means, or whose state is older than the objects, as
    after a failover. It says what is lost, and asks. LIST: output of `smarthouse forgotten`, the newest that you have; `-` is
    standard input. First stop the service and its workers. Nothing is served until the command has ended well. Repeatable.
    """
    listed = _listed(lists)
    if is_replaced and place is None:
        raise click.UsageError("--replace goes with --from")
    if keeps_log and place is not None:
        raise click.UsageError("--keep-wal does not go with --from")
    if is_accepted and place is not None:
        raise click.UsageError("--accept-losses does not go with --from")
    with opened_shared_house(waits=True, keeps_log=keeps_log or place is not None) as house, _Progress() as progress:
        if keeps_log:
            _ask_for_the_log(house.state, is_accepted=is_accepted)
            answered(house.state.accept_leftovers)
        if place is None:
            done = answered(lambda: house.backups.restore(listed, lambda count: _ask_for(count, is_accepted=is_accepted)))
        else:
            backup_place = _backup_at(place)
            done = answered(
                lambda: house.backups.restore_from(backup_place, listed, is_replaced=is_replaced, told=progress.tell)
            )
    click.echo(
        f"Homes forgotten again: {done.forgotten}; unknown homes erased: {done.orphaned}; "
        f"collections deleted again: {done.collections}; streams: {done.streams}; keys revoked or rotated again: {done.keys}; "
        f"taken away again from projects, links and collections: {done.rights}; releases withdrawn again: {done.releases}"
    )
    if place is not None and not lists:
        click.echo(
            "Warning: no list was given. What was deleted for good after the backup is back, unless the stores still told of"
            " it; `smarthouse restore LIST` deletes it again",
            err=True,
        )


@click.command()
@click.option("--to-state", "state_url", metavar="URL", help="The other state store, as SMARTHOUSE_STATE_URL has it.")
@click.option("--to-objects", "objects_url", metavar="URL", help="The other object store, as SMARTHOUSE_OBJECTS_URL has it.")
@click.option("--keep", "is_kept", is_flag=True, help="Let the installation be served from its old stores too, afterwards.")
@click.option("--replace", "is_replaced", is_flag=True, help="The other stores may hold an older state of this installation.")
@click.option("--undo", is_flag=True, help="Copy nothing. Let the installation be served from its old stores again.")
def copy(state_url: str | None, objects_url: str | None, is_kept: bool, is_replaced: bool, undo: bool) -> None:
    """Copy the installation to other stores, such as from SQLite and files to Redis and MinIO, and compare the copy.

    First stop the service and its workers. Afterwards point the settings at the other stores: the old ones are not served any
    more. You may repeat the command.
    """
    with opened_shared_house(waits=True) as house, _Progress() as progress:
        if undo:
            answered(house.backups.undo_copy)
            click.echo("The installation can be served from these stores again")
            return
        if not state_url or not objects_url:
            raise click.UsageError("--to-state and --to-objects name the other stores")
        state, objects = _stores(state_url, objects_url)
        try:
            count = answered(
                lambda: house.backups.copy(state, objects, is_replaced=is_replaced, is_kept=is_kept, told=progress.tell)
            )
        finally:
            state.close()
            objects.close()
    click.echo(f"Copied and compared: {count} files and the state")


@click.command()
def forgotten() -> None:
    """Print a line for all that was ever deleted for good: homes, collections, streams, API keys and secrets. Likewise for the
    months that were released or withdrawn.

    Store the list beside every backup: `smarthouse restore` deletes again what it names. A line is the digest of a random key,
    or of a month, and names nobody. The first line names the installation, and the last one says that the list is whole.
    """
    from smarthouse_api.backups import lists

    with opened_house() as house:
        for line in lists.lines(answered(house.installation.check), answered(house.forgetting.noted)):
            click.echo(line)


def _ask_for_the_log(state: StateStore, *, is_accepted: bool) -> None:
    """Ask whether to go on without what is missing of the state's log. It is asked before a byte of it is read or removed."""
    from backends.ports import StoreDamaged

    try:
        state.check()
    except StoreDamaged as fault:
        _accept(
            f"{fault}. What was acknowledged last would be lost, and the data of homes that came then", is_accepted=is_accepted
        )


def _ask_for(count: int, *, is_accepted: bool) -> None:
    """Ask whether to erase so many homes and streams."""
    if count:
        _accept(
            f"The state does not know {count} homes or streams that there is data of: it is older than the objects. Their data"
            " would be erased for good. If there is a newer state, such as a log that was left out, put it back instead",
            is_accepted=is_accepted,
        )


def _accept(told: str, *, is_accepted: bool) -> None:
    """Ask whether to go on. A refusal ends the program, and so does a missing terminal."""
    if is_accepted:
        return
    if not is_terminal():
        raise click.ClickException(f"{told}. Nothing was changed. To go on, say --accept-losses")
    click.confirm(f"{told}. Go on?", abort=True, err=True)


def _listed(given: Iterable[IO[str]]) -> Listed:
    """Read the lists. One that is none, or is not whole, ends the program with a message."""
    from smarthouse_api.backups import lists

    try:
        return answered(lambda: lists.joined(map(lists.read, given)))
    except UnicodeDecodeError:
        raise click.ClickException("A list is no text; unpack it first, or make it anew by `smarthouse forgotten`") from None


def _place(given: str) -> ObjectStore:
    """Open the store of a backup. A URL that names none ends the program with a message."""
    from backends.registry import open_objects, refuse_misplaced

    store: ObjectStore = _opened(open_objects, _url(given))
    _opened(refuse_misplaced, _url(given))
    return store


def _refuse_inside(url: str, data_dir: str) -> None:
    """End the program if a backup would go with the folder that it is to outlive."""
    folder = url.removeprefix("file://")
    if folder != url and Path(folder).resolve().is_relative_to(Path(data_dir).resolve()):
        raise click.ClickException(
            f"{folder} is in the installation's own folder, SMARTHOUSE_DATA_DIR; choose a folder outside, best on another disk"
        )


def _backup_at(given: str) -> ObjectStore:
    """Open the place of a backup. One that holds none ends the program with a message that names it."""
    from backends.registry import shown
    from smarthouse_api.backups import manifest

    place = _place(given)
    if not answered(lambda: manifest.is_there(place)):
        raise click.ClickException(f"There is no backup in {shown(_url(given))}; say where `smarthouse backup` put it")
    return place


def _url(given: str) -> str:
    return given if "://" in given else f"file://{os.path.abspath(given)}"


def _stores(state_url: str, objects_url: str) -> tuple[StateStore, ObjectStore]:
    from backends.registry import open_objects, open_state, refuse_misplaced

    if "memory://" in (state_url, objects_url):
        raise click.UsageError("memory:// belongs to one process; choose other stores")
    stores = _opened(open_state, state_url), _opened(open_objects, objects_url)
    for url in (state_url, objects_url):
        _opened(refuse_misplaced, url)
    return stores


def _opened(open_store: Callable[[str], Any], url: str) -> Any:
    from backends.registry import shown

    try:
        return open_store(url)
    except ValueError as fault:
        raise click.ClickException(f"{shown(url)}: {fault}" if url.startswith(_ON_THIS_MACHINE) else str(fault)) from None


def _bytes(count: int) -> str:
    return size_text(count) if count < 1 << 20 else f"{count / (1 << 20):.0f} MiB"


class _Progress:
    """Shows a bar on a terminal for each thing that is done, and nothing elsewhere."""

    def __init__(self) -> None:
        self._what, self._done = "", 0
        self._bar: Any = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def tell(self, what: str, done: int, of: int) -> None:
        """Show that so much of something is done. of: 0 if nobody knows how much there is."""
        if not sys.stderr.isatty():
            return
        if what != self._what or done < self._done:
            self._end()
            self._what, self._done = what, 0
            if of:
                self._bar = click.progressbar(length=of, label=what, file=sys.stderr)
                self._bar.__enter__()
            else:
                click.echo(what, err=True)
        if self._bar is not None:
            self._bar.update(done - self._done)
            self._done = done

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
