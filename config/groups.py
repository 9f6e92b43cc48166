"""Say what can be set, in groups: each service takes the whole group that it needs.

A field's variable is `SMARTHOUSE_`, the group's prefix and the field's name, in capitals. Its text is its row in the README,
which `python -m config.table` writes. Sizes are bytes, rates `limits`' notation (`600/minute`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from config.fields import choice, count, duration, hosts, origins, rate, secret_url, switch, text, words

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class Group:
    """Gives the variables of a group their common prefix, which follows `SMARTHOUSE_`."""

    prefix: ClassVar[str] = ""


@dataclass(frozen=True)
class ServerSettings(Group):
    """Configures the processes of the service: how many there are, who calls them, and what they do besides answering."""

    env: str = choice(
        "embedded", "Choose the preset that the other settings start from.", "development", "embedded", "production"
    )
    workers: int = count(2, "Number of worker processes.")
    threads: int = count(16, "Number of threads in each worker: the requests, downloads included, that it serves at once.")
    reload: bool = switch(False, "Restart the workers when the source changes.")
    request_timeout_seconds: float = duration(30.0, "Wait this long for requests under way when the service stops.", 1)
    trusted_proxies: int = count(
        0, "Number of proxies in front whose `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix` are believed.", minimum=0
    )
    allowed_hosts: tuple[str, ...] = hosts(
        "Answer only requests for these hosts, such as `lake.example.org`, and build absolute URLs only from them. "
        "`.example.org` includes all names below it. A port does not count. Separate the hosts by commas. Empty: answer "
        "requests for any host, and build absolute URLs only from `localhost` and `127.0.0.1`."
    )
    log_level: str = choice(
        "info",
        "Write log records of this level and above: `debug`, `info`, `warning` or `error`.",
        *("debug", "info", "warning", "error"),
    )
    log_format: str = choice("text", "Write log records as lines of `text`, or each as an object of `json`.", *("text", "json"))
    metrics_port: int = count(
        0,
        "Serve the metrics of `smarthouse worker` on this port; `0`: nowhere. The service has `/metrics`.",
        0,
        65535,
    )
    metrics_host: str = text("127.0.0.1", "Serve them at this address.", minimum_length=1)
    housekeeping: str = choice(
        "api",
        "Choose who curates and erases: `api`, the processes that serve; `worker`, only `smarthouse worker`.",
        *("api", "worker"),
    )
    lease_seconds: float = duration(4.0, "Wait this long before another process takes over from a dead one.", 0.5)
    console: str = choice(
        "all",
        "Serve the [console](docs/console.md), pages for people at `/console/`: `all`; `public`, without the operator's pages; "
        "or `off`.",
        *("off", "public", "all"),
    )
    demo: bool = switch(True, "Give a new installation the dataset `example` and the data source `67890`.")


@dataclass(frozen=True)
class OriginSettings(Group):
    """Names the origins whose pages may call an API from a browser. The pages of all other origins may not."""

    prefix: ClassVar[str] = "cors_"

    ingest: tuple[str, ...] = origins(
        "Let pages of these origins call Ingest, such as `https://app.example`. Separate the origins by commas."
    )
    export: tuple[str, ...] = origins("Let pages of these origins call Export; `*`: of every origin.", "*")
    datasources: tuple[str, ...] = origins("Let pages of these origins call the data sources.")
    streams: tuple[str, ...] = origins("Let pages of these origins call the Stream Data Store.")
    datasets: tuple[str, ...] = origins("Let pages of these origins call the datasets.")


@dataclass(frozen=True)
class StoreSettings(Group):
    """Chooses the two stores. `{data_dir}` in a URL stands for the folder."""

    data_dir: str = text(
        "./var", "Set the folder of the embedded stores. `{data_dir}` in a URL stands for it.", minimum_length=1
    )
    state_url: str = secret_url(
        "sqlite://{data_dir}/state.db",
        "Choose the state store. It holds who is who, keys, the queue, leases, receipts, streams and their newest packets.",
    )
    objects_url: str = secret_url(
        "file://{data_dir}/objects", "Choose the object store. It holds raw uploads, older packets and the lake's files."
    )


@dataclass(frozen=True)
class RequestSettings(Group):
    """Limits one request, and says how long its answer is remembered."""

    max_body_bytes: int = count(16 * MIB, "Limit a request body as it is sent; 413 beyond.")
    max_decoded_bytes: int = count(64 * MIB, "Limit a body after decompression; 413 beyond.")
    max_compression_ratio: int = count(
        200, "Limit the ratio of these two sizes; 413 beyond. Bodies of up to 4 MiB decompressed are exempt."
    )
    max_json_depth: int = count(64, "Limit the nesting of JSON. A state that is nested deeper is ignored.")
    max_records: int = count(1_000_000, "Limit the number of states in one upload; 413 beyond.")
    ingest_strict: bool = switch(
        False,
        "Answer 400 to an upload if a part of it gives no record or has no time. By default, it is kept, with a `detail`.",
    )
    receive_seconds: float = duration(
        20.0,
        "Cut off a client that pauses for this long while it sends a request, or sends less than 4 KiB a second for this long; "
        "408 beyond.",
        1,
    )
    idempotency_hours: float = duration(24.0, "Remember an `Idempotency-Key` for this many hours.")


@dataclass(frozen=True)
class AccessSettings(Group):
    """Says who may ask, and how often. All processes count together if the state is in Redis, else each for itself."""

    ingest_rate_home: str = rate("240/hour", "Limit the uploads and deletions of one home. Empty: no limit.")
    ingest_rate_address: str = rate(
        "6000/minute", "Limit the uploads and deletions of one client address, which many homes may share."
    )
    rights_rate_address: str = rate(
        "120/minute",
        "Limit what one client address asks for of homes' rights: erasures, summaries, archives and consents, and how often it "
        "signs in to the console. Each costs as much as many uploads. Without Redis, each worker counts for itself.",
    )
    export_rate_address: str = rate("600/minute", "Limit the exports that one client address asks for.")
    collection_rate_address: str = rate(
        "6000/minute", "Limit the requests to data sources and datasets from one client address. Empty: no limit."
    )
    collection_rate_unknown: str = rate(
        "60/minute",
        "Limit the requests with data for datasets that do not exist from one client address: the data is checked before the "
        "name. Empty: no limit.",
    )
    ingest_access: str = choice(
        "open",
        "Choose who may upload and delete homes' data: `open`, anyone; `key`, holders of a key with that grant.",
        *("open", "key"),
    )
    export_access: str = choice(
        "open",
        "Choose who may download rows: `open`, anyone; `key`, holders of a key with that grant; `tiers`, the same, and figures "
        "of many homes together are open to all.",
        *("open", "key", "tiers"),
    )
    datasets_require_token: bool = switch(
        False, "Require a key from everybody who writes to a dataset, whatever the dataset says."
    )
    download_log_days: int = count(
        365, "Keep a note of each download by a key for this many days, for `smarthouse downloads`. 0: keep none.", minimum=0
    )


@dataclass(frozen=True)
class ExportSettings(Group):
    """Configures exports: what they publish and who is named as the author."""

    prefix: ClassVar[str] = "export_"

    at_once: int = count(8, "Number of exports that one worker makes at a time; 503 beyond.", variable="exports_at_once")
    privacy: str = choice(
        "standard",
        "Choose `standard`, `strict`, or `raw` for administrators' keys alone, see [Privacy](#privacy).",
        *("standard", "strict", "raw"),
    )
    words: tuple[str, ...] = words(
        (),
        "Publish these states, too, such as `cooking,rinsing`. Review that no home words them itself. A state of a `select` or "
        "`input_select` is only published if it is one of them.",
    )
    pseudonyms: str = choice(
        "stable", "Choose `stable`, or `rotating` for other pseudonyms in each export.", "stable", "rotating"
    )
    min_homes: int = count(5, "Number of homes that `strict` privacy needs to publish a type and unit, and a release each row.")
    enrolled_after_days: int = count(
        7,
        "Let `strict` privacy, and releases, count a home once it has consented for this many days, the first one included, "
        "and sent data on as many. With 1, homes of this hour count.",
        variable="enrolled_after_days",
    )
    columns: int = count(1000, "Number of columns that aggregates with `layout=wide` have at most; 400 beyond.")
    license: str = text(
        "notspecified",
        "Set the licence of the exported datasets, by its CKAN id, such as `cc-by`.",
        minimum_length=1,
    )
    author: str = text("SmartHouse", "Set the author of the exported datasets.", minimum_length=1)


@dataclass(frozen=True)
class JobSettings(Group):
    """Configures export jobs: how many run at once, and how long and how many of their files are kept."""

    prefix: ClassVar[str] = "job_"

    at_once: int = count(
        2, "Number of export jobs that one machine works on at a time, and no more than it has cores.", variable="jobs_at_once"
    )
    parts_at_once: int = count(
        0, "Number of parts of jobs that one process makes at a time. `0`: one for each core that it may use.", 0, 256
    )
    hours: float = duration(24.0, "Keep the file of a job for this many hours.", 0, 87600, above_minimum=True)
    version_days: float = duration(
        90.0,
        "Remember a version for this many days after its file is gone: `since=` goes on from it. The newest 200 of a"
        " client, and 5000 in all.",
        1,
        3650,
    )
    most: int = count(
        200,
        "Number of jobs that wait, run or have a file. Beyond, a new one ends a finished one of the client that has the most;"
        " else 503.",
        variable="jobs_kept",
    )
    per_client: int = count(
        20,
        "Number of them that one key, or one address without a key, may have. Beyond, its oldest finished one ends; without"
        " one, it is a 429.",
        variable="jobs_per_client",
    )
    bytes: int = count(
        20 * GIB,
        "Bytes of the files of all jobs. Beyond, a new job is a 503, and a job fails whose file would pass it, with those that"
        " were begun before. The parts of a file are kept beside it while it is put together.",
    )


@dataclass(frozen=True)
class StreamSettings(Group):
    """Configures streams: packets, sessions, metadata, downloads."""

    prefix: ClassVar[str] = "stream_"

    packet_bytes: int = count(1_000_000, "Limit a packet; 413 beyond. 1048576 at most.", maximum=MIB)
    batch_packets: int = count(100_000, "Limit the number of packets in one append; 413 beyond.")
    metadata_bytes: int = count(
        64 * KIB, "Limit the metadata object of a packet, as JSON; 413 beyond. 524288 at most.", 2, MIB // 2
    )
    session_seconds: float = duration(
        60.0, "Close an open session after this time without an append, unless it asks for another time.", 1
    )
    url_seconds: float = duration(
        300.0, "Let the URL of a download expire after this time; seven days (604800) at most.", 1, 604800
    )
    downloads_at_once: int = count(8, "Number of downloads of packets that one worker sends at a time; 503 beyond.")
    followers: int = count(
        4, "Number of followers of streams that one worker serves at a time, each with a thread; 503 beyond."
    )
    follow_seconds: float = duration(300.0, "End a follower's answer after this time; the follower has to come back.", 1)
    follow_url_seconds: float = duration(
        43200.0, "Let a URL to follow a stream without a key expire after this time; seven days (604800) at most.", 1, 604800
    )
    segment_bytes: int = count(16 * MIB, "Collect about this many bytes of packets in one object.", 1024)
    tail_seconds: float = duration(600.0, "Put packets into an object after this time even if they are few.")


@dataclass(frozen=True)
class CollectionSettings(Group):
    """Configures data sources and datasets: records, topics, dead letters, reading."""

    prefix: ClassVar[str] = "collection_"

    records: int = count(100_000, "Limit the number of records in one request to a data source or dataset; 413 beyond.")
    record_bytes: int = count(512 * KIB, "Limit a record, as JSON; 413 beyond. 1048576 at most.", maximum=MIB)
    topic_bytes: int = count(
        64 * MIB, "Keep this much in an entry topic of what the lake holds already, unless the dataset says otherwise."
    )
    topic_seconds: float = duration(
        7 * 86400.0, "Keep it for at most this time. What the lake does not hold yet is kept in any case."
    )
    aside_days: float = duration(
        30.0, "Keep a record that a dataset's schema refuses for this many days.", 0, 36500, above_minimum=True
    )
    record_days: int = count(
        0,
        "Drop records from the lake this many UTC days after they came. `0`: never. Topics and dead letters have limits of "
        "their own.",
        0,
        36500,
    )
    reads_at_once: int = count(8, "Number of reads of records that one worker sends at a time; 503 beyond.")


@dataclass(frozen=True)
class LakeSettings(Group):
    """Configures the lake: its engine, how uploads and records get into it, and its files."""

    engine_url: str = secret_url(
        "embedded",
        "Choose what runs an export's queries: `embedded`, DataFusion in the process, or `sc://host:port`, a Spark Connect "
        "endpoint.",
    )
    engine_answer_seconds: float = duration(
        5.0, "Let a Spark Connect endpoint take this long to answer whether it is there; 503 beyond.", 0.1, 600
    )
    engine_query_seconds: float = duration(
        120.0, "Let a query of some rows take this long at a Spark Connect endpoint, to its last row; 503 beyond.", 1
    )
    engine_write_seconds: float = duration(
        3600.0,
        "Let a Spark Connect endpoint take this long for each step of a job, such as the writing of a part. "
        "`0`: it writes none, and only sends rows.",
    )
    curate_interval_seconds: float = duration(
        15.0,
        "Look this often for uploads to bring into the lake and for homes to erase. An export does not wait for it.",
        0.05,
    )
    curate_batch_bytes: int = count(16 * MIB, "Bring about this many decoded bytes into the lake with one commit.")
    flush_timeout_seconds: float = duration(
        30.0, "Let an export wait this long for uploads to reach the lake; 503 beyond.", 0.1
    )
    compact_files: int = count(
        8, "Merge a partition of the lake once it has this many files.", minimum=2, variable="lake_compact_files"
    )


@dataclass(frozen=True)
class GrowthSettings(Group):
    """Bounds what the service keeps."""

    quota_home_bytes: int = count(
        10 * GIB, "Limit the bytes of uploads that are kept of one home; 413 beyond. `0`: no limit.", minimum=0
    )
    quota_address_bytes: int = count(
        20 * GIB,
        "Limit the bytes of uploads from one address, which many homes may share, in a UTC day; 429 beyond. `0`: no limit.",
        minimum=0,
    )
    quota_address_consents: int = count(
        10_000, "Limit the consents and objections from one address in a UTC day; 429 beyond. `0`: no limit.", minimum=0
    )
    quota_bytes: int = count(0, "Limit the bytes of uploads that are kept of all homes; 503 beyond. `0`: no limit.", minimum=0)
    quota_collection_bytes: int = count(
        10 * GIB,
        "Limit the bytes of records that are kept of one data source or dataset, as JSON, dead letters included; 413 beyond. "
        "`0`: no limit.",
        minimum=0,
    )
    quota_collections_bytes: int = count(
        0, "Limit the bytes of records that are kept of all of them, to a few seconds; 503 beyond. `0`: no limit.", minimum=0
    )
    raw_days: int = count(
        0,
        "Delete a raw upload this many days after it came, if the lake holds its records. The lake cannot be made again from "
        "what was deleted. `0`: never.",
        0,
        36500,
    )
    lake_days: int = count(
        0,
        "Drop the states and statistics of days that are longer ago than this from the lake. Later uploads do not bring them "
        "back. `0`: never.",
        0,
        36500,
    )
    free_bytes: int = count(
        256 * MIB,
        "Answer 503 to uploads, packets and records while a store has fewer bytes free. Reading and erasing go on. `0`: never.",
        minimum=0,
    )


@dataclass(frozen=True)
class ConsentSettings(Group):
    """Configures what homes agree to."""

    prefix: ClassVar[str] = "consent_"

    required: bool = switch(
        False, "Take uploads only of homes that have agreed to the terms with `PUT /api/ingest/consent`; 403 otherwise."
    )
    terms: tuple[str, ...] = words(
        (),
        "Name the versions of the terms that homes may agree to now, such as `1.0,1.1`; 400 to any other. Where a consent is "
        "required, one to an earlier version does not suffice any more. Exports count homes by these versions, and all others"
        " as `other`. Empty: any version.",
    )
    unused_days: float = duration(
        30.0, "Remove a consent of a home that has uploaded nothing for this many days after it.", 0, 36500, above_minimum=True
    )


@dataclass(frozen=True)
class ArchiveSettings(Group):
    """Configures the archives in which owners take what is held about their homes."""

    prefix: ClassVar[str] = "archive_"

    hours: float = duration(24.0, "Keep the archive of a home for this many hours.", 0, 8760, above_minimum=True)
    most: int = count(
        200,
        "Number of archives that are kept. Beyond, the oldest goes of the client that has the most.",
        variable="archives_kept",
    )
    bytes: int = count(
        20 * GIB,
        "Bytes of all archives. Beyond, the oldest go of the client that has the most; one that is larger alone is a 413.",
    )
    at_once: int = count(2, "Number of archives that one worker has made at a time; 503 beyond.", variable="archives_at_once")


@dataclass(frozen=True)
class ForgettingSettings(Group):
    """Configures how a home is forgotten: how long that waits for exports, and when the bytes are erased."""

    prefix: ClassVar[str] = "purge_"

    wait_seconds: float = duration(10.0, "Let a forget wait this long for exports under way; then it breaks them off.")
    delay_seconds: float = duration(
        0.0,
        "Erase a forgotten home's bytes in the background after this time, or sooner together with others'. "
        "`0`: before the answer.",
    )
    answer_seconds: float = duration(
        0.5,
        "Answer deletions no sooner than after this time, and all as late as the slowest of a day, so that the time does not "
        "tell whether the home was known. 0.1 at least.",
        0.1,
        30.0,
    )


@dataclass(frozen=True)
class ReceiptSettings(Group):
    """Configures the receipts of erasure: how long they are answered, and when they say that a home is erased."""

    prefix: ClassVar[str] = "receipt_"

    days: int = count(365, "Answer a receipt of an erasure for this many days.", maximum=36500)
    seconds: float = duration(
        150.0,
        "Let a receipt say that a home is erased this long after the purge was due, and twice "
        "`SMARTHOUSE_CURATE_INTERVAL_SECONDS`, so that the time does not tell whether the home was known. If an erasure took "
        "longer, all receipts of a day wait as long as that one. 90 at least.",
        90.0,
    )
