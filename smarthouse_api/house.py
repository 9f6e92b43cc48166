"""The rules, wired to the stores that the settings name."""

from __future__ import annotations

from dataclasses import dataclass

from backends.ports import ObjectStore, StateStore, StoreError, StoreUnfit
from backends.registry import open_objects, open_state
from config.settings import Settings, SettingsError
from smarthouse_api.access.grants import Access
from smarthouse_api.access.rates import Rates
from smarthouse_api.collections.service import Collections
from smarthouse_api.collections.service import Limits as CollectionLimits
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.errors import Unavailable
from smarthouse_api.forgetting import Forgetting
from smarthouse_api.housekeeping import Housekeeper
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.engines import open_engine
from smarthouse_api.restoring import Restoring
from smarthouse_api.states.curator import Curator
from smarthouse_api.states.export.dataset import Exports, Policy
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.payload.compression import Limits
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Uploads
from smarthouse_api.streams.service import Limits as StreamLimits
from smarthouse_api.streams.service import Streams


@dataclass(frozen=True)
class House:
    """One installation's services. Making it opens nothing: stores connect when they are first used, after any fork."""

    settings: Settings
    state: StateStore
    objects: ObjectStore
    leases: Leases
    table: StatesTable
    engine: Engine
    access: Access
    homes: Homes
    uploads: Uploads
    curator: Curator
    forgetting: Forgetting
    restoring: Restoring
    exports: Exports
    streams: Streams
    collections: Collections
    housekeeper: Housekeeper
    rates: Rates

    @classmethod
    def from_settings(cls, settings: Settings) -> House:
        state, objects = open_state(settings.state_url), open_objects(settings.objects_url)
        keyring = Keyring(state)
        leases = Leases(state, settings.lease_seconds)
        table = StatesTable(objects, leases)
        try:
            engine = open_engine(settings.engine_url)
        except ValueError as fault:
            raise SettingsError(f"SMARTHOUSE_ENGINE_URL: {fault}") from None
        homes = Homes(state, keyring)
        uploads = Uploads(
            state,
            objects,
            homes,
            Limits(
                max_decoded_bytes=settings.max_decoded_bytes,
                max_ratio=settings.max_compression_ratio,
                max_depth=settings.max_json_depth,
                max_records=settings.max_records,
            ),
            strict=settings.ingest_strict,
            reply_seconds=settings.idempotency_hours * 3600,
        )
        curator = Curator(
            uploads,
            homes,
            table,
            batch_bytes=settings.curate_batch_bytes,
            flush_seconds=settings.flush_timeout_seconds,
        )
        access = Access(state)
        streams = Streams.on(
            state,
            objects,
            keyring,
            leases,
            StreamLimits(
                segment_bytes=settings.stream_segment_bytes,
                tail_seconds=settings.stream_tail_seconds,
                packet_bytes=settings.stream_packet_bytes,
                metadata_bytes=settings.stream_metadata_bytes,
                session_seconds=settings.stream_session_seconds,
                reply_seconds=settings.idempotency_hours * 3600,
                url_seconds=settings.stream_url_seconds,
                downloads_at_once=settings.stream_downloads_at_once,
                followers=settings.stream_followers,
                follow_seconds=settings.stream_follow_seconds,
            ),
        )
        collections = Collections.on(
            state,
            objects,
            leases,
            engine,
            CollectionLimits(
                most_records=settings.collection_records,
                record_bytes=settings.collection_record_bytes,
                topic_bytes=settings.collection_topic_bytes,
                topic_seconds=settings.collection_topic_seconds,
                aside_seconds=settings.collection_aside_days * 86400,
                reply_seconds=settings.idempotency_hours * 3600,
                batch_bytes=settings.curate_batch_bytes,
                flush_seconds=settings.flush_timeout_seconds,
                reads_at_once=settings.collection_reads_at_once,
                compact_files=settings.lake_compact_files,
            ),
        )
        forgetting = Forgetting(
            state,
            objects,
            homes,
            uploads,
            table,
            streams,
            access,
            leases,
            wait_seconds=settings.purge_wait_seconds,
            delay_seconds=settings.purge_delay_seconds,
        )
        return cls(
            settings=settings,
            state=state,
            objects=objects,
            leases=leases,
            table=table,
            engine=engine,
            access=access,
            homes=homes,
            uploads=uploads,
            curator=curator,
            forgetting=forgetting,
            restoring=Restoring(homes, uploads, table, streams, forgetting),
            exports=Exports(
                curator,
                homes,
                table,
                engine,
                keyring,
                Policy(
                    strict=settings.export_privacy == "strict",
                    rotating=settings.export_pseudonyms == "rotating",
                    min_homes=settings.export_min_homes,
                    license_id=settings.export_license,
                    author=settings.export_author,
                    at_once=settings.exports_at_once,
                ),
            ),
            streams=streams,
            collections=collections,
            housekeeper=Housekeeper(
                objects,
                uploads,
                curator,
                forgetting,
                table,
                streams.keeping,
                collections.curation,
                leases,
                interval_seconds=settings.curate_interval_seconds,
                compact_files=settings.lake_compact_files,
            ),
            rates=Rates(
                {
                    "home": settings.ingest_rate_home,
                    "ingest": settings.ingest_rate_address,
                    "export": settings.export_rate_address,
                    "collections": settings.collection_rate_address,
                }
            ),
        )

    def begin(self) -> str | None:
        """The first key of a new installation, for the one caller who is the first in it, and what else it begins with.

        To be called before anything else touches the stores.
        """
        # In production, whoever reads the log is not to find a key there.
        is_production = self.settings.env == "production"
        key = None if is_production else self.access.first_key()
        if self.settings.demo and (key is not None or (is_production and self.collections.catalogue.is_empty())):
            self.collections.begin()
        return key

    def ask_to_stop(self) -> None:
        """Send those away who would stay for long; for a signal's handler."""
        self.streams.tail.end()

    def close(self) -> None:
        """Stop the housekeeper and let go of the stores."""
        self.housekeeper.stop()
        self.engine.close()
        self.state.close()
        self.objects.close()

    def health(self) -> tuple[dict[str, str], bool]:
        """Each backend's condition in words, the workers', and whether a backend fails."""
        told, failed = {}, False
        for name, store in (("state", self.state), ("objects", self.objects)):
            try:
                told[name] = store.check()
            except StoreUnfit as fault:
                told[name], failed = f"unfit: {fault}", True
            except StoreError as fault:
                told[name], failed = f"unavailable: {type(fault).__name__}", True
        if not failed:
            try:
                told["lake"] = self.table.condition()
            except StoreError as fault:
                told["lake"], failed = f"unavailable: {type(fault).__name__}", True
        if self.settings.engine_url != "embedded":
            try:
                told["engine"] = self.engine.check()
            except Unavailable as fault:
                told["engine"] = f"warning: {fault}"  # uploads go on without it
        if self.settings.housekeeping == "worker" and not failed:
            told["workers"] = _workers_in_words(self.housekeeper.present())
        return told, failed


def _workers_in_words(count: int) -> str:
    if not count:
        return "warning: none runs, so that nothing is erased and exports wait for their uploads; start `smarthouse worker`"
    return f"{count} running"
