"""Every setting of the service, in one frozen class: its environment variable, type, default and reason.

The variable is the field's name in capitals behind `SMARTHOUSE_`. `SMARTHOUSE_ENV` picks a preset, single settings
override it, and all faults are reported together, by name.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from limits import parse
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

PREFIX = "SMARTHOUSE_"
KIB, MIB = 1 << 10, 1 << 20
_ENGINE = re.compile(r"sc://[^\s/:;?#@]+(:[0-9]+)?(/|$)|sc://\[[0-9A-Fa-f:.]+\](:[0-9]+)?(/|$)")


Rule = Callable[["Settings"], list[str]]
"""What must hold between settings: gives a line for each fault."""


class SettingsError(Exception):
    """The environment does not make a working configuration; the message names every fault."""


class _Words(fields.String):
    """Text parted by commas, as a tuple."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        return tuple(word.strip() for word in text.split(",") if word.strip())


def _setting(field: fields.Field[Any], default: Any, doc: str, **options: Any) -> Any:
    return dataclasses.field(default=default, metadata={"field": field, "doc": doc}, **options)


def _text(default: str, doc: str, **options: Any) -> Any:
    return _setting(fields.String(**options), default, doc)


def _secret_url(default: str, doc: str) -> Any:
    """A URL that may hold a password, and so is not shown."""
    return _setting(fields.String(), default, doc, repr=False)


def _count(default: int, doc: str, minimum: int = 1) -> Any:
    return _setting(fields.Integer(validate=validate.Range(min=minimum)), default, doc)


def _seconds(default: float, doc: str, minimum: float = 0.0) -> Any:
    return _setting(fields.Float(validate=validate.Range(min=minimum)), default, doc)


def _switch(default: bool, doc: str) -> Any:
    return _setting(fields.Boolean(), default, doc)


def _choice(default: str, doc: str, *choices: str) -> Any:
    return _setting(fields.String(validate=validate.OneOf(choices)), default, doc)


def _is_rate(text: str) -> None:
    try:
        amount = parse(text).amount if text else 1
    except ValueError:
        amount = 0
    if amount < 1:
        raise ValidationError(f"{text!r} is no rate; write one such as 600/minute, or nothing for no limit.")


def _rate(default: str, doc: str) -> Any:
    return _setting(fields.String(validate=_is_rate), default, doc)


