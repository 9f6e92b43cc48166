"""The report on an installation as gauges for Prometheus.

They come from the stores, so each process tells the same, also of the workers on other machines. None names a home.
Import it only once the process is set up: the metrics library looks then whether several processes add up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from backends.ports import StoreError
from smarthouse_api.status.report import Report

_FRESH_SECONDS: Final = 10.0

log = logging.getLogger(__name__)


class Gauges(Collector):
    """Tells reports as gauges. read: makes a report, which is used for ten seconds, however often it is asked for."""

    def __init__(self, read: Callable[[], Report]) -> None:
        self._read = read
        self._turn = threading.Lock()
        self._report: Report | None = None
        self._read_at = float("-inf")

    def collect(self) -> Iterator[Metric]:
        report = self._fresh()
        yield _gauge("stores_readable", "Whether the stores could be read for the other gauges.", report is not None)
        if report is not None:
            yield from _of_stores(report)
            yield from _of_work(report)

    def _fresh(self) -> Report | None:
        with self._turn:
            if time.monotonic() - self._read_at >= _FRESH_SECONDS:
                try:
                    self._report = self._read()
                except StoreError as fault:
                    log.debug("no gauges: %s", fault)  # readiness says it
                    self._report = None
                self._read_at = time.monotonic()
            return self._report


def _of_stores(report: Report) -> Iterator[Metric]:
    yield _gauge("ready", "Whether the installation can be served.", report.readiness.ready)
    homes = report.homes
    yield _gauge("homes", "Homes that upload.", homes.known)
    active = {"1d": homes.active_day, "7d": homes.active_week}
    yield _gauges("homes_active", "Homes whose last upload came within this time.", "within", active)
    yield _gauge("homes_silent", "Homes that uploaded last over a week ago.", homes.silent)
    uploads = report.uploads
    yield _gauge("uploads_kept", "Uploads that are kept raw.", uploads.kept)
    yield _gauge("uploads_kept_bytes", "Bytes of these uploads, as they came.", uploads.bytes)
    yield _counter("uploads_expired", "Raw uploads that were deleted for their age.", uploads.expired)
    yield _counter("uploads_expired_bytes", "Bytes of these uploads, as they came.", uploads.expired_bytes)
    tables = report.tables.items()
    yield _gauges("lake_rows", "Rows of each table of the lake.", "table", {name: one.rows for name, one in tables})
    yield _gauges("lake_files", "Files of each table of the lake.", "table", {name: one.files for name, one in tables})
    yield _gauges("lake_bytes", "Bytes of these files.", "table", {name: one.bytes for name, one in tables})
    first = {name: _start_of(one.oldest) for name, one in tables if one.oldest is not None}
    yield _gauges("lake_oldest_timestamp_seconds", "When the oldest day of each table begins.", "table", first)
    dropped = CounterMetricFamily("smarthouse_lake_rows_dropped", "Rows that were dropped for their age.", labels=["table"])
    for name, one in tables:
        dropped.add_metric([name], one.dropped)
    yield dropped
    if report.state_bytes is not None:
        yield _gauge("state_bytes", "Bytes that the state store takes up.", report.state_bytes)
    free = {name: size for name, size in report.free_bytes.items() if size is not None}
    if free:
        yield _gauges("free_bytes", "Bytes that each store has free, as far as it tells.", "store", free)
    known = {name: float(size is not None) for name, size in report.free_bytes.items()}
    yield _gauges("free_bytes_known", "Whether each store tells how many bytes it has free.", "store", known)
    used = {name: quota.used for name, quota in report.quotas.items()}
    yield _gauges("quota_used_bytes", "Bytes that are kept of what each quota bounds.", "quota", used)
    most = {name: quota.most for name, quota in report.quotas.items() if quota.most is not None}
    if most:
        yield _gauges("quota_bytes", "Bytes that each quota allows.", "quota", most)
    if (census := report.storage) is not None:
        sizes = {kind: one.bytes for kind, one in census.kinds.items()}
        counts = {kind: one.objects for kind, one in census.kinds.items()}
        yield _gauges("storage_bytes", "Bytes of objects when they were last counted.", "kind", sizes)
        yield _gauges("storage_objects", "Objects when they were last counted.", "kind", counts)
        yield _gauge("storage_counted_timestamp_seconds", "When the objects were last counted.", census.at)
        if (oldest := census.oldest_upload) is not None:
            yield _gauge("uploads_oldest_timestamp_seconds", "When the oldest of the uploads came that are kept raw.", oldest)
    yield _gauge("damaged_files", "Files that are damaged or missing.", report.damaged_files)


def _of_work(report: Report) -> Iterator[Metric]:
    waiting, at = report.waiting, report.at
    yield _gauge("uploads_waiting", "Uploads that the lake does not hold yet.", waiting.uploads)
    yield _gauge("uploads_waiting_seconds", "Age of the oldest of them.", _age(at, waiting.uploads_since))
    yield _gauge("topics_waiting", "Collections with records that the lake does not hold yet.", waiting.topics)
    deleted = {"streams": waiting.erasing_streams, "collections": waiting.erasing_collections}
    erasing = {"homes": waiting.erasing, **deleted, "state_files": waiting.scrubs}
    yield _gauges("erasures_waiting", "What was deleted and is still to be erased.", "kind", erasing)
    yield _gauge("erasures_waiting_seconds", "Age of the oldest forgotten home among them.", _age(at, waiting.erasing_since))
    if (told := report.erasures) is not None:
        yield _gauge("deletion_answer_seconds", "How long after a deletion it is answered now.", told.answer_seconds)
        yield _gauge("receipt_seconds", "How long after a deletion its receipt says erased now.", told.receipt_seconds)
        yield _gauge("receipts_awaited", "Whether a receipt waits until its home is erased.", told.are_receipts_awaited)
    yield _gauge("repairs_waiting", "Damaged parts of the lake that are to be made again.", waiting.repairs)
    yield _gauge("dead_letters", "Records that are set aside.", report.dead_letters)
    jobs = {"waiting": report.jobs.waiting, "running": report.jobs.running}
    yield _gauges("export_jobs", "Export jobs that are not done.", "state", jobs)
    yield _gauge("export_files", "Files of export jobs that are kept.", report.jobs.kept)
    yield _gauge("export_files_bytes", "Bytes of these files.", report.jobs.bytes)
    yield _gauge("housekeepers", "Processes that keep house.", sum(one.keeps_house for one in report.processes))
    processes = GaugeMetricFamily(
        "smarthouse_processes", "Processes that run, by kind and version.", labels=["kind", "version"]
    )
    for kind, version in sorted({(one.kind, one.version) for one in report.processes}):
        count = sum((one.kind, one.version) == (kind, version) for one in report.processes)
        processes.add_metric([kind, version], count)
    yield processes
    newest = {one.level: one.last for one in reversed(report.faults)}  # the newest come first
    yield _gauges("last_fault_timestamp_seconds", "When a fault of each level came last, in any process.", "level", newest)
    last = GaugeMetricFamily("smarthouse_last_timestamp_seconds", "When each was last done.", labels=["what"])
    figures = GaugeMetricFamily("smarthouse_last_figures", "What each found or did.", labels=["what", "figure"])
    for kind, milestone in report.milestones.items():
        last.add_metric([kind], milestone.at)
        for name, count in milestone.figures.items():
            figures.add_metric([kind, name], count)
    yield from (last, figures)


def _start_of(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _age(at: float, since: float | None) -> float:
    return 0.0 if since is None else max(0.0, at - since)


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(f"smarthouse_{name}", told, value=float(value))


def _counter(name: str, told: str, value: int) -> Metric:
    return CounterMetricFamily(f"smarthouse_{name}", told, value=float(value))


def _gauges(name: str, told: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"smarthouse_{name}", told, labels=[label])
    for kind, value in values.items():
        family.add_metric([kind], value)
    return family
