"""What each API's document says of its limits, which the settings set."""

from __future__ import annotations

from blueprints.records import LARGEST_PAGE
from smarthouse_api.house import House
from smarthouse_api.streams.model import LARGEST_INDEX

_LIMITS = {
    "Ingest": """
Limits of this installation: a request body has at most {requests.max_body_bytes} bytes as sent and
{requests.max_decoded_bytes} bytes decompressed, and may not decompress to more than {requests.max_compression_ratio} times its
size; it holds at most {requests.max_records} records; beyond that, 413, and nothing is kept. JSON nests at most
{requests.max_json_depth} deep. Requests of one home: {home_rate}; of one address: {address_rate}; beyond that, 429.
""",
    "Export": """
Limits of this installation: requests of one address: {export_rate}; beyond that, 429. The data may be of any size: it is
streamed, and a fault in the middle breaks the connection.
""",
    "Streams": """
Every request needs the header `Authorization: ModeCloud <key>`, or `Bearer <key>`, but for those to the URLs that downloads are
given. Limits of this installation: a packet has at most {streams.packet_bytes} bytes, a request body at most
{requests.max_body_bytes}, a batch at most {streams.batch_packets} packets, the metadata of a packet at most
{streams.metadata_bytes} bytes; beyond that, 413, and nothing is kept. JSON nests at most {requests.max_json_depth}
deep. Indexes go up to {largest_index}. A download URL is good for {streams.url_seconds:g} seconds, an open session for
{streams.session_seconds:g} seconds after its last packet or renewal, unless it says otherwise. Who follows a stream is
sent away after {streams.follow_seconds:g} seconds, to come back. Each worker sends {streams.downloads_at_once}
downloads at a time and serves {streams.followers} followers; beyond that, 503.
""",
    "Datasources": """
Writing needs the header `Authorization: Bearer <token>`, with a token that opens the data source. Limits of this
installation: a request body has at most {requests.max_body_bytes} bytes and at most {collections.records} records, a
record at most {collections.record_bytes} bytes as JSON; beyond that, 413, and nothing is stored. JSON nests at most
{requests.max_json_depth} deep. A reading with a `limit` gives at most {largest_page} records; one without gives all,
streamed, and a fault in the middle breaks the connection. Each worker sends {collections.reads_at_once} readings at a
time; beyond that, 503. Requests of one address: {collection_rate}; beyond that, 429.
""",
    "Datasets": """
Managing datasets needs the header `Authorization: Bearer <key>` with an operator's key, consuming and reading a key that
opens the dataset, unless it is public. Sending data is open to all, unless the dataset or this installation asks for such a
key. Limits of this installation: a request body has at most {requests.max_body_bytes} bytes and at most
{collections.records} records, a record at most {collections.record_bytes} bytes as JSON; beyond that, 413,
and nothing is stored. JSON nests at most {requests.max_json_depth} deep. What a dataset's schema refuses is kept for
{collections.aside_days:g} days, what came in for consumers for {collections.topic_seconds:g} seconds and up
to {collections.topic_bytes} bytes, unless the dataset says otherwise. A reading with a `limit` gives at most
{largest_page} records; one without gives all, streamed, and a fault in the middle breaks the connection. Each worker sends
{collections.reads_at_once} readings at a time; beyond that, 503. Requests of one address: {collection_rate}; beyond
that, 429.
""",
}


def limits_of(house: House, name: str) -> str:
    """What the document of this API says."""
    settings = house.settings
    rates = {
        "home_rate": settings.access.ingest_rate_home,
        "address_rate": settings.access.ingest_rate_address,
        "export_rate": settings.access.export_rate_address,
        "collection_rate": settings.access.collection_rate_address,
    }
    return _LIMITS[name].format(
        requests=settings.requests,
        streams=settings.streams,
        collections=settings.collections,
        largest_index=LARGEST_INDEX,
        largest_page=LARGEST_PAGE,
        **{rate: text or "any number" for rate, text in rates.items()},
    )