@dataclass(frozen=True)
class Settings:
    """The configuration of one process. Sizes are bytes, durations seconds, rates `limits`' notation (`600/minute`)."""

    env: str = _choice("embedded", "Preset that the other settings start from.", "development", "embedded", "production")
    data_dir: str = _text("./var", "Folder of the embedded stores; `{data_dir}` in a URL stands for it.")
    state_url: str = _secret_url("sqlite://{data_dir}/state.db", "State store: documents, logs, leases.")
    objects_url: str = _secret_url("file://{data_dir}/objects", "Object store: raw payloads and the lake's files.")
    engine_url: str = _secret_url(
        "embedded",
        "Query engine of exports: `embedded`, DataFusion inside the process, or `sc://host:port`, a Spark Connect endpoint.",
    )
    workers: int = _count(2, "gunicorn worker processes.")
    threads: int = _count(16, "Threads of each worker: requests that it serves at once.")
    reload: bool = _switch(False, "Restart workers when the source changes.")
    request_timeout_seconds: float = _seconds(30.0, "How long a worker's stop waits for requests under way.", 1)
    trusted_proxies: int = _count(
        0, "Proxies in front whose `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix` are believed.", minimum=0
    )
    log_level: str = _choice("info", "Least severe log record that is written.", "debug", "info", "warning", "error")

    exports_at_once: int = _count(8, "Exports that one worker makes at a time (503).")
    max_body_bytes: int = _count(16 * MIB, "Largest request body, as sent (413).")
    max_decoded_bytes: int = _count(64 * MIB, "Largest body after decompression (413).")
    max_compression_ratio: int = _count(200, "Decoded size over sent size from which a body of over 4 MiB is a bomb (413).")
    max_json_depth: int = _count(64, "Deepest nesting of JSON.")
    max_records: int = _count(1_000_000, "Records of one request (413).")

    ingest_strict: bool = _switch(False, "Answer 400 to a body that cannot be decoded, and keep nothing of it.")
    ingest_rate_home: str = _rate(
        "240/hour", "Uploads and deletions of one home; each worker counts for itself. Empty: no limit."
    )
    ingest_rate_address: str = _rate("6000/minute", "The same for one client address, which many homes may share.")
    export_rate_address: str = _rate("600/minute", "Exports asked for by one client address.")
    idempotency_hours: float = _seconds(24.0, "How long an `Idempotency-Key` is remembered, in hours.")

    cors_origins: tuple[str, ...] = _setting(_Words(), ("*",), "Origins that may call Ingest and Export from a browser.")

    export_privacy: str = _choice(
        "standard", "`strict` also replaces every object part and hides small groups.", "standard", "strict"
    )
    export_pseudonyms: str = _choice("stable", "`rotating`: a home has another pseudonym in each export.", "stable", "rotating")
    export_min_homes: int = _count(5, "Homes from which on `strict` privacy publishes a type and unit.")
    export_license: str = _text("cc-zero", "CKAN licence id of the datasets.", validate=validate.Length(min=1))
    export_author: str = _text("SmartHouse", "Author of the datasets.", validate=validate.Length(min=1))

    stream_packet_bytes: int = _setting(
        fields.Integer(validate=validate.Range(min=1, max=MIB)), 1_000_000, "Largest packet of a stream (413)."
    )
    stream_batch_packets: int = _count(100_000, "Packets of one append (413).")
    stream_metadata_bytes: int = _setting(
        fields.Integer(validate=validate.Range(min=2, max=MIB // 2)), 64 * KIB, "Largest metadata object, as JSON (413)."
    )
    stream_session_seconds: float = _seconds(
        60.0,
        "After so long without an append of its owner an open session counts as closed, unless it asked for another time.",
        1,
    )
    stream_url_seconds: float = _setting(
        fields.Float(validate=validate.Range(min=1, max=604800)), 300.0, "How long the URL of a download is good for."
    )
    stream_downloads_at_once: int = _count(8, "Downloads of packets that one worker sends at a time (503).")
    stream_followers: int = _count(4, "Followers of streams that one worker serves at a time; each holds a thread (503).")
    stream_follow_seconds: float = _seconds(300.0, "After so long a follower's answer ends, and it has to come back.", 1)
    stream_segment_bytes: int = _count(16 * MIB, "About how many bytes of packets make one object.", 1024)
    stream_tail_seconds: float = _seconds(600.0, "After so long packets become an object though they are few.")

    collection_records: int = _count(100_000, "Records of one request to a data source or dataset (413).")
    collection_record_bytes: int = _setting(
        fields.Integer(validate=validate.Range(min=1, max=MIB)), 512 * KIB, "Largest record, as JSON (413)."
    )
    collection_topic_bytes: int = _count(
        64 * MIB, "What an entry topic keeps at most of what the lake holds already, unless its dataset says otherwise."
    )
    collection_topic_seconds: float = _seconds(
        7 * 86400.0, "How long it keeps that; what the lake does not hold yet is kept in any case."
    )
    collection_aside_days: float = _setting(
        fields.Float(validate=validate.Range(min=0, min_inclusive=False, max=36500)),
        30.0,
        "How long a record that its dataset's schema refuses is kept aside.",
    )
    collection_reads_at_once: int = _count(8, "Readings of records that one worker sends at a time (503).")
    collection_rate_address: str = _rate("6000/minute", "Requests to data sources and datasets by one client address.")
    datasets_require_token: bool = _switch(False, "Every writing to a dataset needs a key, whatever the dataset says.")
    demo: bool = _switch(True, "Begin a new installation with the dataset `example` and the data source `67890`.")

    housekeeping: str = _choice(
        "api", "Who curates and erases: the processes that serve, or `smarthouse worker` alone.", "api", "worker"
    )
    curate_interval_seconds: float = _seconds(
        15.0, "Longest wait of a payload for the background curator; an export does not wait for it.", 0.05
    )
    curate_batch_bytes: int = _count(16 * MIB, "Decoded bytes that one commit to the lake takes in, about.")
    lake_compact_files: int = _count(8, "Files in one partition from which on it is compacted.", minimum=2)
    lease_seconds: float = _seconds(4.0, "After so long without a sign of life a curator or an export counts as dead.", 0.5)
    flush_timeout_seconds: float = _seconds(30.0, "Longest wait of an export for what is pending (503).", 0.1)
    purge_wait_seconds: float = _seconds(
        10.0, "How long forgetting a home waits for exports under way; then they are broken off."
    )
    purge_delay_seconds: float = _seconds(
        0.0, "0: a forgotten home's bytes go before the answer; else in the background, so much later."
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *rules: Rule) -> Settings:
        """Settings from `SMARTHOUSE_*` variables (`os.environ` unless given), held against `RULES` and the caller's own.

        Raises `SettingsError` with one line for each fault: an unknown name, a value of the wrong kind, a missing URL, or
        settings that do not go together.
        """
        environ = os.environ if environ is None else environ
        given = {name.removeprefix(PREFIX).lower(): text for name, text in environ.items() if name.startswith(PREFIX)}
        faults = _unknown_names(given)
        try:
            values = _schema().load(given)
        except ValidationError as error:
            faults += [f"{PREFIX}{name.upper()}: {' '.join(told)}" for name, told in error.messages_dict.items()]
            values = {name: value for name, value in _valid(error).items() if name not in error.messages_dict}
        preset = PRESETS.get(values.get("env", "embedded"), {})
        settings = cls(**{**preset, **values}).placed()
        faults += [fault for rule in (*RULES, *rules) for fault in rule(settings)]
        if faults:
            raise SettingsError("The configuration has faults:\n" + "\n".join(f"  {fault}" for fault in faults))
        return settings

    def placed(self) -> Settings:
        """The same settings with `{data_dir}` filled into the URLs."""
        urls = {name: getattr(self, name).replace("{data_dir}", self.data_dir) for name in ("state_url", "objects_url")}
        return dataclasses.replace(self, **urls)


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


def _schema() -> Schema:
    return Schema.from_dict({f.name: f.metadata["field"] for f in dataclasses.fields(Settings)})(unknown=EXCLUDE)


def _valid(error: ValidationError) -> dict[str, Any]:
    return error.valid_data if isinstance(error.valid_data, dict) else {}


def _unknown_names(given: Mapping[str, str]) -> list[str]:
    known = [f.name for f in dataclasses.fields(Settings)]
    return [
        f"{PREFIX}{name.upper()}: no such setting{_hint(difflib.get_close_matches(name, known, 1))}"
        for name in given
        if name not in known
    ]


def _hint(matches: list[str]) -> str:
    return f"; did you mean {PREFIX}{matches[0].upper()}?" if matches else ""


def _stores_are_named(settings: Settings) -> list[str]:
    return [
        f"{PREFIX}{name.upper()}: required with SMARTHOUSE_ENV={settings.env}"
        for name in ("state_url", "objects_url")
        if not getattr(settings, name)
    ]


def _memory_has_one_worker(settings: Settings) -> list[str]:
    if settings.workers == 1:
        return []
    return [
        f"{PREFIX}{name.upper()}: memory:// is not shared between processes; set {PREFIX}WORKERS=1 or choose another store"
        for name in ("state_url", "objects_url")
        if getattr(settings, name).startswith("memory:")
    ]


def _decoded_holds_a_body(settings: Settings) -> list[str]:
    if settings.max_decoded_bytes >= settings.max_body_bytes:
        return []
    return [f"{PREFIX}MAX_DECODED_BYTES: must be at least {PREFIX}MAX_BODY_BYTES ({settings.max_body_bytes})"]


def _engine_is_known(settings: Settings) -> list[str]:
    if settings.engine_url == "embedded":
        return []
    if not _ENGINE.match(settings.engine_url):
        return [f"{PREFIX}ENGINE_URL: no such engine; there are embedded, and sc://host:port for a Spark Connect endpoint"]
    if find_spec("pyspark") is None:
        return [f"{PREFIX}ENGINE_URL: the client of Spark Connect is missing: pip install 'smarthouse-api[spark]'"]
    return []


RULES: tuple[Rule, ...] = (
    _stores_are_named,
    _memory_has_one_worker,
    _decoded_holds_a_body,
    _engine_is_known,
)
