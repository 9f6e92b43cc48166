"""Refusals in Obsrv's own words and codes, which its clients know."""

from __future__ import annotations

from smarthouse_api.errors import InUse, Invalid, NotFound


def unknown() -> NotFound:
    """Refuses data for a dataset that does not exist, or a reading of it."""
    return NotFound("Dataset with id not found", reason="DATASET_NOT_FOUND")


def unknown_to_describe(name: str) -> NotFound:
    """Refuses to describe a dataset that does not exist."""
    words = f"Dataset with the given dataset_id:{_shown(name)} not found"
    return NotFound(words, "NOT_FOUND", reason="DATASET_NOT_FOUND")


def unknown_to_change(name: str) -> NotFound:
    """Refuses to change a dataset that does not exist."""
    return NotFound(f"Dataset does not exists with id:{_shown(name)}", reason="DATASET_NOT_EXISTS")


def without_topic() -> NotFound:
    """Refuses data for a dataset that takes none."""
    return NotFound("Entry topic is not defined", reason="TOPIC_NOT_FOUND")


def nothing_to_change() -> Invalid:
    """Refuses an update that names no member."""
    words = "Provide at least one member besides dataset_id and version_key, to say what is to change"
    return Invalid(words, reason="DATASET_UPDATE_NO_FIELDS")


def outdated() -> InUse:
    """Refuses an update of a dataset that somebody changed since the client read it."""
    words = "The dataset was changed since it was read; read it again, and send its new version_key"
    return InUse(words, reason="DATASET_OUTDATED")


def alias_unnamed() -> Invalid:
    """Refuses to attach an alias without a name."""
    return Invalid("#properties/request/then/required should have required property 'alias_name'")


def alias_exists(alias: str) -> InUse:
    """Refuses to attach a second alias."""
    words = f"Dataset already has alias '{alias}' associated with it; detach it first"
    return InUse(words, reason="DATASET_ALIAS_EXISTS")


def alias_missing(dataset_id: str) -> NotFound:
    """Refuses to detach an alias from a dataset without one."""
    words = f"Dataset '{dataset_id}' does not have any alias associated with it"
    return NotFound(words, reason="DATASET_ALIAS_NOT_EXISTS")


def unknown_fields(names: list[str]) -> Invalid:
    """Refuses to tell members that no dataset has."""
    return Invalid(f"The specified fields [{','.join(names)[:100]}] in the dataset cannot be found.")


def _shown(name: str) -> str:
    """A name out of a path, which may hold what is no character."""
    return name[:100].encode(errors="replace").decode()
