"""Streams with packets in them, on every pair of stores, and what the tests of them ask again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backends.ports import Change
from config.settings import Settings
from smarthouse_api.access.keys import Owner
from smarthouse_api.house import House
from smarthouse_api.streams.downloads import Download
from smarthouse_api.streams.heads import LEASE, space_of
from smarthouse_api.streams.model import LARGEST_INDEX, Appended, NewPacket, Session, Status, Stream, StreamRetention
from smarthouse_api.streams.packet_store import LOG, PacketStore, Segment
from smarthouse_api.streams.reading import PacketReader

ANNA = Owner("user", "a" * 12, "Anna")
BEN = Owner("project", "b" * 12, "Ben")
ADMIN = Owner("admin", "c" * 12, "operator")

Given = bytes | tuple[int, bytes]
"""A packet to be appended: its bytes, at the next index or at one of its own."""


@dataclass
class Recorder:
    """A stream in a house, and whoever writes to it and reads from it."""

    house: House
    stream: Stream
    owner: Owner = ANNA

    @property
    def store(self) -> PacketStore:
        return self.house.streams.store

    @property
    def reader(self) -> PacketReader:
        return PacketReader(self.house.state, self.store)

    @property
    def space(self) -> str:
        return space_of(self.stream.key)

    def append(self, *given: Given, owner: Owner | None = None, **options: Any) -> Appended:
        packets = [NewPacket(one) if isinstance(one, bytes) else NewPacket(one[1], one[0]) for one in given]
        return self.house.streams.appending.append(self.stream, packets, owner or self.owner, **options)

    def packets(self, start: int = 0, stop: int = LARGEST_INDEX) -> dict[int, bytes]:
        """What is read of a range; each index must come once, in order."""
        found = [packet for block in self.reader.blocks(self.stream, start, stop) for packet in block.packets()]
        indexes = [packet.index for packet in found]
        assert indexes == sorted(set(indexes))
        return {packet.index: packet.data for packet in found}

    def status(self) -> Status:
        return self.house.streams.status(self.stream)

    def maintain(self) -> None:
        self.house.streams.chores.maintain(self.stream)

    def keep_only(self, **retention: Any) -> None:
        """Have the stream keep no more than that from the next maintenance on."""
        self.stream, _ = self.house.streams.catalogue.create(
            self.stream.home_id, self.stream.module_id, self.stream.name, StreamRetention(**retention)
        )

    def delete(self) -> None:
        self.house.streams.catalogue.delete(self.stream)

    def made_anew(self) -> Stream:
        """Another stream under the same name."""
        stream, is_new = self.house.streams.catalogue.create(self.stream.home_id, self.stream.module_id, self.stream.name)
        assert is_new
        return stream

    def open(self, owner: Owner | None = None, seconds: float = 60) -> Session:
        return self.house.streams.sessions.open(self.stream, owner or self.owner, seconds)[0]

    def close(self, session: Session, owner: Owner | None = None) -> Session | None:
        return self.house.streams.sessions.close(self.stream, session.id, owner or self.owner)

    def time_out(self) -> None:
        """What the store does when the owner of the open session gave no sign of life for so long."""
        assert self.house.state.get(self.space, LEASE) is not None
        self.house.state.commit(self.space, Change(deletes=(LEASE,)))

    def sessions(self, start: int = 0, stop: int = LARGEST_INDEX) -> list[tuple[int, int | None]]:
        return [(one.start, one.stop) for one in self.house.streams.sessions.within(self.stream, start, stop)]

    def segments(self) -> list[Segment]:
        return list(self.store.segments(self.stream))

    def log(self) -> list[bytes]:
        return [entry.value for entry in self.house.state.read(self.space, LOG)]

    def objects(self) -> set[str]:
        """The names of all objects of all streams."""
        return {info.key.rpartition("/")[2] for info in self.house.objects.list("packets/")}

    def assert_tidy(self) -> None:
        """No object that no segment refers to, no segment without its objects, and no entry that is sealed already."""
        assert self.objects() == {f"{one.id}.{ending}" for one in self.segments() for ending in ("data", "index")}
        found = self.house.state.read(self.space, LOG, limit=1)
        assert not found or found[0].sequence > self.store.manifest(self.stream).manifest.sequence

    def query(self, start: int = 0, stop: int = LARGEST_INDEX, format_: str = "octets") -> dict[str, str]:
        return self.house.streams.downloads.locate(self.stream, start, stop, format_).query

    def open_download(self, query: dict[str, str] | None = None) -> Download:
        stream = self.stream
        return self.house.streams.downloads.open(stream.home_id, stream.module_id, stream.name, query or self.query())

    def download(self, start: int = 0, stop: int = LARGEST_INDEX, format_: str = "octets") -> bytes:
        download = self.open_download(self.query(start, stop, format_))
        try:
            return b"".join(download.body())
        finally:
            download.close()


def made(house: House, name: str = "camera", **retention: Any) -> Recorder:
    stream, _ = house.streams.catalogue.create(7, "m", name, StreamRetention(**retention) if retention else None)
    return Recorder(house, stream)


@pytest.fixture
def recorder(house: House) -> Recorder:
    """A new stream, whose packets stay in the log."""
    return made(house)


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody refers to any more goes at the next maintenance, and what was purged is purged again at the next turn."""
    monkeypatch.setattr("smarthouse_api.streams.chores._GRACE_SECONDS", -1)


