"""JSON Lines, by whichever of its media types a client names it: none of them is registered, and each tool has its own."""

from __future__ import annotations

import re
from typing import Final

from werkzeug.exceptions import UnsupportedMediaType

_JSON_LINES: Final = re.compile(r"(application|text)/(.+[+])?(x-)?(nd-?json|jsonl|json-?lines|ldjson)", re.IGNORECASE)
_OTHER_SEQUENCES: Final = re.compile(r"(application|text)/(.+[+])?(x-)?(json-?seq|json-stream|stream[+]json)", re.IGNORECASE)
ACCEPTED: Final = "application/x-ndjson or application/jsonl"


def is_json_lines(media_type: str) -> bool:
    """Tell whether a media type, without its parameters, means a JSON value on each line."""
    return _JSON_LINES.fullmatch(media_type) is not None


def is_batch(media_type: str) -> bool:
    """Tell whether a body of this type is a batch, a line for each thing.

    Raises `UnsupportedMediaType` for a sequence of JSON texts of another kind: as one thing, it would be kept in silence.
    """
    if _OTHER_SEQUENCES.fullmatch(media_type):
        raise UnsupportedMediaType(
            f"Content-Type {media_type[:60]!r} is not accepted; send a batch as {ACCEPTED}, a line for each"
        )
    return is_json_lines(media_type)
