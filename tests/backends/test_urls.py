"""A store's URL taken apart."""

from __future__ import annotations

import math

import pytest

from backends.sqlite import SqliteState
from backends.urls import StoreUrl, seconds


def test_a_url_is_taken_apart_letter_by_letter() -> None:
    parts = StoreUrl.of("redis+cluster://user:p%2F:x@a:1,b:2/0/1?prefix=p&a=b?c")
    assert (parts.scheme, parts.username, parts.password) == ("redis+cluster", "user", "p%2F:x")
    assert (parts.hosts, parts.path, parts.query) == ("a:1,b:2", "0/1", "prefix=p&a=b?c")


def test_no_secret_is_shown() -> None:
    assert "secret" not in repr(StoreUrl.of("redis://user:secret@host/0?sentinel_password=secret"))


def test_an_unknown_option_is_answered_with_those_that_there_are() -> None:
    parts = StoreUrl.of("x://host?one=1&two=2&three=3")
    with pytest.raises(ValueError, match="not three, two; there are four, one"):
        parts.options({"one": "", "four": ""}, unknown=lambda names: f"not {names}")


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-1"])
def test_a_time_that_does_not_fit_is_refused_in_the_words_given(text: str) -> None:
    with pytest.raises(ValueError, match="not so"):
        seconds({"wait": text}, "wait", "not so", fits=lambda number: 0 <= number < math.inf)


def test_a_timeout_of_sqlite_that_is_no_number_is_named() -> None:
    with pytest.raises(ValueError, match=r"timeout_seconds='soon' in a store's URL; it is a number of seconds"):
        SqliteState("sqlite://x.db?timeout_seconds=soon")