@pytest.fixture
def sealing(no_grace: None, make_house: Callable[..., House]) -> Recorder:
    """A new stream. Each maintenance seals all its packets; segments of half a KiB and more are not merged.

    What merging and retention leave goes at the same maintenance.
    """
    return made(make_house(stream_segment_bytes=1024, stream_tail_seconds=0))


@pytest.fixture(params=["embedded_pair", "production_pair"])
def two(request: pytest.FixtureRequest) -> Iterator[tuple[Recorder, Recorder]]:
    """One stream in two processes, on each pair of stores that processes can share."""
    settings = Settings.from_env({**request.getfixturevalue(request.param), "SMARTHOUSE_STREAM_TAIL_SECONDS": "0"})
    one, other = House(settings), House(settings)
    first = made(one)
    yield first, Recorder(other, other.streams.catalogue.find(7, "m", "camera"), BEN)
    one.close()
    other.close()


def clock_ahead_by(seconds: float) -> type[datetime]:
    """`datetime`, whose `now` is so far ahead."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(seconds=seconds)

    return Ahead


class Steps:
    """Counts the changes that are made to a house's stores, and dies at one of them, before it or after."""

    def __init__(self, house: House, monkeypatch: pytest.MonkeyPatch, dies_at: int, *, done: bool) -> None:
        self.count, self._dies_at, self._done = 0, dies_at, done
        for store, methods in ((house.state, ("commit", "put")), (house.objects, ("put", "delete"))):
            for method in methods:
                monkeypatch.setattr(store, method, self._counted(getattr(store, method)))
        self._is_within = False

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            if self._is_within:
                return method(*args, **options)
            self.count += 1
            if self.count == self._dies_at and not self._done:
                raise KeyboardInterrupt
            self._is_within = True
            try:
                found = method(*args, **options)
            finally:
                self._is_within = False
            if self.count == self._dies_at:
                raise KeyboardInterrupt
            return found

        return counted


def dying_at_each_step(house: House, prepare: Callable[[], None], work: Callable[[], None], check: Callable[[], None]) -> int:
    """Do the work again and again, and die at each of its steps in turn, before and after it; how many deaths there were.

    prepare: makes something to do. check: of what must hold after each death, and after work that nothing broke off.
    """
    for step in range(1, 100):
        for done in (False, True):
            prepare()
            with pytest.MonkeyPatch.context() as monkeypatch:
                steps = Steps(house, monkeypatch, step, done=done)
                with suppress(KeyboardInterrupt):
                    work()
            check()
            if steps.count < step:
                return 2 * (step - 1)
    raise AssertionError("the work has no end")


def joined(packets: dict[int, bytes], start: int = 0, stop: int = LARGEST_INDEX) -> bytes:
    """The bytes of a range."""
    return b"".join(data for index, data in sorted(packets.items()) if start <= index <= stop)


def within(packets: dict[int, bytes], start: int, stop: int) -> dict[int, bytes]:
    return {index: data for index, data in packets.items() if start <= index <= stop}


def numbered(indexes: Sequence[int] | range, size: int = 1) -> list[Given]:
    """Packets at these indexes, each with bytes of its own."""
    return [(index, b"%d;" % index * size) for index in indexes]


def now() -> datetime:
    return datetime.now(UTC)
