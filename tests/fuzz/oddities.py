"""What no document describes, and clients send nevertheless."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

HEADERS: Sequence[tuple[str, str]] = (
    ("Accept", "*/*;q=2,;;"),
    ("Accept-Encoding", "\xe9"),
    ("Authorization", "Basic \xff:\xfe"),
    ("Authorization", "Bearer"),
    ("Authorization", "ModeCloud shk_"),
    ("Content-Encoding", "br, \xff"),
    ("Content-Encoding", "gzip"),
    ("Content-Type", ";;=,/"),
    ("Content-Type", "application/json; charset=klingon"),
    ("Content-Type", "garbage"),
    ("Content-Type", "multipart/form-data"),
    ("Cookie", "=;\xff"),
    ("Home-UUID", "\xff"),
    ("Home-UUID", "6f1b1a52-5a0e-4c0b-9b53-0c8f0f3d2a11,0b7c1f6e-1111-4222-8333-944455556666"),
    ("Idempotency-Key", "\xff" * 255),
    ("Idempotency-Key", "k" * 256),
    ("Idempotency-Key", "once"),
    ("If-Modified-Since", "yesterday"),
    ("If-None-Match", '"'),
    ("If-Range", "\xff"),
    ("Last-Event-ID", "9" * 30),
    ("Last-Event-ID", "\xb2"),
    ("Origin", "null"),
    ("Range", "bytes=-0"),
    ("Range", "bytes=1-"),
    ("Range", "bytes=99999999999999999999-"),
    ("X-Forwarded-For", "not, an, address"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Request-ID", "\xff"),
)
QUERIES: Sequence[tuple[str, Any]] = (
    ("", "1"),
    ("\x00", "\x00"),
    ("[]", ["a", "b"]),
    ("format", "\ud7ff"),
    ("limit", "1" + "0" * 40),
    ("limit", ["1", "2"]),
    ("nonsense", ""),
    ("skip", "-1"),
    ("start", "\u0665"),
)
# No dots alone and no slash: clients take such segments out of a path, and a slash makes two of one.
NAMES: Sequence[str] = ("\x00", "a\x00b", "%", "%2F", "\u2028", "9" * 400, "-1", " ", "\ud7ff", "a" * 3000)
