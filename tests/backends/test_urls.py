"""What the URLs of all stores share."""

from __future__ import annotations

import pytest

from backends.minio_urls import minio_url
from backends.redis_urls import redis_url
from backends.sqlite import SqliteState
from backends.urls import options_of, seconds


def test_no_secret_is_shown() -> None:
    assert "secret" not in repr(redis_url("redis+sentinel://user:secret@host/master?sentinel_password=secret"))
    assert "secret" not in repr(minio_url("minio://key:secret@host/bucket"))


def test_an_unknown_option_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="x:// has an unknown option; there are four, one"):
        options_of("one=1&two=2&three=3", {"one": "", "four": ""}, "x://")


def test_a_plus_in_an_option_stands_for_itself() -> None:
    assert options_of("one=a+b%20c", {"one": ""}, "x://") == {"one": "a+b c"}


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-1"])
def test_a_time_that_does_not_fit_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="the option wait of a store's URL must be a number of seconds of at least 0"):
        seconds({"wait": text}, "wait")


def test_a_time_may_have_to_be_above_the_least() -> None:
    assert seconds({"wait": "0"}, "wait") == 0
    with pytest.raises(ValueError, match="must be a number of seconds above 0"):
        seconds({"wait": "0"}, "wait", above_least=True)


def test_a_timeout_of_sqlite_that_is_no_number_is_named() -> None:
    with pytest.raises(ValueError, match="the option timeout_seconds of a store's URL must be a number of seconds"):
        SqliteState("sqlite://x.db?timeout_seconds=soon")
