"""Objects that are damaged on a disk of the object store's server: each costs what it held, and no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends.minio_connections import _Retries
from smarthouse_api.house import House
from smarthouse_api.states.query import Filters
from smarthouse_api.states.uploads import Upload
from smarthouse_api.streams.model import NewPacket, Owner
from smarthouse_api.streams.segment_objects import DamagedPackets
from tests.conftest import HOME, OTHER_HOME, on_pairs, payload, state, unzipped
from tests.servers import MinioServer

environment = on_pairs("production_pair")


@pytest.fixture
def house(make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(_Retries, "get_backoff_time", lambda self: 0.0)
    house = make_house(stream_tail_seconds=0, stream_segment_bytes=1024)
    for home in (HOME, OTHER_HOME):
        house.states.uploads.receive(Upload(home, payload(state(value=home[:4]))))
        house.states.chores.flush()
    stream, _ = house.streams.catalogue.create(7, "m", "camera")
    house.streams.appending.append(stream, [NewPacket(b"a" * 3000)], Owner("user", "a" * 12, "Anna"))
    house.streams.chores.maintain(stream)
    return house


@pytest.fixture
def disk(minio_server: MinioServer, environment: dict[str, str]) -> Path:
    return minio_server.data / environment["SMARTHOUSE_OBJECTS_URL"].partition("?")[0].split("/", 3)[3]


def damage(disk: Path, pattern: str, at: int) -> str:
    """Flip a bit of the first file that fits; the name of its object."""
    file = sorted(disk.glob(f"{pattern}/xl.meta"))[0]
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    return str(file.parent.relative_to(disk))


def exported(house: House) -> list[str]:
    export = house.states.exports.open(["csv"], Filters())
    assert export is not None
    (lines,) = (sent for name, sent in unzipped(b"".join(export)).items() if name.endswith("csv"))
    export.close()
    return sorted(lines.decode().splitlines()[1:])


DESCRIPTION, BYTES = 60, -40


@pytest.mark.parametrize("at", [DESCRIPTION, BYTES])
def test_each_is_named_and_what_can_be_made_again_is(house: House, disk: Path, at: int) -> None:
    whole = exported(house)
    raw, file = damage(disk, "objects/raw/*/*/*", at), damage(disk, "tables/states/day=*/*/*.parquet", at)
    segment = damage(disk, "objects/packets/*/*/*.data", at)
    names = {raw.removeprefix("objects/"), segment.removeprefix("objects/"), file}
    assert {one.name for one in house.verifying.run(1, lambda *_: None)} == names
    house.states.table.ledger.distrust()  # as a process that has not read the file within the last hour
    assert len(exported(house)) == 1
    (stream,) = house.streams.catalogue.everything()
    with pytest.raises(DamagedPackets):
        [*house.streams.downloads._reader.blocks(stream, 0, 9)]
    assert house.health()[1] is False
    house.states.uploads.receive(Upload(HOME, payload(state(value=HOME[:4]))))
    house.states.uploads.receive(Upload(OTHER_HOME, payload(state(value=OTHER_HOME[:4]))))
    for _ in range(8):
        house.housekeeper.keep()
    assert exported(house) == whole
    assert [one.name for one in house.verifying.run(1, lambda *_: None)] == [segment.removeprefix("objects/")]
    for home in (HOME, OTHER_HOME):
        house.forgetting.forget(home)
    assert not [file for file in (disk / "objects/raw").rglob("*") if file.is_file()]


@pytest.mark.parametrize("at", [DESCRIPTION, BYTES])
def test_a_damaged_log_is_told_and_a_rebuild_makes_it_again(house: House, disk: Path, at: int) -> None:
    whole, files = exported(house), list(disk.glob("tables/states/_delta_log/*.json"))
    path = damage(disk, f"tables/states/_delta_log/{files[0].name}", at).removeprefix("tables/states/")
    house.states.table.ledger.distrust()
    conditions, has_failed = house.health()
    assert has_failed
    assert path in conditions["lake"]
    house.states.rebuilding.give_up("as the command does")
    for _ in range(8):
        house.housekeeper.keep()
    assert exported(house) == whole
    assert house.health()[1] is False
