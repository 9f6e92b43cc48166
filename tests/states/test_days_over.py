"""Days that are over: what is merged into which buckets, and that every row stays where its home is looked for."""

from __future__ import annotations

import random
import secrets
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from smarthouse_api.states.days_over import of_days_over, sorted_for_reading, untidy
from smarthouse_api.states.records.placement import (
    FAR,
    LATE,
    MERGED,
    MOST_SHARES,
    OWN_DAY,
    bucket_of,
    buckets_of,
    merged_bucket,
    own_day_buckets_of,
    share_in,
    share_of,
    shares_in,
)
from smarthouse_api.states.records.schema import STATES
from smarthouse_api.states.records.sorting import encoded

DAY = date(2026, 3, 1)
DIVISIONS = [1 << power for power in range(9)]

Files = dict[tuple[date, int], list[list[str]]]
"""The homes of the rows of each file, by the day and the bucket."""


def listed(files: Files) -> pa.Table:
    flat = [(day, bucket, len(homes)) for (day, bucket), some in files.items() for homes in some]
    days, buckets, counts = zip(*flat, strict=True) if flat else ((), (), ())
    return pa.table(
        {
            "partition.day": pa.array(days, pa.date32()),
            "partition.bucket": pa.array(buckets, pa.int32()),
            "num_records": pa.array(counts, pa.int64()),
            "size_bytes": pa.array(np.ones(len(flat), np.int64)),
        }
    )


def test_a_bucket_tells_its_division_and_its_share_and_has_no_second_meaning() -> None:
    found = {(shares, share): merged_bucket(share, shares) for shares in DIVISIONS for share in range(shares)}
    assert len(set(found.values())) == len(found)
    assert min(found.values()) == MERGED
    assert max(found.values()) < LATE
    assert all((shares_in(bucket), share_in(bucket)) == named for named, bucket in found.items())
    home = secrets.token_hex(16)
    assert {shares_in(bucket) for bucket in own_day_buckets_of(home)} == set(DIVISIONS)
    assert {share_in(bucket) == share_of(home, shares_in(bucket)) for bucket in own_day_buckets_of(home)} == {True}
    assert {LATE, FAR, bucket_of(home), *own_day_buckets_of(home)} == set(buckets_of(home))


def merged(files: Files) -> Iterable[int]:
    """Merge one step after the other, as the table does; the rows of each."""
    while steps := untidy(listed(files)):
        step = steps[0]
        homes = [home for bucket in step.sources for some in files.pop((step.day, bucket)) for home in some]
        assert step.rows == len(homes)
        assert set(step.targets).isdisjoint(bucket for day, bucket in files if day == step.day)
        shares, rows = shares_in(step.targets[0]), defaultdict(list)
        for home in homes:
            rows[merged_bucket(share_of(home, shares), shares)].append(home)
        assert set(rows) <= set(step.targets)
        for bucket, some in rows.items():
            files[step.day, bucket] = [some]
        yield len(homes)


@pytest.mark.parametrize("seed", range(8))
def test_all_rows_of_a_day_end_in_one_division_that_its_size_needs(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr("smarthouse_api.states.days_over._ROWS", 20)
    chance, files = random.Random(seed), Files()
    homes = [chance.randbytes(16).hex() for _ in range(40)]
    for turn in range(4):
        for number in range(chance.choice((1, 3))):
            day, more = DAY + timedelta(days=number), defaultdict(list)
            for home in chance.choices(homes, k=chance.choice((1, 30, 300))):
                more[day, OWN_DAY + bucket_of(home)].append(home)
            for place, some in more.items():
                files.setdefault(place, []).append(some)
        before = sorted((day, home) for (day, _), some in files.items() for one in some for home in one)
        steps = list(merged(files))
        assert steps or not turn
        assert sorted((day, home) for (day, _), some in files.items() for one in some for home in one) == before
        for day in {day for day, _ in files}:
            rows = {bucket: sum(map(len, some)) for (at, bucket), some in files.items() if at == day}
            (shares,) = {shares_in(bucket) for bucket in rows}
            assert min(rows) >= MERGED
            assert shares == MOST_SHARES or sum(rows.values()) / shares <= 2 * 20
            assert shares == 1 or sum(rows.values()) / shares > 20 / 4
        assert all(home_is_found(files, home) for home in homes)


def home_is_found(files: Files, home: str) -> bool:
    places = {bucket for (_, bucket), some in files.items() if any(home in one for one in some)}
    return places <= set(buckets_of(home))


def test_late_rows_and_days_to_which_rows_are_added_are_left() -> None:
    places = [(DAY, OWN_DAY), (DAY, LATE), (DAY, 3), (DAY + timedelta(days=1), OWN_DAY), (DAY, merged_bucket(5, 8))]
    files = listed({place: [["a"]] for place in places})
    assert of_days_over(files, DAY).to_pylist() == [True, False, False, False, True]


def test_rows_are_sorted_for_reading_and_come_once() -> None:
    chance, at = random.Random(3), 1_772_323_200_000_000
    rows = []
    for _ in range(500):
        kind, unit = chance.choice([("sensor", "°C"), ("sensor", "K"), ("sensor", None), ("light", None)])
        time = at + chance.randrange(40) * 1_000_000
        rows.append(
            {
                "day": DAY,
                "bucket": OWN_DAY,
                "home": chance.choice("abc"),
                "entity_id": f"{kind}.{chance.choice('xy')}",
                "type": kind,
                "state": chance.choice("12"),
                "unit": unit,
                "unit_nfkc": unit,
                "attributes": "{}",
                "last_changed": time,
                "last_updated": time,
                "received": at,
                "time": time,
            }
        )
    together = encoded(pa.Table.from_pylist(rows, STATES).to_batches())
    assert together is not None
    found = sorted_for_reading(together).to_pylist()
    keys = ("type", "unit_nfkc", "home", "entity_id", "time")
    order = [tuple(row[key] or "" for key in keys) for row in found]
    assert order == sorted(order)
    told = [(row["home"], row["entity_id"], row["time"], row["state"]) for row in found]
    assert len(set(told)) == len(told)
    sent = pa.Table.from_pylist(rows, STATES).to_pylist()
    assert set(told) == {(row["home"], row["entity_id"], row["time"], row["state"]) for row in sent}
