"""The limits of this installation, as each API's document tells them."""

from __future__ import annotations

from blueprints.records import LARGEST_PAGE
from smarthouse_api.house import House
from smarthouse_api.streams.model import LARGEST_INDEX

_LIMITS = {
    "Ingest": """
Limits of this installation:

- A body has at most {requests.max_body_bytes} bytes as sent and {requests.max_decoded_bytes} bytes decompressed.
- It must not decompress to more than {requests.max_compression_ratio} times its size.
- It holds at most {requests.max_records} records. Beyond one of these limits the answer is 413, and nothing is kept.
- JSON nests at most {requests.max_json_depth} deep.
- Requests of one home: {home_rate}; of one address: {address_rate}. Beyond that the answer is 429.
""",
    "Export": """
Limits of this installation:

- Requests of one address: {export_rate}. Beyond that the answer is 429.
- The data may have any size. It is streamed, and a fault in the middle breaks the connection.
""",
    "Streams": """
Every request needs the header `Authorization: ModeCloud <key>` or `Bearer <key>`. Only download URLs need no key.

Limits of this installation:

- A packet has at most {streams.packet_bytes} bytes, and a request body at most {requests.max_body_bytes}.
- A batch has at most {streams.batch_packets} packets, and the metadata of a packet at most {streams.metadata_bytes} bytes.
  Beyond one of these limits the answer is 413, and nothing is kept.
- JSON nests at most {requests.max_json_depth} deep. Indexes go up to {largest_index}.
- A download URL expires after {streams.url_seconds:g} seconds.
- An open session closes {streams.session_seconds:g} seconds after its last packet or renewal, unless it asks for another time.
- A follower's answer ends after {streams.follow_seconds:g} seconds; the follower then reconnects.
- Each worker sends {streams.downloads_at_once} downloads and serves {streams.followers} followers at a time. Beyond that the
  answer is 503.
""",
    "Datasources": """
Writing needs the header `Authorization: Bearer <token>`, with a token that opens the data source.

Limits of this installation:

- A body has at most {requests.max_body_bytes} bytes and {collections.records} records. A record has at most
  {collections.record_bytes} bytes as JSON. Beyond one of these limits the answer is 413, and nothing is stored.
- JSON nests at most {requests.max_json_depth} deep.
- A reading with a `limit` gives at most {largest_page} records. A reading without one gives all records, streamed; a fault in
  the middle breaks the connection.
- Each worker sends {collections.reads_at_once} readings at a time. Beyond that the answer is 503.
- Requests of one address: {collection_rate}. Beyond that the answer is 429.
""",
    "Datasets": """
Managing datasets needs the header `Authorization: Bearer <key>` with an operator's key. Consuming and reading need a key that
opens the dataset, unless it is public. Sending needs such a key only if the dataset or this installation requires it.

Limits of this installation:

- A body has at most {requests.max_body_bytes} bytes and {collections.records} records. A record has at most
  {collections.record_bytes} bytes as JSON. Beyond one of these limits the answer is 413, and nothing is stored.
- JSON nests at most {requests.max_json_depth} deep.
- Dead letters are kept for {collections.aside_days:g} days.
- An entry topic keeps what the lake already holds for {collections.topic_seconds:g} seconds, and at most
  {collections.topic_bytes} bytes of it, unless the dataset says otherwise.
- A reading with a `limit` gives at most {largest_page} records. A reading without one gives all records, streamed; a fault in
  the middle breaks the connection.
- Each worker sends {collections.reads_at_once} readings at a time. Beyond that the answer is 503.
- Requests of one address: {collection_rate}. Beyond that the answer is 429.
""",
}


def limits_of(house: House, name: str) -> str:
    """Describes the limits of an API, by its name, with the values of the settings."""
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
