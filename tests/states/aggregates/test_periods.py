"""Aggregates of long-term statistics, against a computation with pandas over random periods."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from smarthouse_api.arrow.times import microseconds
from smarthouse_api.states.aggregates.asked import FIGURES
from smarthouse_api.states.aggregates.clocks import DAY_US, HOUR_US, MINUTE_US, Clock, Timeline
from smarthouse_api.states.aggregates.periods import VALUES, intervals_of
from smarthouse_api.states.aggregates.wide_columns import columns_of_statistics, wide_columns
from smarthouse_api.states.aggregates.wide_rows import WideRows
from smarthouse_api.states.export.statistics_queries import newest
from smarthouse_api.states.records.sorting import encoded

LENGTHS = {"15m": 15 * MINUTE_US, "1h": HOUR_US, "1d": DAY_US}
PERIODS = (300, 3600, 86_400)
FIRST = datetime(2026, 3, 27, tzinfo=UTC)
KEYS = ["home", "entity_id", "unit"]
SERIES = (
    ("home_a", "sensor.x", "W"),
    ("home_a", "sensor.y", "°C"),
    ("home_b", "sensor.x", "W"),
    ("home_b", "sensor.x", "kW"),
    ("home_c", "sensor.z", None),
)
FIRST_DAY, LAST_DAY = microseconds(FIRST) // DAY_US, microseconds(FIRST) // DAY_US + 1


def drawn(seed: int) -> pd.DataFrame:
    """Periods of three lengths, some missing, some that begin at an odd time; meters and measurements."""
    chance, rows = random.Random(seed), []
    for home, entity, unit in SERIES:
        for length in PERIODS:
            for number in range(3 * 86_400 // length):
                if chance.random() < (0.5 if length == 300 else 0.2):
                    continue
                start = FIRST - timedelta(days=1) + timedelta(seconds=length * number + (90 if chance.random() < 0.02 else 0))
                value = chance.uniform(0, 100)
                is_meter = entity == "sensor.y"
                rows.append(
                    {
                        "home": home,
                        "entity_id": entity,
                        "unit": unit,
                        "start": microseconds(start),
                        "length": length * 1_000_000,
                        "mean": None if is_meter or chance.random() < 0.1 else value,
                        "min": None if is_meter else value - 1,
                        "max": None if is_meter else value + 1,
                        "state": value if is_meter else None,
                        "sum": value * 2 if is_meter and chance.random() < 0.9 else None,
                        "change": 0.5 if is_meter and chance.random() < 0.9 else None,
                    }
                )
    return pd.DataFrame(rows).sample(frac=1, random_state=seed)


def table(frame: pd.DataFrame) -> pa.Table:
    columns = {name: pa.array(frame[name].where(frame[name].notna(), None), pa.string()) for name in KEYS}
    columns |= {"type": pa.array(["sensor"] * len(frame)), "device_class": pa.nulls(len(frame), pa.string())}
    columns |= {name: pa.array(frame[name], pa.int64()) for name in ("start", "length")}
    columns |= {name: pa.array(frame[name].astype(float), pa.float64(), from_pandas=True) for name in VALUES}
    return pa.table(columns)


def expected(frame: pd.DataFrame, bounds, last_day: int) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """What each interval must tell. bounds: of a home and a time, when its interval begins and ends."""
    told = frame.copy()
    told["unit"] = told["unit"].fillna("-")
    told[["begin", "end"]] = [bounds(home, at) for home, at in zip(told["home"], told["start"], strict=True)]
    told = told[(told["start"] + told["length"] <= told["end"])]
    told = told[told["begin"].floordiv(DAY_US).between(FIRST_DAY, last_day)]
    interval = [*KEYS, "begin", "end"]
    covered = told.groupby([*interval, "length"])["length"].sum().rename("covered").reset_index()
    best = covered.sort_values(["covered", "length"], ascending=[False, True]).drop_duplicates(interval)
    chosen = told.merge(best, on=[*interval, "length"]).sort_values("start")
    return chosen.groupby(interval).apply(of_interval, include_groups=False)


def of_interval(some: pd.DataFrame) -> pd.Series:
    means = some.dropna(subset=["mean"])
    told = {name: some[source].dropna() for name, source in (("last", "state"), ("sum", "sum"), ("change", "change"))}
    return pd.Series(
        {
            "mean": np.average(means["mean"], weights=means["length"]) if len(means) else np.nan,
            "min": some["min"].min(),
            "max": some["max"].max(),
            "last": told["last"].iloc[-1] if len(told["last"]) else np.nan,
            "sum": told["sum"].iloc[-1] if len(told["sum"]) else np.nan,
            "change": told["change"].sum() if len(told["change"]) else np.nan,
            "covered": some["length"].sum(),
        },
        dtype=float,
    )


def local(zone: str, length: int):  # type: ignore[no-untyped-def]
    """When an interval of a zone's own clock begins and ends."""

    def bounds(at: int) -> tuple[int, int]:
        moment = pd.Timestamp(at, unit="us", tz=ZoneInfo(zone))
        if length == DAY_US:
            begin = moment.normalize()
            return tuple(one.value // 1000 for one in (begin, (begin + pd.DateOffset(days=1))))  # type: ignore[return-value]
        ahead = int(moment.utcoffset().total_seconds()) * 1_000_000 % length
        begin_us = (at + ahead) // length * length - ahead
        return begin_us, begin_us + length

    return bounds


ZONES = {"home_a": "Europe/Lisbon", "home_b": "Asia/Kolkata", "home_c": "UTC"}


def timeline(zone: str) -> Timeline:
    offset = [
        int(at.astimezone(ZoneInfo(zone)).utcoffset().total_seconds()) * 1_000_000 for at in (FIRST, FIRST + timedelta(days=9))
    ]  # type: ignore[union-attr]
    change = microseconds(datetime(2026, 3, 29, 1, tzinfo=UTC))
    return Timeline([0, change], offset) if offset[0] != offset[1] else Timeline([0], offset[:1])


@pytest.mark.parametrize("every", LENGTHS)
@pytest.mark.parametrize("is_local", [False, True])
def test_statistics_are_put_together_as_pandas_does(every: str, is_local: bool) -> None:
    frame, length = drawn(len(every) + is_local), LENGTHS[every]
    clock = Clock(length, {home: timeline(zone) for home, zone in ZONES.items()} if is_local else None)
    last_day = FIRST_DAY if every == "15m" else LAST_DAY  # of short intervals, a day has enough
    found = intervals_of(table(frame), clock, FIRST_DAY, last_day)
    of_home = {home: local(zone if is_local else "UTC", length) for home, zone in ZONES.items()}
    wanted = expected(frame, lambda home, at: of_home[home](at), last_day)
    assert set(found["source"].to_pylist()) == {"statistics"}
    assert found["changes"].null_count == found["shares"].null_count == len(found)
    told = (
        found.select([*KEYS, "start", "end", "known", *wanted.columns.drop("covered")])
        .to_pandas()
        .astype(dict.fromkeys(KEYS, object))
    )
    names = list(zip(told["home"], told["entity_id"], told["start"], strict=True))
    assert names == sorted(names)
    told["unit"] = told["unit"].astype(object).where(told["unit"].notna(), "-")
    told = told.rename(columns={"start": "begin"}).set_index([*KEYS, "begin", "end"]).sort_index()
    wanted["known"] = (wanted["covered"] / [end - begin for *_, begin, end in wanted.index]).clip(upper=1.0)
    pd.testing.assert_frame_equal(
        told.astype(float), wanted[told.columns].sort_index(), check_index_type=False, check_names=False, atol=1e-8
    )
    assert len(told) > 5


def test_wide_statistics_are_the_long_ones_pivoted() -> None:
    some = table(drawn(5))
    intervals = intervals_of(some, Clock(HOUR_US), FIRST_DAY, LAST_DAY)
    columns = wide_columns(columns_of_statistics([some], FIGURES), 100)
    wide = pa.Table.from_batches(WideRows(columns).batches([intervals])).to_pandas()
    assert set(wide["source"]) == {"statistics"}
    long = intervals.select([*KEYS, "start", "mean", "last", "sum", "change", "known"]).to_pandas()
    for (entity, figure, unit), name in {
        ("sensor.x", "mean", "W"): "sensor.x.mean.W",
        ("sensor.x", "mean", "kW"): "sensor.x.mean.kW",
        ("sensor.y", "sum", "°C"): "sensor.y.sum.degC",
        ("sensor.y", "change", "°C"): "sensor.y.change.degC",
        ("sensor.y", "known", "°C"): "sensor.y.known.degC",
    }.items():
        of_thing = long[(long["entity_id"] == entity) & (long["unit"] == unit)].dropna(subset=[figure])
        cells = wide.dropna(subset=[name])
        assert sorted(zip(of_thing["home"], of_thing["start"], of_thing[figure], strict=True)) == sorted(
            zip(cells["home"], cells["start"].map(lambda at: at.value // 1000), cells[name], strict=True)
        )
    assert {one.name for one in columns} >= {"sensor.z.mean", "sensor.y.last.degC"}
    assert not {one.name for one in columns} & {
        "sensor.y.mean.degC",
        "sensor.x.sum.W",
        "sensor.x.share.W",
        "sensor.x.changes.W",
    }


def test_a_correction_counts_and_a_repeat_does_not() -> None:
    def period(received: int, mean: float | None, unit: str | None = None, start: int = 0) -> dict[str, object]:
        return {
            "home": "a",
            "statistic_id": "sensor.x",
            "start": start,
            "period_seconds": 3600,
            "mean": mean,
            "unit": unit,
            "received": received,
        }

    rows = [
        period(1, 5.0),
        period(2, 7.0),
        period(3, 5.0, "W"),
        period(3, 7.0, "kW"),
        period(4, None, "W", HOUR_US),
        period(5, -0.0, None, 9),
    ]
    schema = pa.schema(
        [
            ("home", pa.string()),
            ("statistic_id", pa.string()),
            ("start", pa.int64()),
            ("period_seconds", pa.int64()),
            ("unit", pa.string()),
            ("received", pa.int64()),
        ]
        + [(name, pa.float64()) for name in VALUES]
    )
    for seed in range(5):
        shuffled = random.Random(seed).sample(rows, len(rows))
        found = encoded(pa.Table.from_pylist(shuffled, schema).to_batches())
        assert found is not None
        once = sorted(newest(found).to_pylist(), key=lambda one: one["start"])
        # 5 came first and last, but that is a repeat of the first: 7 is the correction, whose unit came later.
        assert [(one["mean"], one["unit"]) for one in once] == [(7.0, "kW"), (-0.0, None), (None, "W")]
