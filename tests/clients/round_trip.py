"""Uses every API of a running service through the client that openapi-python-client made, and tells as JSON what came back.

Arguments: URL of the service, an admin key.
"""

from __future__ import annotations

import base64
import json
import sys
from http import HTTPStatus
from io import BytesIO
from typing import Any, TypeVar

import httpx
from smarthouse import AuthenticatedClient, models
from smarthouse.api.datasets import create_dataset, data_in, data_out, list_datasets, read_dataset_records
from smarthouse.api.datasources import insert_records, read_records
from smarthouse.api.export import available_formats, data_extraction
from smarthouse.api.health import check_readiness
from smarthouse.api.ingest import data_deletion, data_upload
from smarthouse.api.streams import (
    add_session,
    append_packets,
    fetch_packets,
    get_stream,
    get_stream_status,
    list_metadata,
    list_sessions,
    put_metadata,
    put_stream,
)
from smarthouse.types import File

HOME = "6f1b1a52-5a0e-4c0b-9b53-0c8f0f3d2a11"
STATE = {"entity_id": "sensor.kitchen", "state": "21.5", "attributes": {}, "last_updated": "2026-03-01T12:00:00+00:00"}
CAMERA = (7, "python", "camera")

Kind = TypeVar("Kind")


def is_a(kind: type[Kind], answer: object) -> Kind:
    """The answer, which must be what its document says."""
    assert isinstance(answer, kind), answer
    return answer


def homes(client: AuthenticatedClient) -> dict[str, Any]:
    upload = models.DataUploadJsonBody.from_dict({"sensor.kitchen": [STATE]})
    receipt = is_a(models.IngestReceipt, data_upload.sync(client=client, body=upload, home_uuid=HOME))
    extract = is_a(File, data_extraction.sync(client=client, formats=["json"], types=["sensor"]))
    forgotten = is_a(models.IngestForgotten, data_deletion.sync(client=client, home_uuid=HOME))
    return {
        "uploaded": receipt.records,
        "zip": base64.b64encode(extract.payload.read()).decode(),
        "formats": available_formats.sync(client=client),
        "forgotten": forgotten.message,
    }


def collections(client: AuthenticatedClient) -> dict[str, Any]:
    params = {"id": "api.datasets.create", "ver": "v2", "ts": "now", "params": {"msgid": "1"}}
    definition = models.CreateDatasetBody.from_dict({**params, "request": {"dataset_id": "python", "name": "By Python"}})
    created = is_a(models.DatasetsEnvelopedCreated, create_dataset.sync(client=client, body=definition))
    one = models.InsertRecordsBodyDataItem.from_dict({"value": 21.5})
    inserted = is_a(
        models.DatasourcesInserted,
        insert_records.sync(client=client, body=models.InsertRecordsBody("python", [one]), idempotency_key="once"),
    )
    event = models.DataInBody.from_dict({**params, "id": "api.data.in", "data": [{"value": 1}, {"value": 2}]})
    is_a(models.DatasetsEnvelopedIngested, data_in.sync("python", client=client, body=event))
    records = is_a(models.ReadRecordsResponse200, read_records.sync("python", client=client, limit=10, meta=False)).records
    read = is_a(models.ReadDatasetRecordsResponse200, read_dataset_records.sync("python", client=client)).result
    out = is_a(models.DatasetsEnvelopedEventPage, data_out.sync("python", client=client, limit=10)).result
    some = models.ListDatasetsBody.from_dict({**params, "id": "api.datasets.list", "request": {}})
    listed = is_a(models.DatasetsEnvelopedDatasetList, list_datasets.sync(client=client, body=some)).result
    return {
        "created": is_a(models.DatasetsCreated, created.result).id,
        "inserted": inserted.inserted_rows,
        "records": [one.to_dict() for one in is_a(list, records)],
        "read": len(is_a(list, is_a(models.ReadDatasetRecordsResponse200Result, read).records)),
        "events": [one.event.to_dict() for one in is_a(list, is_a(models.DatasetsEventPage, out).events)],
        "names": [one.name for one in is_a(list, is_a(models.DatasetsDatasetList, listed).data)],
    }


def streams(client: AuthenticatedClient) -> dict[str, Any]:
    is_a(models.StreamsWholeStream, put_stream.sync(*CAMERA, client=client, body=models.PutStreamBody()))
    for packet in (b"hello ", b"world"):
        is_a(models.StreamsAppended, append_packets.sync(*CAMERA, client=client, body=File(BytesIO(packet))))
    status = is_a(models.StreamsStatus, get_stream_status.sync(*CAMERA, client=client))
    noted = models.PutMetadataBody.from_dict({"light": "on"})
    is_a(models.StreamsMetadata, put_metadata.sync(*CAMERA, 1, client=client, body=noted))
    is_a(models.StreamsSession, add_session.sync(*CAMERA, client=client, body=models.StreamsBounds(0, 1)))
    found = fetch_packets.sync_detailed(*CAMERA, client=client, start=0, stop=1)
    assert found.status_code == HTTPStatus.FOUND
    return {
        "last": status.packet_index,
        "packets": httpx.get(found.headers["Location"]).text,
        "sessions": [[one.start, one.stop] for one in is_a(list, list_sessions.sync(*CAMERA, client=client, start=0, stop=9))],
        "metadata": [one.content.to_dict() for one in is_a(list, list_metadata.sync(*CAMERA, client=client, start=0, stop=9))],
        "refused": is_a(models.StreamsFault, get_stream.sync(7, "python", "nothing", client=client)).reason,
    }


def main(url: str, key: str) -> None:
    client = AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True, timeout=httpx.Timeout(60))
    ready = is_a(models.CheckReadinessResponse200, check_readiness.sync(client=client))
    told = {"health": ready["status"], **homes(client), **collections(client), **streams(client)}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
