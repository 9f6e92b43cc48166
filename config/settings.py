"""Read all settings of the service from the environment, and check that they go together.

`SMARTHOUSE_ENV` picks a preset, single settings override it, and all faults are reported together, by name.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

from marshmallow import EXCLUDE, Schema, ValidationError

from config import groups

PREFIX = "SMARTHOUSE_"
_ENGINE = re.compile(r"sc://[^\s/:;?#@]+(:[0-9]+)?(/|$)|sc://\[[0-9A-Fa-f:.]+\](:[0-9]+)?(/|$)")

StoreRule = Callable[[groups.StoreSettings], list[str]]
"""Check the stores: a line for each fault."""


class SettingsError(Exception):
    """Says that the environment does not make a working configuration; the message names every fault."""


@dataclass(frozen=True)
class Settings:
    """Holds the configuration of one process, group by group."""

    server: groups.ServerSettings = field(default_factory=groups.ServerSettings)
    origins: groups.OriginSettings = field(default_factory=groups.OriginSettings)
    stores: groups.StoreSettings = field(default_factory=groups.StoreSettings)
    requests: groups.RequestSettings = field(default_factory=groups.RequestSettings)
    access: groups.AccessSettings = field(default_factory=groups.AccessSettings)
    exports: groups.ExportSettings = field(default_factory=groups.ExportSettings)
    jobs: groups.JobSettings = field(default_factory=groups.JobSettings)
    streams: groups.StreamSettings = field(default_factory=groups.StreamSettings)
    collections: groups.CollectionSettings = field(default_factory=groups.CollectionSettings)
    lake: groups.LakeSettings = field(default_factory=groups.LakeSettings)
    growth: groups.GrowthSettings = field(default_factory=groups.GrowthSettings)
    consents: groups.ConsentSettings = field(default_factory=groups.ConsentSettings)
    archives: groups.ArchiveSettings = field(default_factory=groups.ArchiveSettings)
    forgetting: groups.ForgettingSettings = field(default_factory=groups.ForgettingSettings)
    receipts: groups.ReceiptSettings = field(default_factory=groups.ReceiptSettings)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *rules: StoreRule) -> Settings:
        """Read the `SMARTHOUSE_*` variables (from `os.environ` unless given) and check them, by the caller's own rules too.

        Raises `SettingsError` with one line for each fault: an unknown name, a value of the wrong kind, a missing URL, or
        settings that do not go together.
        """
        environ = os.environ if environ is None else environ
        given = {name.removeprefix(PREFIX).lower(): text for name, text in environ.items() if name.startswith(PREFIX)}
        faults = [*_unknown_names(given)]
        schema = Schema.from_dict({name: one.field.metadata["field"] for name, one in variables().items()})
        try:
            values = schema(unknown=EXCLUDE).load(given)
        except ValidationError as error:
            faults += [f"{PREFIX}{name.upper()}: {' '.join(told)}" for name, told in error.messages_dict.items()]
            values = {name: value for name, value in dict(error.valid_data or {}).items() if name not in error.messages_dict}
        preset = PRESETS.get(values.get("env", "embedded"), {})
        settings = cls()._with({**preset, **values})._placed()
        faults += _contradictions(settings)
        faults += [fault for rule in rules for fault in rule(settings.stores)]
        if faults:
            raise SettingsError("The configuration has faults:\n" + "\n".join(f"  {fault}" for fault in faults))
        return settings

    def _with(self, values: Mapping[str, Any]) -> Settings:
        """Copy the settings with other values, by the names of `variables`."""
        changed: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            variable = variables()[name]
            changed.setdefault(variable.group, {})[variable.field.name] = value
        groups = {name: dataclasses.replace(getattr(self, name), **members) for name, members in changed.items()}
        return dataclasses.replace(self, **groups)

    def _placed(self) -> Settings:
        """Copy the settings with `{data_dir}` filled into the URLs."""
        urls = {name: getattr(self.stores, name).replace("{data_dir}", self.stores.data_dir) for name in STORE_URLS}
        return dataclasses.replace(self, stores=dataclasses.replace(self.stores, **urls))


class Variable(NamedTuple):
    """Locates one setting: the name of its group in `Settings`, and its field there."""

    group: str
    field: dataclasses.Field[Any]

    def of(self, settings: Settings) -> Any:
        return getattr(getattr(settings, self.group), self.field.name)


STORE_URLS = ("state_url", "objects_url")

PRESETS: dict[str, dict[str, Any]] = {
    "development": {
        "state_url": "memory://",
        "objects_url": "memory://",
        "workers": 1,
        "reload": True,
        "log_level": "debug",
    },
    "embedded": {},
    "production": {
        "state_url": "",
        "objects_url": "",
        "workers": 4,
        "ingest_strict": True,
        "housekeeping": "worker",
        "curate_interval_seconds": 2.0,
        "purge_delay_seconds": 60.0,
        "demo": False,
    },
}
"""What each `SMARTHOUSE_ENV` changes from the defaults. Production has no default stores: it must be told."""


@cache
def variables() -> dict[str, Variable]:
    """List every setting, by its variable in small letters without `SMARTHOUSE_`."""
    found = {}
    for group in dataclasses.fields(Settings):
        kind: Any = group.default_factory
        for member in dataclasses.fields(kind):
            found[member.metadata["variable"] or kind.prefix + member.name] = Variable(group.name, member)
    return found


REPLACED = {"cors_origins": ("cors_ingest", "cors_export")}
"""Settings of earlier versions -> those that took their place."""


def _unknown_names(given: Mapping[str, str]) -> Iterator[str]:
    known = list(variables())
    for name in given:
        if name in REPLACED:
            instead = " and ".join(f"{PREFIX}{one.upper()}" for one in REPLACED[name])
            yield f"{PREFIX}{name.upper()}: this setting does not exist any more; use {instead}"
        elif name not in known:
            hint = "".join(f"; did you mean {PREFIX}{one.upper()}?" for one in difflib.get_close_matches(name, known, 1))
            yield f"{PREFIX}{name.upper()}: no such setting{hint}"


def _contradictions(settings: Settings) -> Iterator[str]:
    """Report settings that do not go together, a line for each fault."""
    urls = {f"{PREFIX}{name.upper()}": getattr(settings.stores, name) for name in STORE_URLS}
    for name, url in urls.items():
        if not url:
            yield f"{name}: required with SMARTHOUSE_ENV={settings.server.env}"
    for name, url in urls.items():
        if url.startswith("memory:") and settings.server.workers != 1:
            yield f"{name}: memory:// is not shared between processes; set {PREFIX}WORKERS=1 or choose another store"
    body_bytes, engine = settings.requests.max_body_bytes, settings.lake.engine_url
    if settings.requests.max_decoded_bytes < body_bytes:
        yield f"{PREFIX}MAX_DECODED_BYTES: must be at least {PREFIX}MAX_BODY_BYTES ({body_bytes})"
    if engine != "embedded" and not _ENGINE.match(engine):
        yield f"{PREFIX}ENGINE_URL: no such engine; there are embedded, and sc://host:port for a Spark Connect endpoint"
    elif engine != "embedded" and find_spec("pyspark") is None:
        yield f"{PREFIX}ENGINE_URL: the client of Spark Connect is missing: pip install 'smarthouse-api[spark]'"
