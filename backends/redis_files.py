"""The bytes that Redis keeps: its snapshot and append-only files where this machine has them, and keys that are not the
store's.

A snapshot, and the value that `DUMP` gives, hold long texts compressed with LZF, so that these are decompressed too.
"""

from __future__ import annotations

import glob
import ipaddress
import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from mmap import ACCESS_READ, mmap

import redis

from backends.own_files import OwnFile, chunks_of, files_below
from backends.redis_servers import setting_of

_PAGE = 1000
_LZF = re.compile(rb"\xc3")
_LARGEST_TEXT = 64 << 20
_OF_A_SPACE = re.compile(rb"\{[^}]*\}:(?:documents|index|expiries|counters|dropped|changed|log:.*)", re.DOTALL)
_SETTINGS = {"dir": "", "dbfilename": "dump.rdb", "appenddirname": "appendonlydir", "appendfilename": "appendonly.aof"}
"""Settings that tell where a server's files are, and what they are where it does not say."""


def own_files(servers: list[redis.Redis], prefix: str) -> Iterator[OwnFile]:
    """Show the files of the servers, replicas included, and keys under the prefix that no space has."""
    for server in servers:
        told = server.connection_pool.connection_kwargs
        host = str(told.get("host", ""))
        name = f"Redis at {host}:{told.get('port', '')}"
        try:
            if server.execute_command("INFO", "replication").get("role") != "slave":
                yield from _strays(server, prefix.encode(), name)
            folder, *files = [setting_of(server, one) or default for one, default in _SETTINGS.items()]
        except redis.RedisError as fault:
            yield OwnFile(name, unread=f"it does not answer: {type(fault).__name__}")
            continue
        if not folder:
            yield OwnFile(name, unread="its files: the server does not tell where they are")
        elif not is_here(host) or not os.path.isdir(folder):
            yield OwnFile(name, unread=f"its files in {folder}, which is not on this machine; run the command there")
        else:
            yield from _files(folder, files, name)


def _files(folder: str, files: list[str], server: str) -> Iterator[OwnFile]:
    snapshot, appended, append_name = files
    snapshots = [os.path.join(folder, snapshot), *glob.glob(os.path.join(glob.escape(folder), "temp-*.rdb"))]
    logs = [os.path.join(folder, append_name), *files_below(os.path.join(folder, appended))]
    for path in (*snapshots, *logs):
        if not os.path.isfile(path):
            continue
        name = f"{server}, {os.path.relpath(path, folder)}"
        if not os.access(path, os.R_OK):
            yield OwnFile(name, unread="this user may not read it")
            continue
        yield OwnFile(name, chunks_of(path), path=path)
        yield OwnFile(f"{name}, decompressed", _decompressed_file(path))


def _strays(server: redis.Redis, prefix: bytes, name: str) -> Iterator[OwnFile]:
    cursor = None
    while cursor != 0:
        cursor, keys = server.execute_command("SCAN", cursor or 0, "MATCH", prefix + b":*", "COUNT", _PAGE)
        for key in keys:
            if not _OF_A_SPACE.fullmatch(key.removeprefix(prefix + b":")):
                value = server.execute_command("DUMP", key) or b""
                place = f"{name}, key {key.decode(errors='replace')}"
                yield OwnFile(place, [value])
                yield OwnFile(f"{place}, decompressed", decompressed(value))


def is_here(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return any(ipaddress.ip_address(one).is_loopback or _is_ours(str(one)) for one in addresses)


def _is_ours(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        try:
            one.bind((address, 0))
        except OSError:
            return False
    return True


def _decompressed_file(path: str) -> Iterator[bytes]:
    with suppress(FileNotFoundError), open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size:
            with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
                yield from decompressed(data)


def decompressed(data: bytes | mmap) -> Iterator[bytes]:
    """Decompress every text in a snapshot or in a value of `DUMP` that LZF has compressed, wherever it begins."""
    for found in _LZF.finditer(data):
        packed, at = _length(data, found.end())
        size, at = _length(data, at)
        if 0 < packed < size <= _LARGEST_TEXT and at + packed <= len(data):
            text = _unpacked(data[at : at + packed], size)
            if text is not None:
                yield text


def _length(data: bytes | mmap, at: int) -> tuple[int, int]:
    """Read a length as a snapshot has it; it, and what follows it. 0 if there is none."""
    if at >= len(data):
        return 0, at
    first = data[at]
    if first < 0x40:
        return first, at + 1
    if first < 0x80:
        return (first & 0x3F) << 8 | int.from_bytes(data[at + 1 : at + 2]), at + 2
    if first == 0x80:
        return int.from_bytes(data[at + 1 : at + 5]), at + 5
    return 0, at


def _unpacked(packed: bytes, size: int) -> bytes | None:
    """Undo LZF; None if these bytes are not such a text."""
    text, at = bytearray(), 0
    while at < len(packed):
        control = packed[at]
        at += 1
        if control < 32:
            text += packed[at : at + control + 1]
            at += control + 1
        else:
            length = control >> 5
            if length == 7:
                length += int.from_bytes(packed[at : at + 1])
                at += 1
            back = ((control & 31) << 8 | int.from_bytes(packed[at : at + 1])) + 1
            at += 1
            if back > len(text):
                return None
            start = len(text) - back
            for place in range(start, start + length + 2):
                text.append(text[place])
        if len(text) > size:
            return None
    return bytes(text) if len(text) == size else None
