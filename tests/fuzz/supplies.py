"""A house with something of everything in it, so that requests find what they name."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from msgspec.structs import asdict

from smarthouse_api.access.keys import Owner, digest_in
from smarthouse_api.collections.model import define
from smarthouse_api.errors import Refused
from smarthouse_api.house import House
from smarthouse_api.states.query import Filters
from smarthouse_api.states.uploads import Upload
from smarthouse_api.streams.model import LARGEST_INDEX, NewPacket
from tests.conftest import HOME, OTHER_HOME, payload, state
from tests.fuzz.campaign import Supplies
from tests.kept_release import MONTH, keep_release

_OWNER = Owner("admin", "c" * 12, "operator")
_COLLECTIONS: tuple[dict[str, Any], ...] = (
    {"id": "open", "entry_topic": "open", "public": True},
    {
        "id": "strict",
        "alias": "exact",
        "entry_topic": "strict",
        "requires_token": True,
        "mode": "strict",
        "schema": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}},
    },
    {"id": "quiet"},
)
UNLIMITED = {
    **dict.fromkeys(
        (
            "SMARTHOUSE_INGEST_RATE_HOME",
            "SMARTHOUSE_INGEST_RATE_ADDRESS",
            "SMARTHOUSE_RIGHTS_RATE_ADDRESS",
            "SMARTHOUSE_EXPORT_RATE_ADDRESS",
            "SMARTHOUSE_COLLECTION_RATE_ADDRESS",
        ),
        "",
    ),
    "SMARTHOUSE_JOBS_PER_CLIENT": "100000",
    "SMARTHOUSE_JOBS_KEPT": "100000",
    "SMARTHOUSE_FLUSH_TIMEOUT_SECONDS": "60",
    "SMARTHOUSE_PURGE_WAIT_SECONDS": "60",
}
"""Settings without which most requests of a campaign would be a 429, and on a busy machine some a 503."""


def furnish(house: House) -> Supplies:
    """Fill a house, and name what is in it."""
    create = house.access.create
    operator, admin = create("operator", admin=True)
    user = create("user", homes=[1], datasources=["open"], datasets=["strict"])[1]
    project = create("project", project="a", datasets=["quiet"])[1]
    reader = create("reader", export=True)[1]
    for definition in _COLLECTIONS:
        house.collections.catalogue.create(define(definition))
    named: dict[str, list[Any]] = {
        "homeId": [1, 1, 1, 2],
        "moduleId": ["sds"],
        "streamName": ["camera"],
        "sessionId": [],
        "session": [],
        "packetIndex": [0, 1, 3],
        "datasource_id": ["open", "strict", "quiet"],
        "dataset_id": ["open", "strict", "exact", "quiet"],
        "record_id": [],
        "job_id": [],
        "receipt_id": [],
        "month": [MONTH],
        "cursor": [""],
        "after": ["0"],
        "format": ["json", "csv", "xml", "parquet", "jsonl", "ndjson", "zip"],
        "Home-UUID": [HOME, OTHER_HOME],
    }

    signed: dict[str, dict[str, str]] = {}
    holder = operator.id, digest_in(f"Bearer {admin}")

    def restore() -> None:
        _upload(house)
        keep_release(house)
        named["session"][:] = named["sessionId"][:] = _fill_stream(house, signed, holder)
        named["record_id"][:], named["cursor"][:] = _fill_collections(house)
        named["job_id"][:] = _fill_jobs(house)
        named["receipt_id"][:] = [house.receipts.give(HOME, now, now) for now in (house.receipts.now(), 1)]

    restore()
    keys = [f"Bearer {admin}", f"ModeCloud {admin}", f"ModeCloud {user}", f"Bearer {project}", f"Bearer {reader}"]
    return Supplies([*keys[:1], *keys, None], named, signed, restore)


def _upload(house: House) -> None:
    house.states.consents.give(HOME, "1.0", "rows")  # it may have objected
    celsius = state("sensor.kitchen", "21.5", unit_of_measurement="°C", device_class="temperature")
    house.states.uploads.receive(Upload(HOME, payload(celsius, state("light.hall", "on")), None, None))


def _fill_jobs(house: House) -> list[str]:
    """Ask for exports, make one of them, and list the jobs."""
    jobs = house.states.jobs
    with suppress(Refused):  # there may be as many as are kept
        ids = [jobs.ask(jobs.request(Filters(types=types), ("csv",)), "nobody").id for types in ((), ("light",))]
        jobs.maker.work(lambda: False)
        jobs.maker.work(lambda: False)
        return ids
    return [view.id for view in jobs.views()][-20:]


def _fill_stream(house: House, signed: dict[str, dict[str, str]], holder: tuple[str, bytes]) -> list[str]:
    """Fill the stream, sign URLs to download and to follow it, and list its sessions. holder: a key and its secret's digest."""
    stream, is_new = house.streams.catalogue.create(1, "sds", "camera")
    if is_new:
        packets = [NewPacket(data) for data in (b"a", b"bb", b"ccc", b"dddd")]
        house.streams.appending.append(stream, packets, _OWNER)
        house.streams.metadata.put(stream, 0, {"light": "on"}, _OWNER)
    house.streams.sessions.add(stream, 0, 2, _OWNER, None)
    signed["download"] = house.streams.downloads.locate(stream, 0, 3, "octets").query
    signed["follow"] = house.streams.follow_urls.make(stream, *holder, 0, 3).query
    return [one.id for one in house.streams.sessions.within(stream, 0, LARGEST_INDEX)][-20:]


def _fill_collections(house: House) -> tuple[list[str], list[str]]:
    """Define the collections as they were, send records, and list the ids of dead letters and the positions of records."""
    catalogue, letters, positions = house.collections.catalogue, list[str](), list[str]()
    for members in _COLLECTIONS:
        definition = asdict(define(members))
        with suppress(Refused):  # another collection may have the alias now
            catalogue.update(definition.pop("id"), definition)
        collection = catalogue.find(members["id"])
        house.collections.accepting.accept(collection, [{"b": 1}, {"a": 2, "timestamp": "2026-03-01"}])
        letters += [one.id for one in house.collections.dead_letters.list(collection, limit=20)]
        if collection.entry_topic is not None:
            positions += [one.position for one in house.collections.topic.read(collection, after="0", limit=5).events]
    return letters, positions
