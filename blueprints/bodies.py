"""Request bodies: read whole, decompressed, within the limits, or refused."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import orjson
from flask import request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected, UnsupportedMediaType

from blueprints.current_request import house
from smarthouse_api.collections.fast_path import DEPTH, UniformReader
from smarthouse_api.errors import Invalid, TooLarge, TooSlow, Unavailable
from smarthouse_api.serving.connection import Crowded, Late
from smarthouse_api.states.payload.compression import BOM, CODINGS, Undecodable, UnknownCoding, undo_codings
from smarthouse_api.states.payload.repair import depth_of, words_of

_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_TEN_DIGITS = b"0" * 10


def whole_body() -> bytes:
    """Read all of the request's body, as it came. Raises `TooLarge`, `Invalid` if it broke off, `TooSlow` if it was late,
    `Unavailable` if too many come at once.

    Werkzeug cuts a body without a length short at the limit and calls it whole; so one byte more is let in, and refused here.
    """
    limit, length = request.max_content_length, request.content_length
    if limit is not None and length is None:
        request.max_content_length = limit + 1
    try:
        body = request.get_data(cache=False)
    except Crowded as fault:
        raise Unavailable(str(fault)) from fault
    except Late as fault:
        seconds = house().settings.requests.receive_seconds
        raise TooSlow(f"The body did not arrive in time; send its next bytes within {seconds:g} seconds") from fault
    except (ParseException, ClientDisconnected, OSError) as fault:
        raise Invalid("The body could not be read to its end; send it again, complete and with valid chunks") from fault
    if limit is not None and len(body) > limit:
        raise TooLarge(f"The body is larger than {limit} bytes")
    if length is not None and len(body) != length:
        raise Invalid(f"The body ended after {len(body)} of the {length} bytes that Content-Length announced; send it again")
    return body


class UnknownContentEncoding(UnsupportedMediaType):
    """Refuses a `Content-Encoding` that is not known, and names those that are, as RFC 9110 asks."""

    def get_headers(self, *args: Any, **options: Any) -> list[tuple[str, str]]:
        return [*super().get_headers(*args, **options), ("Accept-Encoding", ", ".join(CODINGS))]


def decoded_body() -> bytes:
    """Read all of the body, and undo its `Content-Encoding`.

    Raises `UnknownContentEncoding`, `TooLarge`, and `Invalid` for what cannot be decompressed.
    """
    body, codings = whole_body(), request.content_encoding
    if not body or not codings:
        return body
    try:
        return undo_codings(body, codings, house().settings.requests)
    except UnknownCoding as fault:
        raise UnknownContentEncoding(str(fault)) from fault
    except Undecodable as fault:
        raise Invalid(f"The body does not fit its Content-Encoding: {fault}") from fault


def text_body() -> bytes:
    """Read all of the body for an API that takes JSON: as `decoded_body`, and without a byte order mark."""
    return decoded_body().removeprefix(BOM)


def read_json(body: bytes) -> Any:
    """Read JSON so that no later reader fails on it. Raises `Invalid`, also if it nests too deep, and `TooLarge`."""
    limit = house().settings.requests.max_json_depth
    _check_size(body)
    try:
        value = msgspec.json.decode(body)
    except RecursionError as fault:
        raise Invalid(_too_deep(limit)) from fault
    except ValueError as fault:
        raise Invalid(
            f"The body is not JSON: {words_of(fault, body)}" if body else "The body is empty; it must be JSON"
        ) from fault
    # Few brackets cannot be deep, nor can many side by side; to know how deep they are takes longer than the reading.
    openings = int(np.count_nonzero((np.frombuffer(body, np.uint8) & 0xDF) == ord("[")))
    if openings > limit and openings - _side_by_side(value) > limit and depth_of(body) > limit:
        raise Invalid(_too_deep(limit))
    _check_numbers(body)
    return value


def read_records(body: bytes, reader: UniformReader) -> Any:
    """Read JSON that brings records in `data`; as `UniformRecords` if the reader can read it. Raises `Invalid`, `TooLarge`."""
    _check_size(body)
    given = reader.read(body) if house().settings.requests.max_json_depth >= DEPTH else None
    if given is None:
        return read_json(body)
    _check_numbers(body)
    return given


def _check_size(body: bytes) -> None:
    """Refuse a body of many small values that is larger, decompressed, than any that comes plain.

    A small object takes 30 times its bytes of memory. So limited, such a body takes no more than a plain one can.
    """
    limit = house().settings.requests.max_body_bytes
    if len(body) > limit and sum(map(body.count, (b",", b"[", b"{"))) > limit // 4:
        raise TooLarge(f"The body decompresses to more than {limit} bytes, and may then hold at most {limit // 4} values")


def _check_numbers(body: bytes) -> None:
    # A number of so many digits shows ten in a row, if one looks at every 30th.
    if _TEN_DIGITS not in body[::30].translate(_ZEROS):
        return
    try:
        orjson.loads(body)  # which refuses an integer that is larger than every float, as some readers take it for one
    except ValueError as fault:
        raise Invalid("The body holds a number that is too large for JSON readers; send it as text") from fault


def _too_deep(limit: int) -> str:
    return f"The body nests deeper than the {limit} levels that are allowed"


def _side_by_side(value: Any) -> int:
    """Count the arrays and objects that lie beside another one, in the list of records or in a list at the top of the body."""
    lists = [one for one in (value.values() if isinstance(value, dict) else (value,)) if isinstance(one, list)]
    kinds = (list(map(type, one)) for one in lists)
    return max((kind.count(dict) + kind.count(list) - 1 for kind in kinds), default=0)
