"""Files of a known size: a request may ask for one range of bytes, and for nothing if it has the file already."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flask import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from blueprints.openapi import header, header_parameter
from blueprints.responses import empty_response, file_response, until_broken

PART = [
    header_parameter("Range", "One range of bytes; several, or another unit, give all", example="bytes=0-99"),
    header_parameter("If-Range", "`ETag` of an earlier answer; if the bytes are others, all of them are sent"),
]
KNOWN = header_parameter(
    "If-None-Match", "`ETag`s of earlier answers; if one is still right, the answer is a 304 without a body"
)
PART_HEADERS = {"Content-Range": header("The range of bytes in this answer", example="bytes 0-99/1234")}


def asked_part(etag: str, size: int) -> tuple[int, int | None]:
    """Find the first and last byte that were asked for; (0, None): all. Raises `RequestedRangeNotSatisfiable`.

    etag: of the file, in its quotes.
    """
    asked = request.range
    is_other = request.headers.get("If-Range", etag) != etag
    # Without a range, all is sent; also for several ranges, which is the simple answer.
    if asked is None or asked.units != "bytes" or len(asked.ranges) > 1 or is_other or request.method != "GET":
        return 0, None
    first, end = asked.ranges[0]
    first = max(first + size, 0) if first < 0 else first
    if first >= size:
        raise RequestedRangeNotSatisfiable(size, description=f"There are {size} bytes; ask for a part of those")
    return first, min(end or size, size) - 1


def tell_part(response: Response, size: int, first: int, last: int | None) -> None:
    """Tell in the headers which part an answer holds. last: None for all."""
    response.content_length = (size if last is None else last + 1) - first
    if last is not None:
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {first}-{last}/{size}"


def ranged_response(
    what: str,
    etag: str,
    size: int,
    file_name: str,
    content_type: str,
    body: Callable[[int, int | None], Iterator[bytes]],
    *,
    is_the_only_one: bool = True,
) -> Response:
    """Answer with a file, or the part that was asked for, or 304. body: gives the bytes from the first to the last one.

    what: names the answer in the log if it is broken off. etag: without quotes. is_the_only_one: otherwise the client may have
    begun with another file, and gets a later part only if it says with `If-Range` which one it has.
    """
    quoted = f'"{etag}"'
    if request.if_none_match.contains_weak(etag):
        return empty_response(304, {"ETag": quoted})
    first, last = asked_part(quoted, size)
    if first and not is_the_only_one and "If-Range" not in request.headers:
        first, last = 0, None
    chunks = until_broken(what, body(first, last))
    response = file_response(chunks, content_type, file_name, "private, no-cache")
    response.headers.update({"ETag": quoted, "Accept-Ranges": "bytes", "Referrer-Policy": "no-referrer"})
    tell_part(response, size, first, last)
    return response
