"""Idempotent replies: found under the same key, refused for another request, stored as 0.1.0 stored them."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest

from backends.registry import open_state
from smarthouse_api.coordination.idempotency import Replies, RequestKey, pair_of
from smarthouse_api.errors import KeyReused

KEY = "somebody/POST there/key"
DOCUMENT = sha256(KEY.encode()).hexdigest()


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    count: int
    replayed: bool = False


REPLY = pair_of(Told)


@pytest.fixture
def replies() -> Replies:
    return Replies(open_state("memory://"), 60)


def remember(replies: Replies, request_key: RequestKey) -> None:
    (put,) = replies.puts(request_key, Told(3), REPLY)
    replies._state.put("space", put.key, put.value)


def test_the_answer_to_a_repeat_is_the_first_one_marked(replies: Replies) -> None:
    remember(replies, RequestKey(KEY, "digest"))
    assert replies.earlier("space", RequestKey(KEY, "digest"), REPLY) == Told(3, replayed=True)


def test_a_key_that_came_with_another_request_is_refused(replies: Replies) -> None:
    remember(replies, RequestKey(KEY, "digest"))
    with pytest.raises(KeyReused, match="another request"):
        replies.earlier("space", RequestKey(KEY, "another"), REPLY)


@pytest.mark.parametrize("request_key", [None, RequestKey("another", "digest"), RequestKey(KEY, "digest", "home/")])
def test_a_request_without_an_earlier_one_has_no_answer(replies: Replies, request_key: RequestKey | None) -> None:
    remember(replies, RequestKey(KEY, "digest"))
    assert replies.earlier("space", request_key, REPLY) is None


def test_a_request_without_a_key_is_not_remembered(replies: Replies) -> None:
    assert replies.puts(None, Told(3), REPLY) == ()


def test_an_answer_is_stored_for_a_while_under_the_digest_of_its_key(replies: Replies) -> None:
    (put,) = replies.puts(RequestKey(KEY, "digest"), Told(3), REPLY)
    assert (put.key, put.value, put.ttl_seconds) == (f"reply/{DOCUMENT}", b'["digest",{"count":3}]', 60)
    (put,) = replies.puts(RequestKey(KEY, "digest", "home/"), Told(3), REPLY)
    assert put.key == f"reply/home/{DOCUMENT}"
